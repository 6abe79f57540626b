//! Proof of possession (RFC 9449): what a proof says.
//!
//! In: header and claims. Out: keys and signatures (`edge/keys`), sending.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::proto::secret::Secret;

/// Members of a public key (RFC 7518 §6.2.1, §6.3.1; RFC 8037 §2). All others stay here.
const PUBLIC_MEMBERS: [&str; 6] = ["kty", "crv", "x", "y", "n", "e"];

/// Header and claims of one proof (RFC 9449 §4.2). `jwk` is the key, of which only the public part
/// is shown; `jti` is unguessable and new for every proof, `now` in Unix seconds.
#[must_use]
#[expect(
    clippy::too_many_arguments,
    reason = "one for each thing that a proof speaks of"
)]
pub fn proof(
    jwk: &Value,
    algorithm: &str,
    method: &str,
    url: &Url,
    access_token: Option<&Secret>,
    nonce: Option<&str>,
    jti: &str,
    now: u64,
) -> (Value, Value) {
    let public: Map<String, Value> = PUBLIC_MEMBERS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), jwk.get(name)?.clone())))
        .collect();
    let header = json!({"typ": "dpop+jwt", "alg": algorithm, "jwk": public});
    let mut target = url.clone();
    target.set_query(None);
    target.set_fragment(None);
    let mut claims = json!({"jti": jti, "htm": method, "htu": target.as_str(), "iat": now});
    if let Some(claims) = claims.as_object_mut() {
        if let Some(token) = access_token {
            let hash = Sha256::digest(token.reveal());
            claims.insert("ath".to_owned(), URL_SAFE_NO_PAD.encode(hash).into());
        }
        if let Some(nonce) = nonce {
            claims.insert("nonce".to_owned(), nonce.into());
        }
    }
    (header, claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": "X", "y": "Y", "d": "CANARY", "kid": "k"})
    }

    #[test]
    fn e15_a_proof_at_the_token_endpoint() {
        let url = Url::parse("https://as.example/token?tenant=CANARY#CANARY").unwrap();
        let (header, claims) = proof(&key(), "ES256", "POST", &url, None, None, "j1", 1_700);
        assert_eq!(
            header,
            json!({
                "typ": "dpop+jwt",
                "alg": "ES256",
                "jwk": {"kty": "EC", "crv": "P-256", "x": "X", "y": "Y"},
            })
        );
        assert_eq!(
            claims,
            json!({"jti": "j1", "htm": "POST", "htu": "https://as.example/token", "iat": 1_700})
        );
    }

    /// The token and its hash are those of RFC 9449 §7.1.
    #[test]
    fn e15_a_proof_for_a_token_and_a_nonce() {
        let url = Url::parse("https://resource.example.org/protectedresource").unwrap();
        let token = Secret::from("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU");
        let (_, claims) = proof(
            &key(),
            "ES256",
            "GET",
            &url,
            Some(&token),
            Some("n"),
            "j",
            1,
        );
        assert_eq!(claims["ath"], "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
        assert_eq!(claims["nonce"], "n");
    }

    #[test]
    fn e14_the_private_part_of_the_key_is_in_no_proof() {
        let url = Url::parse("https://as.example/token").unwrap();
        let private = json!({
            "kty": "RSA", "n": "N", "e": "AQAB", "d": "CANARY", "p": "CANARY", "q": "CANARY",
            "dp": "CANARY", "dq": "CANARY", "qi": "CANARY", "oth": "CANARY", "k": "CANARY",
        });
        for key in [key(), private] {
            let (header, claims) = proof(&key, "PS256", "POST", &url, None, None, "j", 1);
            assert!(!format!("{header}{claims}").contains("CANARY"));
        }
    }
}
