//! Looking at everything that a sign-in needs, without signing in.
//!
//! In: the steps of a sign-in up to the person. Out: taking them (the other files here), showing
//! what was found (`commands/doctor`).

use super::SignIn;
use crate::proto::auth::challenge::Challenge;
use crate::proto::doctor::Check;

impl SignIn {
    /// What is stored: whether there is a token, until when, whether it is renewed by itself
    /// (`stored-sign-in`). Asks nobody.
    #[must_use]
    pub fn examine_stored(&self) -> Vec<Check> {
        unimplemented!()
    }

    /// Every metadata document one by one (`resource-metadata`, `server-metadata`), the issuer
    /// (`issuer`), PKCE (`pkce`), who we would be (`client`), where the browser comes back to
    /// (`callback`). Registers nothing, stores nothing, opens nothing.
    pub async fn examine(&self, _challenge: &Challenge) -> Vec<Check> {
        unimplemented!()
    }
}
