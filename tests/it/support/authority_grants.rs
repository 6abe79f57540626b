//! The inside of `authority`: the token, device and revocation endpoints.
//!
//! In: client authentication, every grant, what a token is good for. Out: the consent page and
//! everything before (`authority_office`).

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::authority::{Decision, merge, oauth_error, origin_of};
use super::authority_office::{Access, Client, Grant, Office, Refresh, Visit};
use super::reply::Reply;

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const EXCHANGE_GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const BEARER_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Longest life of a client assertion, and what a clock may be off, in seconds.
const ASSERTION_LIFE: i64 = 300;
const CLOCK_SKEW: i64 = 30;

impl Office {
    pub(super) fn token(&self, visit: &Visit) -> Reply {
        let grant_type = visit.get("grant_type").unwrap_or_default();
        let client = match self.authenticate(visit) {
            Ok(client) => client,
            Err(reply) => return *reply,
        };
        let granted = match (grant_type, client) {
            ("authorization_code", Some(client)) => self.redeem_code(visit, &client),
            ("refresh_token", Some(client)) => return self.refresh(visit, &client),
            (DEVICE_GRANT, Some(client)) => self.poll_device(visit, &client),
            ("client_credentials", Some(client)) => self.credentials(visit, client),
            (EXCHANGE_GRANT, _) => return self.exchange(visit),
            (BEARER_GRANT, client) => self.bearer(visit, client),
            (_, None) => return self.invalid_client(),
            _ => return oauth_error(400, "unsupported_grant_type"),
        };
        let interactive = matches!(grant_type, "authorization_code" | DEVICE_GRANT);
        match granted {
            Ok(grant) => self.issue(grant, interactive, None),
            Err(error) => oauth_error(400, error),
        }
    }

    /// What an access token allows, if it is alive.
    pub(super) fn look_up(&self, token: &str) -> Option<Grant> {
        let now = Instant::now();
        self.state.with(|state| {
            let access = state.access.get(token)?;
            let late = access.until.is_some_and(|until| until <= now);
            (!access.ended && !late).then(|| access.grant.clone())
        })
    }

    fn redeem_code(&self, visit: &Visit, client: &str) -> Result<Grant, &'static str> {
        let code = visit.get("code").unwrap_or_default();
        let Some(code) = self.state.with(|state| state.codes.remove(code)) else {
            self.complain(
                visit,
                "a code that was never given out, or that was used before",
            );
            return Err("invalid_grant");
        };
        let verifier = visit.get("code_verifier").unwrap_or_default();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        let long_enough = (43..=128).contains(&verifier.len());
        for (name, holds) in [
            ("the verifier does not fit", challenge == code.challenge),
            ("the verifier has a wrong length", long_enough),
            (
                "redirect_uri differs",
                visit.get("redirect_uri") == Some(code.redirect.as_str()),
            ),
            ("another client's code", client == code.grant.client),
        ] {
            if !holds {
                self.complain(visit, name);
                return Err("invalid_grant");
            }
        }
        self.same_resource(visit, code.grant)
    }

    fn refresh(&self, visit: &Visit, client: &str) -> Reply {
        let rules = self.rules(|rules| rules.clone());
        let token = visit.get("refresh_token").unwrap_or_default();
        if rules.refresh_wants_scope && visit.get("scope").is_none() {
            return oauth_error(400, "invalid_scope");
        }
        let found = self.state.with(|state| {
            let entry = state.refresh.get_mut(token)?;
            if entry.grant.client != client {
                return None;
            }
            let grant = entry.grant.clone();
            if entry.replaced {
                state.reuses += 1;
                if rules.reuse_detection {
                    state
                        .refresh
                        .retain(|_, other| other.grant.family != grant.family);
                    for access in state.access.values_mut() {
                        access.ended |= access.grant.family == grant.family;
                    }
                    return None;
                }
            }
            Some(grant)
        });
        let Some(mut grant) = found else {
            return oauth_error(400, "invalid_grant");
        };
        if let Some(asked) = visit.get("scope") {
            let wider = asked
                .split(' ')
                .any(|scope| !grant.scope.split(' ').any(|granted| granted == scope));
            if wider {
                self.complain(visit, "a refresh for more than was granted");
                return oauth_error(400, "invalid_scope");
            }
            asked.clone_into(&mut grant.scope);
        }
        let grant = match self.same_resource(visit, grant) {
            Ok(grant) => grant,
            Err(error) => return oauth_error(400, error),
        };
        if rules.rotation {
            self.state.with(|state| {
                if let Some(entry) = state.refresh.get_mut(token) {
                    entry.replaced = true;
                }
            });
        }
        self.issue(grant, rules.rotation, Some(token))
    }

    fn credentials(&self, visit: &Visit, client: String) -> Result<Grant, &'static str> {
        let public = self.state.with(|state| {
            state
                .clients
                .get(&client)
                .is_none_or(|client| client.method == "none")
        });
        if public {
            return Err("unauthorized_client");
        }
        Ok(self.grant(visit, client))
    }

    fn bearer(&self, visit: &Visit, client: Option<String>) -> Result<Grant, &'static str> {
        let assertion = visit.get("assertion").unwrap_or_default();
        let lasting = self.rules(|rules| rules.assertions.iter().any(|known| known == assertion));
        let single = self.assertions().with(|known| known.remove(assertion));
        if lasting || single {
            Ok(self.grant(visit, client.unwrap_or_default()))
        } else {
            Err("invalid_grant")
        }
    }

    fn exchange(&self, visit: &Visit) -> Reply {
        let subject = visit.get("subject_token").unwrap_or_default();
        let known = self.rules(|rules| rules.subject_tokens.iter().any(|known| known == subject));
        if visit.get("requested_token_type") != Some(ID_JAG) {
            self.complain(visit, "it does not ask for an ID-JAG");
        }
        for name in ["audience", "resource", "subject_token_type"] {
            if visit.get(name).is_none() {
                self.complain(visit, &format!("no {name}"));
            }
        }
        if !known {
            return oauth_error(400, "invalid_grant");
        }
        let assertion = self.secret("id-jag");
        self.assertions()
            .with(|known| known.insert(assertion.clone()));
        let mut answer = json!({
            "issued_token_type": ID_JAG,
            "access_token": assertion,
            "token_type": "N_A",
            "expires_in": 300,
        });
        merge(&mut answer, &self.rules(|rules| rules.token_edits.clone()));
        Reply::json(&answer)
    }

    pub(super) fn device(&self, visit: &Visit) -> Reply {
        let rules = self.rules(|rules| rules.clone());
        if !rules.device_flow {
            return Reply::text(404, "Not Found");
        }
        let client = match self.authenticate(visit) {
            Ok(Some(client)) => client,
            Ok(None) => return self.invalid_client(),
            Err(reply) => return *reply,
        };
        let (code, user_code) = (self.secret("device-code"), self.fresh("USER"));
        let grant = self.grant(visit, client);
        self.state
            .with(|state| state.devices.insert(code.clone(), grant));
        let page = format!("{}/activate", origin_of(&visit.call));
        let mut answer = json!({
            "device_code": code,
            "user_code": user_code,
            "verification_uri_complete": format!("{page}?user_code={user_code}"),
            "verification_uri": page,
            "expires_in": 600,
            "interval": 1,
        });
        merge(&mut answer, &rules.device_edits);
        Reply::json(&answer)
    }

    fn poll_device(&self, visit: &Visit, client: &str) -> Result<Grant, &'static str> {
        let code = visit.get("device_code").unwrap_or_default();
        let known = self.state.with(|state| state.devices.get(code).cloned());
        let Some(grant) = known.filter(|grant| grant.client == client) else {
            return Err("invalid_grant");
        };
        let (scripted, decision) =
            self.rules(|rules| (rules.device_polls.pop_front(), rules.decision));
        match (scripted.as_deref(), decision) {
            (Some("slow_down"), _) => Err("slow_down"),
            (Some("expired_token"), _) => Err("expired_token"),
            (Some("access_denied"), _) | (None, Decision::Deny) => Err("access_denied"),
            (Some(_), _) | (None, Decision::Nothing) => Err("authorization_pending"),
            (None, Decision::Approve) => {
                self.state.with(|state| state.devices.remove(code));
                Ok(grant)
            }
        }
    }

    pub(super) fn revoke(&self, visit: &Visit) -> Reply {
        if !self.rules(|rules| rules.revocation) {
            return Reply::text(404, "Not Found");
        }
        if let Err(reply) = self.authenticate(visit) {
            return *reply;
        }
        let token = visit.get("token").unwrap_or_default();
        self.state.with(|state| {
            let family = state.refresh.get(token).map(|entry| entry.grant.family);
            state
                .refresh
                .retain(|_, entry| Some(entry.grant.family) != family);
            for (name, access) in &mut state.access {
                access.ended |= name == token || Some(access.grant.family) == family;
            }
        });
        Reply::status(200)
    }

    /// What this request may be granted, to a client whose name is known.
    fn grant(&self, visit: &Visit, client: String) -> Grant {
        let asked = visit.get("scope").unwrap_or_default().to_owned();
        let granted = self.rules(|rules| rules.granted_scope.clone());
        if visit.get("resource").is_none() && self.rules(|rules| rules.wants_resource) {
            self.complain(visit, "no resource");
        }
        Grant {
            client,
            scope: granted.unwrap_or(asked),
            resource: visit.get("resource").map(str::to_owned),
            family: self.serial(),
        }
    }

    fn same_resource(&self, visit: &Visit, grant: Grant) -> Result<Grant, &'static str> {
        if visit.get("resource") == grant.resource.as_deref() {
            return Ok(grant);
        }
        self.complain(visit, &format!("resource was {:?}", grant.resource));
        Err("invalid_target")
    }

    /// Gives out tokens; a new refresh token only if `renew`.
    fn issue(&self, grant: Grant, renew: bool, replaced: Option<&str>) -> Reply {
        let rules = self.rules(|rules| rules.clone());
        let access = self.secret("access-token");
        let life = rules.expires_in.map(Duration::from_secs);
        let mut answer = json!({"access_token": access, "token_type": "Bearer"});
        if !grant.scope.is_empty() {
            answer["scope"] = json!(grant.scope);
        }
        if let Some(seconds) = rules.expires_in {
            answer["expires_in"] = json!(seconds);
        }
        let may_refresh = rules.refresh_tokens && renew;
        let refresh = may_refresh.then(|| self.secret("refresh-token"));
        if let Some(refresh) = &refresh {
            answer["refresh_token"] = json!(refresh);
        }
        self.state.with(|state| {
            // A family that was revoked while this ran stays revoked.
            if replaced.is_none_or(|token| state.refresh.contains_key(token)) {
                if let Some(refresh) = refresh {
                    let entry = Refresh {
                        grant: grant.clone(),
                        replaced: false,
                    };
                    state.refresh.insert(refresh, entry);
                }
                let entry = Access {
                    grant,
                    until: life.map(|life| Instant::now() + life),
                    ended: false,
                };
                state.last_access = Some(access.clone());
                state.access.insert(access, entry);
            }
        });
        merge(&mut answer, &rules.token_edits);
        Reply::json(&answer).header("cache-control", "no-store")
    }

    fn invalid_client(&self) -> Reply {
        oauth_error(
            self.rules(|rules| rules.invalid_client_status),
            "invalid_client",
        )
    }

    /// Which client this is; none where the request names none.
    fn authenticate(&self, visit: &Visit) -> Result<Option<String>, Box<Reply>> {
        let refused = || Box::new(self.invalid_client());
        let (id, secret, method) = if let Some((id, secret)) = visit.basic() {
            if visit.get("client_secret").is_some() {
                self.complain(visit, "the secret comes both ways");
            }
            (id, Some(secret), "client_secret_basic")
        } else if visit.call.header("authorization").is_some() {
            self.complain(visit, "authorization is not Basic");
            return Err(refused());
        } else if let Some(assertion) = visit.get("client_assertion") {
            let (id, signed) = self.assertion(visit, assertion).ok_or_else(refused)?;
            return if signed { Ok(Some(id)) } else { Err(refused()) };
        } else {
            let Some(id) = visit.get("client_id") else {
                return Ok(None);
            };
            let secret = visit.get("client_secret").map(str::to_owned);
            let method = if secret.is_some() {
                "client_secret_post"
            } else {
                "none"
            };
            (id.to_owned(), secret, method)
        };
        let (known, documents) = self.state.with(|state| {
            let documents = state.rules.metadata_documents;
            (state.clients.get(&id).cloned(), documents)
        });
        let public = || Client {
            method: "none".to_owned(),
            ..Client::default()
        };
        let by_document = (documents && id.starts_with("https://")).then(public);
        let client = known.or(by_document).ok_or_else(refused)?;
        if client.method != method {
            self.complain(
                visit,
                &format!("it should use {}, not {method}", client.method),
            );
            return Err(refused());
        }
        if client.method != "none" && client.secret != secret {
            return Err(refused());
        }
        Ok(Some(id))
    }

    /// Whose assertion it is, and whether it holds (RFC 7523 §3, ES256 alone).
    fn assertion(&self, visit: &Visit, jws: &str) -> Option<(String, bool)> {
        let (signed, signature) = jws.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let read = |part: &str| serde_json::from_slice::<Value>(&decode(part)?).ok();
        let (header, claims) = (read(header)?, read(claims)?);
        let id = claims["iss"].as_str()?.to_owned();
        let key = self.state.with(|state| {
            state
                .clients
                .get(&id)
                .and_then(|client| client.public_key.clone())
        })?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key);
        let genuine = key.verify(signed.as_bytes(), &decode(signature)?).is_ok();
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
        let left = claims["exp"].as_i64()? - i64::try_from(now).ok()?;
        let jti = claims["jti"].as_str().unwrap_or_default().to_owned();
        let new = !jti.is_empty() && self.state.with(|state| state.seen_jti.insert(jti));
        let life = -CLOCK_SKEW..=ASSERTION_LIFE + CLOCK_SKEW;
        let mut all = genuine;
        for (name, holds) in [
            ("alg is not ES256", header["alg"] == "ES256"),
            ("sub is not iss", claims["sub"] == claims["iss"]),
            (
                "aud is not the issuer",
                claims["aud"] == json!(self.issuer(visit)),
            ),
            ("it lives too long, or no more", life.contains(&left)),
            ("jti is missing or came before", new),
            ("iat is missing", claims["iat"].is_i64()),
            (
                "client_assertion_type is wrong",
                visit.get("client_assertion_type") == Some(ASSERTION_TYPE),
            ),
            (
                "client_id is another",
                visit.get("client_id").is_none_or(|given| given == id),
            ),
        ] {
            if !holds {
                self.complain(visit, &format!("client assertion: {name}"));
                all = false;
            }
        }
        Some((id, all))
    }
}
