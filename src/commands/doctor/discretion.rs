//! What must not stand in anything that `doctor` shows or writes.
//!
//! In: values that the user gave, wherever they might be quoted. Out: leaving them out in the first
//! place (whoever says something), tokens (`edge/log`).

use serde_json::Value;
use url::Url;

use crate::edge::log;
use crate::proto::doctor::{Check, options};
use crate::proto::headers::UserHeaders;
use crate::proto::secret::{MASKED_BYTES, Secret, mask_quoted};
use crate::settings::DoctorSettings;

/// Words in the names of members that hold secrets, in options that are JSON.
const SECRET_MEMBERS: [&str; 6] = ["secret", "private", "token", "assertion", "password", "key"];

/// Knows what must not be shown.
pub(super) struct Discretion {
    headers: UserHeaders,
    secrets: Vec<Secret>,
}

impl Discretion {
    /// Of these settings. From now on the log leaves it out as well.
    pub(super) fn of(settings: &DoctorSettings) -> Self {
        let mut secrets = settings.secrets.clone();
        let url = &settings.settings.url;
        secrets.extend(url.query().map(Secret::from));
        secrets.extend(url.query_pairs().map(|(_, value)| Secret::from(&*value)));
        for option in &settings.typed {
            let Some(value) = &option.value else { continue };
            let value = value.reveal();
            let shown = options::shown(&option.name, Some(value));
            if shown.ends_with("[hidden]") || shown.ends_with("[hidden]\"") {
                secrets.extend(held(value, option.is_path));
            }
        }
        secrets.retain(|secret| secret.reveal().len() >= MASKED_BYTES);
        for secret in &secrets {
            log::keep_out(secret);
        }
        Self {
            headers: settings.settings.exchange.headers.clone(),
            secrets,
        }
    }

    /// The text without them.
    pub(super) fn text(&self, text: &str) -> String {
        let bytes = self.headers.hide_values(text.as_bytes());
        let bytes = bytes.as_deref().unwrap_or(text.as_bytes());
        let masked = mask_quoted(bytes, self.secrets.iter().map(Secret::reveal));
        String::from_utf8_lossy(masked.as_deref().unwrap_or(bytes)).into_owned()
    }

    /// The check without them.
    pub(super) fn check(&self, check: Check) -> Check {
        Check {
            text: self.text(&check.text),
            advice: check.advice.map(|advice| self.text(&advice)),
            flag: check.flag.map(|flag| self.text(&flag)),
            ..check
        }
    }
}

/// What is secret in the value of an option that is not shown.
fn held(value: &str, is_path: bool) -> Vec<Secret> {
    if is_path || value.starts_with('@') {
        return Vec::new();
    }
    if let Ok(url) = Url::parse(value)
        && url.has_host()
    {
        let user = Some(url.username()).filter(|user| !user.is_empty());
        let parts = [user, url.password(), url.query()];
        return parts.into_iter().flatten().map(Secret::from).collect();
    }
    let Ok(json) = serde_json::from_str::<Value>(value) else {
        // `NAME: VALUE` and `KEY=VALUE`; anything else as it is.
        let part = value.split_once([':', '=']).map(|(_, part)| part.trim());
        return [Some(value), part]
            .into_iter()
            .flatten()
            .map(Secret::from)
            .collect();
    };
    let mut found = Vec::new();
    collect(&json, false, &mut found);
    found
}

fn collect(json: &Value, is_secret: bool, into: &mut Vec<Secret>) {
    match json {
        Value::String(text) if is_secret => into.push(Secret::from(text.as_str())),
        Value::Array(items) => items.iter().for_each(|item| collect(item, is_secret, into)),
        Value::Object(members) => {
            for (name, value) in members {
                let name = name.to_lowercase();
                let named = SECRET_MEMBERS.iter().any(|word| name.contains(word))
                    && !name.starts_with("token_endpoint");
                collect(value, is_secret || named, into);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revealed(value: &str) -> Vec<String> {
        let held = held(value, false);
        held.iter()
            .map(|secret| secret.reveal().to_owned())
            .collect()
    }

    #[test]
    fn f22_secrets_are_found_in_every_kind_of_option() {
        assert_eq!(
            revealed(r#"{"client_id":"me","client_secret":"hunter2","x":{"private_key_pem":"k"}}"#),
            ["hunter2", "k"]
        );
        assert_eq!(revealed("X-Key: hunter2"), ["X-Key: hunter2", "hunter2"]);
        assert_eq!(revealed("code=hunter2"), ["code=hunter2", "hunter2"]);
        assert_eq!(
            revealed("http://someone:hunter2@proxy:8080/?k=v"),
            ["someone", "hunter2", "k=v"]
        );
        assert!(revealed(r#"{"token_endpoint_auth_method":"none"}"#).is_empty());
        assert!(revealed("@/home/me/file").is_empty());
        assert!(held("/home/me/file", true).is_empty());
    }
}
