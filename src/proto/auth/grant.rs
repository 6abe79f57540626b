//! Requests to the token endpoint: one form per grant, one way to identify the client (RFC 6749
//! §2.3, §4, §6; RFC 8628 §3.4; RFC 8693 §2.1; RFC 7523 §2).
//!
//! In: fields and headers. Out: signatures (`edge/keys`), sending (`edge/oauth`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::{Url, form_urlencoded};

use super::client::{Client, ClientAuth};
use super::settings::{DEVICE_GRANT, JWT_GRANT};
use crate::proto::secret::Secret;

/// `client_assertion_type` of a signed JWT (RFC 7523 §2.2).
const JWT_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Fields whose values are secret.
const SECRET_FIELDS: &[&str] = &[
    "code",
    "code_verifier",
    "refresh_token",
    "client_secret",
    "client_assertion",
    "device_code",
    "subject_token",
    "assertion",
    "token",
];

/// A form to be posted. Its debug form shows no values.
#[derive(Clone, Default)]
pub struct Form {
    fields: Vec<(&'static str, Secret)>,
    /// `Authorization`, if the client identifies itself there.
    pub authorization: Option<Secret>,
}

/// A JWT that has to be signed before a request can be sent (RFC 7523 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// `iss` and `sub`.
    pub client_id: String,
    /// `aud`: the issuer.
    pub audience: String,
}

impl Form {
    /// An empty form.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, Secret::from(value)));
        self
    }

    /// Adds a field where there is a value.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds what identifies the client, in one place only (RFC 6749 §2.3): a public client its id,
    /// `client_secret_basic` both parts form-encoded in `Authorization` (§2.3.1). `assertion` is
    /// the signed JWT of a client with a private key; it names the client, so the id is not
    /// repeated.
    #[must_use]
    pub fn by(mut self, client: &Client, assertion: Option<&Secret>) -> Self {
        match &client.auth {
            ClientAuth::None => self.with("client_id", &client.id),
            ClientAuth::Basic(secret) => {
                self.authorization = Some(basic(&client.id, secret));
                self
            }
            ClientAuth::Post(secret) => self
                .with("client_id", &client.id)
                .with("client_secret", secret.reveal()),
            ClientAuth::PrivateKeyJwt { .. } => match assertion {
                Some(assertion) => self
                    .with("client_assertion_type", JWT_ASSERTION)
                    .with("client_assertion", assertion.reveal()),
                None => self,
            },
        }
    }

    /// The body: `application/x-www-form-urlencoded`.
    #[must_use]
    pub fn body(&self) -> Secret {
        // Room for everything escaped, so that no copy is left behind by growing.
        let room = self.fields.iter().fold(0, |room, (name, value)| {
            room + name.len() + 3 * value.reveal().len() + 2
        });
        let mut body = form_urlencoded::Serializer::new(String::with_capacity(room));
        for (name, value) in &self.fields {
            body.append_pair(name, value.reveal());
        }
        Secret::from(body.finish())
    }

    /// Everything secret in it, so that an answer that quotes it can be masked.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        let is_secret = |(name, _): &&(&'static str, Secret)| SECRET_FIELDS.contains(name);
        let fields = self.fields.iter().filter(is_secret);
        let mut secrets: Vec<Secret> = fields.map(|(_, value)| value.clone()).collect();
        if let Some(authorization) = &self.authorization {
            let packed = authorization.reveal();
            let packed = packed.split_once(' ').map_or(packed, |(_, rest)| rest);
            secrets.push(Secret::from(packed));
            let pair = STANDARD.decode(packed).map(String::from_utf8);
            if let Ok(Ok(pair)) = pair {
                let pair = Secret::from(pair);
                let (_, encoded) = pair.reveal().split_once(':').unwrap_or_default();
                let field = Secret::from(format!("s={encoded}"));
                let plain = form_urlencoded::parse(field.reveal().as_bytes()).next();
                secrets.extend(plain.map(|(_, plain)| Secret::from(plain.into_owned())));
            }
        }
        secrets
    }

    /// Value of a field, for tests and for the log's field names.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(field, _)| *field == name)?;
        Some(value.reveal())
    }
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.fields.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

/// `authorization_code` (RFC 6749 §4.1.3, RFC 7636 §4.5).
#[must_use]
pub fn code(code: &Secret, verifier: &Secret, redirect_uri: &str, resource: Option<&str>) -> Form {
    Form::new()
        .with("grant_type", "authorization_code")
        .with("code", code.reveal())
        .with("code_verifier", verifier.reveal())
        .with("redirect_uri", redirect_uri)
        .with_some("resource", resource)
}

/// `refresh_token` (RFC 6749 §6). `scope` only where the server needs it
/// ([`super::quirks::Quirks::refresh_needs_scope`]): as granted or asked for at first.
#[must_use]
pub fn refresh(token: &Secret, scope: Option<&str>, resource: Option<&str>) -> Form {
    Form::new()
        .with("grant_type", "refresh_token")
        .with("refresh_token", token.reveal())
        .with_some("resource", resource)
        .with_some("scope", scope)
}

/// `client_credentials` (RFC 6749 §4.4.2).
#[must_use]
pub fn client_credentials(scope: Option<&str>, resource: Option<&str>) -> Form {
    Form::new()
        .with("grant_type", "client_credentials")
        .with_some("scope", scope)
        .with_some("resource", resource)
}

/// `urn:ietf:params:oauth:grant-type:device_code` (RFC 8628 §3.4).
#[must_use]
pub fn device_code(device_code: &Secret, resource: Option<&str>) -> Form {
    Form::new()
        .with("grant_type", DEVICE_GRANT)
        .with("device_code", device_code.reveal())
        .with_some("resource", resource)
}

/// A token that is not wanted any more (RFC 7009 §2.1); `hint` says which kind it is.
#[must_use]
pub fn revocation(token: &Secret, hint: &str) -> Form {
    Form::new()
        .with("token", token.reveal())
        .with("token_type_hint", hint)
}

/// `urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523 §2.1). Workload identity sends it as it
/// is, enterprise-managed authorization identifies the client as well ([`Form::by`]).
#[must_use]
pub fn jwt_bearer(assertion: &Secret, scope: Option<&str>, resource: Option<&str>) -> Form {
    Form::new()
        .with("grant_type", JWT_GRANT)
        .with("assertion", assertion.reveal())
        .with_some("scope", scope)
        .with_some("resource", resource)
}

/// The JWT to sign before [`Form::by`], if the client has a private key. Its audience is the issuer
/// (draft-ietf-oauth-rfc7523bis); of a server whose issuer nobody knows, the token endpoint
/// (RFC 7523 §3).
#[must_use]
pub fn assertion(client: &Client, issuer: &str, token_endpoint: &Url) -> Option<Assertion> {
    match &client.auth {
        ClientAuth::PrivateKeyJwt { .. } => Some(Assertion {
            client_id: client.id.clone(),
            audience: if issuer.is_empty() {
                token_endpoint.to_string()
            } else {
                issuer.to_owned()
            },
        }),
        _ => None,
    }
}

/// `Basic` with both parts form-encoded (RFC 6749 §2.3.1, RFC 7617 §2).
fn basic(id: &str, secret: &Secret) -> Secret {
    let encoded = |text: &str| {
        Secret::from(form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>())
    };
    let pair = Secret::from(format!(
        "{}:{}",
        encoded(id).reveal(),
        encoded(secret.reveal()).reveal()
    ));
    Secret::from(format!("Basic {}", STANDARD.encode(pair.reveal())))
}

#[cfg(test)]
mod tests {
    use super::super::client::{Provenance, Registered};
    use super::*;

    fn client(auth: ClientAuth) -> Client {
        Client {
            id: "id:ü".to_owned(),
            auth,
            provenance: Provenance::Given,
            redirect_uris: Vec::new(),
            issuer: None,
            scope: None,
            secret_expires_at: None,
            registered: Registered::default(),
        }
    }

    fn body(form: &Form) -> String {
        form.body().reveal().to_owned()
    }

    fn code_form() -> Form {
        code(
            &"c/1+2".into(),
            &"v".into(),
            "http://localhost:3334/oauth/callback",
            Some("https://mcp.example/mcp?a=b"),
        )
    }

    const CODE_BODY: &str = "grant_type=authorization_code&code=c%2F1%2B2&code_verifier=v\
        &redirect_uri=http%3A%2F%2Flocalhost%3A3334%2Foauth%2Fcallback\
        &resource=https%3A%2F%2Fmcp.example%2Fmcp%3Fa%3Db";

    #[test]
    fn c34_the_code_is_exchanged_with_one_kind_of_client_authentication() {
        let none = code_form().by(&client(ClientAuth::None), None);
        assert_eq!(body(&none), format!("{CODE_BODY}&client_id=id%3A%C3%BC"));
        assert!(none.authorization.is_none());
        let post = code_form().by(&client(ClientAuth::Post("s &".into())), None);
        assert_eq!(
            body(&post),
            format!("{CODE_BODY}&client_id=id%3A%C3%BC&client_secret=s+%26")
        );
        assert!(post.authorization.is_none());
        let basic = code_form().by(&client(ClientAuth::Basic("s".into())), None);
        assert_eq!(body(&basic), CODE_BODY);
        let key = ClientAuth::PrivateKeyJwt {
            algorithm: None,
            key: "pem".into(),
            key_id: None,
        };
        let signed = code_form().by(&client(key), Some(&"a.b.c".into()));
        assert_eq!(
            body(&signed),
            format!(
                "{CODE_BODY}&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
                 &client_assertion=a.b.c"
            )
        );
        assert!(signed.authorization.is_none());
    }

    #[test]
    fn b10_e02_basic_encodes_id_and_secret_before_joining_them() {
        let form = Form::new().by(&client(ClientAuth::Basic("a:b+c%d é".into())), None);
        let header = form.authorization.as_ref().unwrap().reveal();
        let pair = STANDARD.decode(header.strip_prefix("Basic ").unwrap());
        assert_eq!(
            String::from_utf8(pair.unwrap()).unwrap(),
            "id%3A%C3%BC:a%3Ab%2Bc%25d+%C3%A9"
        );
        assert_eq!(body(&form), "");
    }

    #[test]
    fn f22_a_form_knows_what_is_secret_in_it() {
        let secret = |text: &str| Secret::from(text);
        let basic = client(ClientAuth::Basic("a:b+c%d é".into()));
        let post = client(ClientAuth::Post("posted".into()));
        let key = client(ClientAuth::PrivateKeyJwt {
            algorithm: None,
            key: "pem".into(),
            key_id: None,
        });
        let cases = [
            (
                code(&secret("c"), &secret("v"), "http://localhost:1/", None),
                vec!["c", "v"],
            ),
            (
                refresh(&secret("r"), Some("a"), None).by(&basic, None),
                vec![
                    "r",
                    "aWQlM0ElQzMlQkM6YSUzQWIlMkJjJTI1ZCslQzMlQTk=",
                    "a:b+c%d é",
                ],
            ),
            (
                client_credentials(Some("a"), None).by(&post, None),
                vec!["posted"],
            ),
            (
                device_code(&secret("d"), None).by(&key, Some(&secret("a.b.c"))),
                vec!["d", "a.b.c"],
            ),
            (jwt_bearer(&secret("j"), None, None), vec!["j"]),
            (revocation(&secret("t"), "access_token"), vec!["t"]),
        ];
        for (form, expected) in cases {
            let found = form.secrets();
            let found: Vec<&str> = found.iter().map(Secret::reveal).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn d10_a_renewal_names_the_resource_and_no_scope_unless_told() {
        let token = "r/t".into();
        assert_eq!(
            body(&refresh(&token, None, Some("https://mcp.example/"))),
            "grant_type=refresh_token&refresh_token=r%2Ft&resource=https%3A%2F%2Fmcp.example%2F"
        );
        assert_eq!(
            body(&refresh(&token, None, None)),
            "grant_type=refresh_token&refresh_token=r%2Ft"
        );
    }

    #[test]
    fn h04_a_renewal_repeats_the_scope_where_the_server_needs_it() {
        let form = refresh(&"r".into(), Some("api://x/read"), None);
        assert_eq!(form.get("scope"), Some("api://x/read"));
    }

    #[test]
    fn c06_every_grant_names_the_resource_once_or_not_at_all() {
        let secret = Secret::from("s");
        let with = Some("https://mcp.example/mcp");
        for (resource, times) in [(with, 1), (None, 0)] {
            for form in [
                code(&secret, &secret, "http://localhost:1/", resource),
                refresh(&secret, None, resource),
                client_credentials(None, resource),
                device_code(&secret, resource),
                jwt_bearer(&secret, None, resource),
            ] {
                assert_eq!(body(&form).matches("resource=").count(), times);
                assert_eq!(form.get("resource"), resource);
            }
        }
    }

    #[test]
    fn e01_client_credentials_sends_scope_and_resource() {
        let form = client_credentials(Some("a b"), Some("https://mcp.example/mcp"));
        assert_eq!(
            body(&form),
            "grant_type=client_credentials&scope=a+b&resource=https%3A%2F%2Fmcp.example%2Fmcp"
        );
    }

    #[test]
    fn e03_the_assertion_is_for_the_issuer() {
        let endpoint = Url::parse("https://as.example/token").unwrap();
        let key = ClientAuth::PrivateKeyJwt {
            algorithm: None,
            key: "pem".into(),
            key_id: None,
        };
        let wanted = assertion(&client(key.clone()), "https://as.example/t", &endpoint).unwrap();
        assert_eq!(wanted.client_id, "id:ü");
        assert_eq!(wanted.audience, "https://as.example/t");
        let wanted = assertion(&client(key), "", &endpoint).unwrap();
        assert_eq!(wanted.audience, "https://as.example/token");
        assert_eq!(assertion(&client(ClientAuth::None), "i", &endpoint), None);
    }

    #[test]
    fn e12_e19_a_grant_by_assertion_names_no_client_of_itself() {
        let form = jwt_bearer(&"a.b.c".into(), Some("x"), Some("https://mcp.example/mcp"));
        assert_eq!(
            body(&form),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a.b.c\
             &scope=x&resource=https%3A%2F%2Fmcp.example%2Fmcp"
        );
        assert!(form.authorization.is_none());
    }

    #[test]
    fn e06_a_poll_sends_the_device_code() {
        let form = device_code(&"d".into(), None).by(&client(ClientAuth::None), None);
        assert_eq!(
            body(&form),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=d\
             &client_id=id%3A%C3%BC"
        );
    }

    #[test]
    fn f22_a_form_shows_the_names_of_its_fields_alone() {
        let form = code(&"CANARY".into(), &"CANARY".into(), "CANARY", Some("CANARY"))
            .by(&client(ClientAuth::Basic("CANARY".into())), None);
        let shown = format!("{form:?}");
        assert!(shown.contains("code_verifier"), "{shown}");
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}
