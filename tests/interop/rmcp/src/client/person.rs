//! Who answers the servers' questions, and who writes down what the servers report.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{
    ClientCapabilities, ClientConfig, CreateMessageRequestParams, CreateMessageResult,
    ElicitRequestParams, ElicitResult, ElicitationAction, ErrorData, Implementation,
    ListRootsResult, LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam,
    ProgressToken, ResourceUpdatedNotificationParam, Root, SamplingMessage, ServerNotification,
};
use rmcp::service::{NotificationContext, RequestContext, Subscription};
use rmcp::{ClientHandler, RoleClient};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::features::Stop;

pub const ROOTS: [&str; 2] = ["file:///srv/one", "file:///srv/two%20words"];

/// How long one wait for something to be seen may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the servers told, in order of arrival.
#[derive(Default)]
pub struct Seen {
    pub progress: Vec<ProgressNotificationParam>,
    pub logs: Vec<(LoggingLevel, Value)>,
    /// "tools", or the URI of a resource.
    pub changes: Vec<String>,
    /// Why a subscription ended.
    pub ends: Vec<String>,
}

impl Seen {
    pub fn progress_of(&self, token: &ProgressToken) -> Vec<&ProgressNotificationParam> {
        self.progress
            .iter()
            .filter(|report| report.progress_token == *token)
            .collect()
    }
}

#[derive(Default)]
pub struct Person {
    is_unwilling: AtomicBool,
    heard: Mutex<Vec<ElicitRequestParams>>,
    seen: watch::Sender<Seen>,
}

impl Person {
    /// What the next forms and links are answered with: accepted, or declined.
    pub fn be_unwilling(&self, is_unwilling: bool) {
        self.is_unwilling.store(is_unwilling, Ordering::Relaxed);
    }

    /// The forms and links so far.
    pub fn heard(&self) -> Vec<ElicitRequestParams> {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Reads what was seen so far.
    pub fn saw<T>(&self, read: impl FnOnce(&Seen) -> T) -> T {
        read(&self.seen.borrow())
    }

    /// Waits until `holds`, and fails at once when a subscription has ended.
    pub async fn until(&self, what: &str, holds: impl Fn(&Seen) -> bool) -> Result<(), Stop> {
        let mut seen = self.seen.subscribe();
        let wait = async {
            let state = seen
                .wait_for(|seen| holds(seen) || !seen.ends.is_empty())
                .await;
            state.map(|seen| {
                if holds(&seen) {
                    None
                } else {
                    Some(seen.ends.join(", "))
                }
            })
        };
        match timeout(DEADLINE, wait).await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(ends))) => Err(Stop::Failed(format!(
                "no {what}: the subscription ended: {ends}"
            ))),
            _ => Err(Stop::Failed(format!("no {what} in time"))),
        }
    }

    /// Writes down what comes on a subscription until it ends.
    pub async fn follow(self: Arc<Self>, mut subscription: Subscription) {
        let end = loop {
            match subscription.next().await {
                Ok(Some(ServerNotification::ToolListChangedNotification(_))) => {
                    self.changed("tools".to_owned());
                }
                Ok(Some(ServerNotification::ResourceUpdatedNotification(update))) => {
                    self.changed(update.params.uri);
                }
                Ok(Some(other)) => break format!("unexpected {other:?}"),
                Ok(None) => break format!("{:?}", subscription.end()),
                Err(error) => break error.to_string(),
            }
        };
        self.seen.send_modify(|seen| seen.ends.push(end));
    }

    fn changed(&self, what: String) {
        self.seen.send_modify(|seen| seen.changes.push(what));
    }

    fn elicit(&self, question: ElicitRequestParams) -> ElicitResult {
        let answer = if self.is_unwilling.load(Ordering::Relaxed) {
            ElicitResult::new(ElicitationAction::Decline)
        } else if let ElicitRequestParams::FormElicitationParams {
            requested_schema, ..
        } = &question
        {
            let content: Map<String, Value> = [("name", "Ada"), ("size", "M")]
                .into_iter()
                .filter(|(field, _)| requested_schema.properties.contains_key(*field))
                .map(|(field, value)| (field.to_owned(), json!(value)))
                .collect();
            ElicitResult::new(ElicitationAction::Accept).with_content(Value::Object(content))
        } else {
            ElicitResult::new(ElicitationAction::Accept)
        };
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(question);
        answer
    }
}

/// The person as rmcp sees it.
pub struct Host(pub Arc<Person>);

impl ClientHandler for Host {
    fn get_info(&self) -> ClientConfig {
        let capabilities =
            json!({ "roots": {}, "sampling": {}, "elicitation": { "form": {}, "url": {} } });
        let capabilities: ClientCapabilities =
            serde_json::from_value(capabilities).unwrap_or_default();
        ClientConfig::new(capabilities, Implementation::new("matrix-client", "1.0.0"))
    }

    async fn create_message(
        &self,
        params: CreateMessageRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let said = params
            .messages
            .first()
            .and_then(|message| message.content.first()?.as_text());
        let said = said.map(|text| text.text.as_str()).unwrap_or_default();
        let message = SamplingMessage::assistant_text(format!("heard {said}"));
        let result = CreateMessageResult::new(message, "matrix-model".to_owned());
        Ok(result.with_stop_reason(CreateMessageResult::STOP_REASON_END_TURN))
    }

    async fn list_roots(
        &self,
        _context: RequestContext<RoleClient>,
    ) -> Result<ListRootsResult, ErrorData> {
        Ok(ListRootsResult::new(ROOTS.map(Root::new).into()))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Ok(self.0.elicit(request))
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.0.seen.send_modify(|seen| seen.progress.push(params));
    }

    async fn on_logging_message(
        &self,
        params: LoggingMessageNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.0
            .seen
            .send_modify(|seen| seen.logs.push((params.level, params.data)));
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.0.changed("tools".to_owned());
    }

    async fn on_resource_updated(
        &self,
        params: ResourceUpdatedNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.0.changed(params.uri);
    }
}
