//! Keys of every kind, signatures checked by the library's other half.

use std::collections::HashSet;

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};

use super::*;

// Made for these tests alone.
const RSA: &str = "\
-----BEGIN PRIVATE KEY-----
MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDUUWO4FzniNfJx
5x2n8kqmVVsHR7ccZ+n0YgP/KlPEUuLXRx4xbprPbxqBox5W++5YW3MXkuErKZ7t
MMWUEgaxNBaMGThHk/b+7KewzuhPtJNAOJxrOgsg9dva4/HkYXYyR3eyo3LyeWBc
fFQZvkS80zSxQL6VBzdRlKad1Dn3Izj6gK8kXC+3q43r0Haa60z2vXfIJYmZUHda
uyZCd0ZcpKyzMK3Rtyeq4V3bDmqdv8xmtu25zAMgULXK4OwIVAssXSn2g0OppksH
KttPqfYkGvAu+CODeGMyTe6PJesZeao52mUvOY2Rv3p6rMWVn1l0DaJWFxvzUGjC
ryWAiESjAgMBAAECggEADnNVqqdmCKfsTuVQhug+PXDsx6ORam0GJtxu8jSCzAdq
KgXMn8er4Ldqoe0kuP3fnILo4+9axPHJv9IEeI37h58Ic9OZmYGQG4ym4ylJ9XbQ
WNwhhUjHjiA9rPm7snQRs91aX72xKqCpNtI9dR0Wl5V2biP+dK0vji1kY7SYl2He
GBlM9CguePy5MrphwMcDQ6TKMqTddJ5KHkRLBoNzSnBcldXKbjWPH7CmrtN7zcJy
yAlvQUqG7K4fzj7Vrg0sgxlQNTJVvzN35I+JTwOClxR1kEc1ym/z0YfPs735WYUP
Lt0XnkAvONnFc4Hf/PZXLN2L09BaGBWlhIf2ZFfnpQKBgQDpLQjSQ2xapowmEOgc
Y0GWKkLqqfCoxMVTLKhh2QWxKT+YzucgUEcHNLNBTJ5bzaL0WvmYLGsW4ZkBRHQF
wIH0ngEFvaL9n4g6Twsx48fXZAOkmzcNv+MUVIrsk4iL8Kd36q2PWyWbVyjxoxMt
uthgJ9aJZ3u4DfPBRSZ/tCR+fQKBgQDpGbEUjU7WorAcVEKEcwU5alzjaWMo40As
RORZNqcOKYO5V/DO9kLpNPddwXqcVE1d+PW0quttezxBHaz7lGtosrMS45aOUtJU
jkKBs+vmTKvnwffkHGJqL6dUxMtsj53Xv4Fnh1rxR6UuWL5TIt9M6DIfMiXa9e9C
CeOBMWmZnwKBgQCWquXXT3+1N4a5lhUVOsGHcXlZvkNmGfdTHjkTOLMn3Xpdl9va
kmTC8Defyw1MTpyr/hjnTlRILa+7FOtPSCvwzyPj/LxT24CgBLE8JG3d7J85/p1d
Qg9N9K7r3QzPN8pOfxJ03jV3oaMwN+pNkzz7LOLAWGCl9kX6LV+KBvHJ1QKBgBG6
GnVtqak5BhuhbM2V0bfkFtxUj230mlTDiHogZeP11EasIWwb3krN9GH07NYmsxuK
a2Up+m2BCbwJ/bXEO8bikCvHkxOPyN8VUol6nV4ORqSBY9C9N97LcPZJYQ8IfQCD
V9v/tzLSOAWmShMYe9LldapZrfdQ7Lkg92RD1bwRAoGBAKE21C5PqwwT8o9Bq/Zh
gAwszVgBBnH//d2K4xMzkpI9CtNRMW3DQi1kiB7PaAj1IdNaBJLTyoxgAyMIArm9
l1HmVWMj5NVUIk/0Cqt99c/P7aMw+6NKsi3CkUepWuduONMVLjErsefsPdXwcvb/
J+NcUTvx9QRj7HfjiqiasL0Y
-----END PRIVATE KEY-----
";
const P256: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgMt0AWMs+xgWJBsHl
ukY9kNN844UrYwhXbsjkpwpBvKGhRANCAAQ8fMxYFagQxQGAhMSInw+r+YcVYLIC
wCpKkwO1KEenKg5Zvg+cA/iR4kwtb9ZZ41Bx/4aVEHMlTXJabCHHJe3b
-----END PRIVATE KEY-----
";
const ED25519_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEICffisoszu3EuTfhq3eSh3RH+FnOBqxU453NA/neWkJ3
-----END PRIVATE KEY-----
";
const OLD_RSA: &str = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n";
const OLD_EC: &str = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
const LOCKED: &str =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";

fn signer(pem: &str) -> Signer {
    Signer::from_pem(&Secret::from(pem), None).unwrap()
}

fn refusal(pem: &str, algorithm: Option<&str>) -> String {
    Signer::from_pem(&Secret::from(pem), algorithm).unwrap_err()
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Header and claims of a JWS in compact form.
fn parts(token: &Secret) -> (Value, Value) {
    let mut parts = token.reveal().split('.');
    let header = decoded(parts.next().unwrap());
    (header, decoded(parts.next().unwrap()))
}

/// Whether the signature is that of the key; everything is read from the JWK alone.
fn verifies(token: &Secret, jwk: &Value) -> bool {
    let (message, signature) = token.reveal().rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let member = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let check = |algorithm: &'static dyn VerificationAlgorithm, key: Vec<u8>| {
        UnparsedPublicKey::new(algorithm, key).verify(message.as_bytes(), &signature)
    };
    match jwk["kty"].as_str().unwrap() {
        "RSA" => {
            let (n, e) = (member("n"), member("e"));
            ring::signature::RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &signature)
                .is_ok()
        }
        "EC" => {
            let point = [vec![4], member("x"), member("y")].concat();
            check(&ECDSA_P256_SHA256_FIXED, point).is_ok()
        }
        _ => check(&ED25519, member("x")).is_ok(),
    }
}

fn assertion() -> Assertion {
    Assertion {
        client_id: "client-1".to_owned(),
        audience: "https://as.test/".to_owned(),
    }
}

#[test]
fn c01_the_challenge_is_that_of_rfc_7636_appendix_b() {
    let pair = Pkce::of(Secret::from("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
    assert_eq!(
        pair.challenge,
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    );
    let (one, other) = (Pkce::new().unwrap(), Pkce::new().unwrap());
    assert_ne!(one, other);
    assert_eq!(one, Pkce::of(one.verifier.clone()));
}

#[test]
fn c02_verifiers_are_43_unreserved_characters_and_never_the_same() {
    let mut seen = HashSet::new();
    for _ in 0..10_000 {
        let verifier = random_token(VERIFIER_BYTES).unwrap();
        let text = verifier.reveal();
        assert_eq!(text.len(), 43);
        let is_unreserved =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        assert!(text.bytes().all(is_unreserved), "{text}");
        assert!(seen.insert(text.to_owned()));
    }
    let pair = Pkce::new().unwrap();
    assert_eq!(pair.verifier.reveal().len(), 43);
    assert!(!format!("{pair:?}").contains(pair.verifier.reveal()));
}

#[test]
fn c04_states_have_128_bits_and_are_never_the_same() {
    let states: HashSet<String> = (0..10_000)
        .map(|_| random_token(16).unwrap().reveal().to_owned())
        .collect();
    assert_eq!(states.len(), 10_000);
    for state in states {
        assert_eq!(URL_SAFE_NO_PAD.decode(&state).unwrap().len(), 16, "{state}");
    }
}

#[test]
fn e03_every_kind_of_key_signs_and_its_jwk_verifies() {
    for (pem, algorithm) in [(RSA, "RS256"), (P256, "ES256"), (ED25519_KEY, "EdDSA")] {
        let signer = signer(pem);
        assert_eq!(signer.algorithm(), algorithm);
        assert!(Signer::from_pem(&Secret::from(pem), Some(algorithm)).is_ok());
        let token = signer
            .sign(json!({"typ": "x", "alg": "none"}), &json!({"a": 1}))
            .unwrap();
        assert_eq!(
            parts(&token),
            (json!({"typ": "x", "alg": algorithm}), json!({"a": 1}))
        );
        assert!(verifies(&token, &signer.public_jwk()), "{algorithm}");
        let forged = Secret::from(token.reveal().replacen("ey", "eZ", 1));
        assert!(!verifies(&forged, &signer.public_jwk()), "{algorithm}");
        assert_eq!(format!("{signer:?}"), format!("Signer({algorithm:?})"));
    }
}

#[test]
fn e03_an_assertion_names_the_client_twice_the_issuer_once_and_is_short_lived() {
    let signer = signer(P256);
    let now = 1_800_000_000;
    let token = client_assertion(&signer, &assertion(), Some("k1"), now).unwrap();
    assert!(verifies(&token, &signer.public_jwk()));
    let (header, claims) = parts(&token);
    assert_eq!(header, json!({"alg": "ES256", "typ": "JWT", "kid": "k1"}));
    assert_eq!(claims["iss"], "client-1");
    assert_eq!(claims["sub"], "client-1");
    assert_eq!(claims["aud"], "https://as.test/");
    assert_eq!(claims["iat"], now);
    let life = claims["exp"].as_u64().unwrap() - now;
    assert!((60..=300).contains(&life), "{life}");
    let members: HashSet<&str> = claims
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = ["iss", "sub", "aud", "iat", "exp", "jti"];
    assert_eq!(members, HashSet::from(expected));
    let (header, _) = parts(&client_assertion(&signer, &assertion(), None, now).unwrap());
    assert_eq!(header.get("kid"), None);
}

#[test]
fn e03_each_attempt_has_its_own_jti() {
    let signer = signer(ED25519_KEY);
    let ids: HashSet<String> = (0..1000)
        .map(|_| client_assertion(&signer, &assertion(), None, 1).unwrap())
        .map(|token| parts(&token).1["jti"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 1000);
}

#[test]
fn e03_a_key_that_cannot_be_used_is_refused_with_the_command_that_helps() {
    for (pem, words) in [
        (
            OLD_RSA,
            ["RSA PRIVATE KEY", "openssl pkcs8 -topk8 -nocrypt"],
        ),
        (OLD_EC, ["EC PRIVATE KEY", "openssl pkcs8 -topk8 -nocrypt"]),
        (LOCKED, ["passphrase", "openssl pkcs8 -in"]),
        ("canary", ["not a private key in PEM", "BEGIN PRIVATE KEY"]),
        ("", ["not a private key in PEM", "BEGIN PRIVATE KEY"]),
        (
            "-----BEGIN PRIVATE KEY-----\ncanary42\n-----END PRIVATE KEY-----\n",
            ["neither an RSA key", "openssl pkey -in"],
        ),
        (
            "-----BEGIN PRIVATE KEY-----\n!canary!\n-----END PRIVATE KEY-----\n",
            ["not a private key in PEM", "BEGIN PRIVATE KEY"],
        ),
    ] {
        let text = refusal(pem, None);
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        assert!(!text.contains("canary") && !text.contains("AAAA"), "{text}");
    }
}

#[test]
fn e03_the_algorithm_must_fit_the_key() {
    let text = refusal(P256, Some("RS256"));
    assert!(text.contains("good for ES256, not for RS256"), "{text}");
    for unknown in ["HS256", "none", "PS256", "ES384"] {
        let text = refusal(P256, Some(unknown));
        assert!(text.contains("choose RS256, ES256 or EdDSA"), "{text}");
    }
}

#[test]
fn e14_a_proof_key_is_p256_and_is_read_back() {
    let (one, other) = (proof_key().unwrap(), proof_key().unwrap());
    assert_ne!(one, other);
    assert!(one.reveal().lines().all(|line| line.len() <= PEM_LINE));
    let key = Signer::from_pem(&one, Some("ES256")).unwrap();
    let token = key.sign(json!({}), &json!({})).unwrap();
    assert!(verifies(&token, &key.public_jwk()));
    let again = Signer::from_pem(&one, None).unwrap();
    assert_eq!(again.thumbprint(), key.thumbprint());
    let other = Signer::from_pem(&other, None).unwrap();
    assert_ne!(other.thumbprint(), key.thumbprint());
    assert!(!verifies(&token, &other.public_jwk()));
}

#[test]
fn e14_the_private_part_is_in_no_jwk_and_no_signature() {
    for pem in [RSA, P256, ED25519_KEY] {
        let signer = signer(pem);
        let jwk = signer.public_jwk();
        let members: HashSet<&str> = jwk
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let public = HashSet::from(["kty", "crv", "x", "y", "n", "e"]);
        assert!(members.is_subset(&public), "{members:?}");
        let token = signer.sign(json!({"jwk": jwk}), &json!({})).unwrap();
        let (header, _) = parts(&token);
        assert_eq!(header["jwk"], jwk);
    }
}

#[test]
fn e15_the_thumbprint_is_that_of_rfc_7638_section_3_1() {
    let jwk = json!({
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29"
    });
    assert_eq!(
        thumbprint(&jwk),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
    // RFC 8037, appendix A.3.
    let jwk = json!({
        "crv": "Ed25519",
        "kty": "OKP",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    });
    assert_eq!(
        thumbprint(&jwk),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
}
