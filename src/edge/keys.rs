//! Randomness and private keys: verifiers, states, signatures.
//!
//! In: the operating system's random numbers, keys in PEM, JSON Web Signatures (RFC 7515). Out:
//! what is signed (`proto::auth::grant`, `proto::auth::dpop`), where keys come from and are kept.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use oauth2::{PkceCodeChallenge, PkceCodeVerifier};
use ring::rand::{SecureRandom, SystemRandom};
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::proto::auth::grant::Assertion;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::secret::Secret;

/// Random bytes in a PKCE verifier (RFC 7636 §4.1 recommends 32, which make 43 characters).
const VERIFIER_BYTES: usize = 32;

/// Random bytes in the `jti` of an assertion.
const JTI_BYTES: usize = 16;

/// Life of a client assertion in seconds. Servers commonly refuse more than five minutes, and by
/// their own clock.
const ASSERTION_LIFE: u64 = 240;

/// Letters in a line of PEM (RFC 7468 §2).
const PEM_LINE: usize = 64;

/// This many random bytes as base64url without padding: 16 or more for `state`, 32 for secrets
/// that stand for a sign-in.
///
/// # Errors
/// The operating system gives no random numbers.
pub fn random_token(bytes: usize) -> Result<Secret, Failure> {
    let mut raw = Zeroizing::new(vec![0; bytes]);
    fill(&mut raw)?;
    Ok(Secret::from(URL_SAFE_NO_PAD.encode(&*raw)))
}

/// A verifier and its challenge for one authorization request (RFC 7636, method `S256`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pkce {
    /// `code_verifier`.
    pub verifier: Secret,
    /// `code_challenge`.
    pub challenge: String,
}

impl Pkce {
    /// A new pair.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn new() -> Result<Self, Failure> {
        random_token(VERIFIER_BYTES).map(Self::of)
    }

    /// `verifier` has 43 to 128 characters.
    fn of(verifier: Secret) -> Self {
        let text = PkceCodeVerifier::new(verifier.reveal().to_owned());
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&text);
        Self {
            verifier,
            challenge: challenge.as_str().to_owned(),
        }
    }
}

/// A private key that signs. `Debug` shows its algorithm alone.
pub struct Signer(Key);

enum Key {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl Signer {
    /// Reads a private key: PKCS#8 in PEM (RFC 5958, RFC 7468 §10), RSA of 2048 bits or more, P-256
    /// or Ed25519. `algorithm` is what it must be good for: `RS256`, `ES256` (RFC 7518 §3.1) or
    /// `EdDSA` (RFC 8037 §3.1).
    ///
    /// # Errors
    /// What is wrong with the text, to follow the name of its source, with the command that helps.
    /// Nothing of the text is repeated.
    pub fn from_pem(pem: &Secret, algorithm: Option<&str>) -> Result<Self, String> {
        let known = ["RS256", "ES256", "EdDSA"];
        if algorithm.is_some_and(|wanted| !known.contains(&wanted)) {
            return Err(
                "is to sign in a way that is not supported; choose RS256, ES256 or EdDSA"
                    .to_owned(),
            );
        }
        let signer = Self::read(pem)?;
        match algorithm.filter(|wanted| *wanted != signer.algorithm()) {
            None => Ok(signer),
            Some(wanted) => Err(format!(
                "is good for {}, not for {wanted}; give the other algorithm, or a key for this one",
                signer.algorithm()
            )),
        }
    }

    fn read(pem: &Secret) -> Result<Self, String> {
        const CONVERT: &str = "openssl pkcs8 -topk8 -nocrypt -in OLD.pem -out NEW.pem";
        let text = pem.reveal();
        let der = match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
            Ok(PrivateKeyDer::Pkcs8(der)) => der,
            Ok(PrivateKeyDer::Pkcs1(_)) => {
                return Err(format!(
                    "is in the old form \"RSA PRIVATE KEY\"; convert it: {CONVERT}"
                ));
            }
            Ok(PrivateKeyDer::Sec1(_)) => {
                return Err(format!(
                    "is in the old form \"EC PRIVATE KEY\"; convert it: {CONVERT}"
                ));
            }
            _ if text.contains("BEGIN ENCRYPTED PRIVATE KEY") => {
                return Err(
                    "is protected by a passphrase; remove it: openssl pkcs8 -in OLD.pem -out \
                     NEW.pem"
                        .to_owned(),
                );
            }
            _ => {
                return Err(
                    "is not a private key in PEM; it begins with -----BEGIN PRIVATE KEY-----"
                        .to_owned(),
                );
            }
        };
        let der = der.secret_pkcs8_der();
        let p256 = || {
            let random = SystemRandom::new();
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random)
        };
        if let Ok(key) = RsaKeyPair::from_pkcs8(der) {
            Ok(Self(Key::Rsa(Box::new(key))))
        } else if let Ok(key) = p256() {
            Ok(Self(Key::P256(Box::new(key))))
        } else if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            Ok(Self(Key::Ed25519(Box::new(key))))
        } else {
            Err(
                "is neither an RSA key of 2048 to 4096 bits nor one for P-256 or Ed25519; if it \
                 should be one, write it anew: openssl pkey -in OLD.pem -out NEW.pem"
                    .to_owned(),
            )
        }
    }

    /// `alg` of its signatures: `RS256`, `ES256` or `EdDSA`.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self.0 {
            Key::Rsa(_) => "RS256",
            Key::P256(_) => "ES256",
            Key::Ed25519(_) => "EdDSA",
        }
    }

    /// Signs a JSON object (RFC 7515 §7.1, compact form). The header's `alg` is made to fit the
    /// key.
    ///
    /// # Errors
    /// The key cannot sign, or the operating system gives no random numbers.
    pub fn sign(&self, header: Value, claims: &Value) -> Result<Secret, Failure> {
        let mut header = header;
        if let Some(header) = header.as_object_mut() {
            header.insert("alg".to_owned(), self.algorithm().into());
        }
        let mut text = URL_SAFE_NO_PAD.encode(header.to_string());
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut text);
        let signature = self.signature(text.as_bytes())?;
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut text);
        Ok(Secret::from(text))
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let random = SystemRandom::new();
        let signature = match &self.0 {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map(|()| signature)
            }
            Key::P256(key) => key
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec()),
            Key::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        };
        signature.map_err(|_| {
            failure(
                "the private key cannot sign: it is damaged, or the operating system gives no \
                 random numbers",
            )
        })
    }

    /// The public key and nothing else (RFC 7517; members of RFC 7518 §6 and RFC 8037 §2).
    #[must_use]
    pub fn public_jwk(&self) -> Value {
        let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.0 {
            Key::Rsa(key) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({"e": base64(&public.e), "kty": "RSA", "n": base64(&public.n)})
            }
            Key::P256(key) => {
                // An uncompressed point: 4, x, y (SEC 1 §2.3.3).
                let point = key.public_key().as_ref();
                let point = point.get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                json!({"crv": "P-256", "kty": "EC", "x": base64(x), "y": base64(y)})
            }
            Key::Ed25519(key) => {
                json!({"crv": "Ed25519", "kty": "OKP", "x": base64(key.public_key().as_ref())})
            }
        }
    }

    /// The thumbprint of the public key with SHA-256 (RFC 7638), as `jkt` and `dpop_jkt` have it
    /// (RFC 9449 §6, §10).
    #[must_use]
    pub fn thumbprint(&self) -> String {
        thumbprint(&self.public_jwk())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.algorithm()).finish()
    }
}

/// A new P-256 key for proofs of possession (RFC 9449), PKCS#8 in PEM.
///
/// # Errors
/// The operating system gives no random numbers.
pub fn proof_key() -> Result<Secret, Failure> {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
        .map_err(|_| no_randomness())?;
    let body = Zeroizing::new(STANDARD.encode(key.as_ref()));
    let mut pem = String::with_capacity(body.len() + 80);
    pem.push_str("-----BEGIN PRIVATE KEY-----");
    for (at, letter) in body.chars().enumerate() {
        if at % PEM_LINE == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem.push_str("\n-----END PRIVATE KEY-----\n");
    Ok(Secret::from(pem))
}

/// The signed assertion by which a client identifies itself (RFC 7523 §3): the audience as one
/// text, a `jti` of its own. `now` is in Unix seconds.
///
/// # Errors
/// As [`Signer::sign`].
pub fn client_assertion(
    signer: &Signer,
    assertion: &Assertion,
    key_id: Option<&str>,
    now: u64,
) -> Result<Secret, Failure> {
    let mut header = json!({"typ": "JWT"});
    if let (Some(header), Some(key_id)) = (header.as_object_mut(), key_id) {
        header.insert("kid".to_owned(), key_id.into());
    }
    let claims = json!({
        "iss": assertion.client_id,
        "sub": assertion.client_id,
        "aud": assertion.audience,
        "iat": now,
        "exp": now.saturating_add(ASSERTION_LIFE),
        "jti": random_token(JTI_BYTES)?.reveal(),
    });
    signer.sign(header, &claims)
}

/// RFC 7638 §3: SHA-256 over the members that the key type requires, in the order of their names.
fn thumbprint(jwk: &Value) -> String {
    let members: Vec<String> = ["crv", "e", "kty", "n", "x", "y"]
        .into_iter()
        .filter_map(|name| Some(format!("\"{name}\":{}", jwk.get(name)?)))
        .collect();
    let text = format!("{{{}}}", members.join(","));
    URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

fn fill(bytes: &mut [u8]) -> Result<(), Failure> {
    SystemRandom::new().fill(bytes).map_err(|_| no_randomness())
}

fn no_randomness() -> Failure {
    failure(
        "the operating system gives no random numbers, without which no sign-in is safe; restart \
         this machine",
    )
}

fn failure(text: &str) -> Failure {
    Failure::new(Kind::AuthorizationError, Executed::No, text)
}

#[cfg(test)]
mod tests;
