//! The list of tools, and those that need nothing from the client beyond a notification.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, JsonObject,
    LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam, Tool,
};
use rmcp::service::RequestContext;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::questions::is_modern;
use super::{COUNTER, Change, Server, lock};

/// How long `meet` and `wait` last at most, and how long `was-cancelled` looks.
const MEET: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_secs(5);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

pub fn built_in() -> Vec<Tool> {
    let text = || json!({ "type": "string" });
    let integer = || json!({ "type": "integer" });
    let weather = json!({
        "type": "object",
        "properties": { "city": { "type": "string" }, "degrees": { "type": "number" } },
        "required": ["city", "degrees"],
    });
    vec![
        tool("echo", &json!({ "text": text() })),
        tool(
            "weather",
            &json!({ "city": { "type": "string", "x-mcp-header": "City" } }),
        )
        .with_raw_output_schema(object(weather)),
        tool("fail", &json!({})),
        tool("count", &json!({ "to": integer() })),
        tool("chat", &json!({})),
        tool("ask-model", &json!({ "prompt": text() })),
        tool("ask-form", &json!({})),
        tool("ask-link", &json!({})),
        tool("ask-both", &json!({})),
        tool("ask-twice", &json!({})),
        tool("list-roots", &json!({})),
        tool("meet", &json!({ "size": integer(), "label": text() })),
        tool("wait", &json!({ "label": text() })),
        tool("was-cancelled", &json!({ "label": text() })),
        tool("add-tool", &json!({ "name": text() })),
        tool("touch", &json!({})),
    ]
}

/// A tool that came with `add-tool`.
pub fn added(name: String) -> Tool {
    tool(name, &json!({ "text": { "type": "string" } }))
}

fn tool(name: impl Into<std::borrow::Cow<'static, str>>, properties: &Value) -> Tool {
    let required: Vec<&String> = properties
        .as_object()
        .map(|map| map.keys().collect())
        .unwrap_or_default();
    let schema = json!({ "type": "object", "properties": properties, "required": required });
    Tool::new_with_raw(name, None, object(schema))
}

fn object(value: Value) -> Arc<JsonObject> {
    match value {
        Value::Object(map) => Arc::new(map),
        _ => Arc::default(),
    }
}

/// A result of one text block.
pub fn text(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

/// A result that says the tool failed.
pub fn failure(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::error(vec![ContentBlock::text(text)]).into()
}

impl Server {
    pub(super) async fn call(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Arguments(request.arguments.as_ref());
        Ok(match &*request.name {
            "echo" => text(arguments.text("text")?),
            "weather" => {
                let city = arguments.text("city")?;
                CallToolResult::structured(json!({ "city": city, "degrees": 21.5 })).into()
            }
            "fail" => failure("failed on purpose"),
            "count" => count(arguments.integer("to")?, &context).await?,
            "chat" => self.chat(&context).await?,
            "meet" => {
                self.meet(arguments.integer("size")?, arguments.text("label")?)
                    .await
            }
            "wait" => self.wait(arguments.text("label")?, &context).await?,
            "was-cancelled" => text(self.was_cancelled(arguments.text("label")?).await),
            "add-tool" => {
                lock(&self.shared.added_tools).push(arguments.text("name")?.to_owned());
                self.announce(Change::Tools);
                text("added")
            }
            "touch" => {
                self.shared.counter.fetch_add(1, Ordering::Relaxed);
                self.announce(Change::Resource(COUNTER));
                text("touched")
            }
            name if lock(&self.shared.added_tools)
                .iter()
                .any(|added| added == name) =>
            {
                text(arguments.text("text")?)
            }
            _ => return self.ask(request, context).await,
        })
    }

    fn announce(&self, change: Change) {
        // Nobody listening is no fault.
        let _listeners = self.shared.changes.send(change);
    }

    /// A modern request names its level, and hears nothing when it names none.
    async fn chat(
        &self,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let lowest = if is_modern(context) {
            context.meta.log_level()
        } else {
            Some(*lock(&self.level))
        };
        for (level, data) in [
            (LoggingLevel::Info, "first"),
            (LoggingLevel::Error, "second"),
        ] {
            if lowest.is_some_and(|lowest| level as u8 >= lowest as u8) {
                let message = LoggingMessageNotificationParam::new(level, json!(data));
                context
                    .peer
                    .notify_logging_message(message)
                    .await
                    .map_err(internal)?;
            }
        }
        Ok(text("logged"))
    }

    async fn meet(&self, size: u64, label: &str) -> CallToolResponse {
        let mut meeting = {
            let mut meetings = lock(&self.shared.meetings);
            let meeting = meetings
                .entry(label.to_owned())
                .or_insert_with(|| watch::Sender::new(0));
            meeting.send_modify(|present| *present += 1);
            meeting.subscribe()
        };
        let met = timeout(MEET, meeting.wait_for(|present| *present >= size))
            .await
            .is_ok();
        if met {
            text("met")
        } else {
            failure(format!("only {} of {size} came", *meeting.borrow()))
        }
    }

    async fn wait(
        &self,
        label: &str,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        report(1, 2, "waiting".to_owned(), context).await?;
        if timeout(WAIT, context.ct.cancelled()).await.is_ok() {
            lock(&self.shared.cancelled).insert(label.to_owned());
        }
        Ok(text("waited"))
    }

    async fn was_cancelled(&self, label: &str) -> &'static str {
        let seen = async {
            while !lock(&self.shared.cancelled).contains(label) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        if timeout(LOOK, seen).await.is_ok() {
            "yes"
        } else {
            "no"
        }
    }
}

async fn count(
    to: u64,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    for step in 1..=to {
        report(step, to, format!("step {step}"), context).await?;
    }
    Ok(text(format!("counted to {to}")))
}

/// Tells the caller how far the work is, if it wants to know.
#[expect(clippy::cast_precision_loss, reason = "steps are few")]
async fn report(
    step: u64,
    of: u64,
    message: String,
    context: &RequestContext<RoleServer>,
) -> Result<(), ErrorData> {
    let Some(token) = context.meta.get_progress_token() else {
        return Ok(());
    };
    let progress = ProgressNotificationParam::new(token, step as f64)
        .with_total(of as f64)
        .with_message(message);
    context
        .peer
        .notify_progress(progress)
        .await
        .map_err(internal)
}

pub fn internal(error: impl std::fmt::Display) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}

/// Arguments of a call, each with a plain error when it is missing.
pub struct Arguments<'a>(pub Option<&'a JsonObject>);

impl<'a> Arguments<'a> {
    pub fn text(&self, name: &str) -> Result<&'a str, ErrorData> {
        self.get(name, Value::as_str)
    }

    fn integer(&self, name: &str) -> Result<u64, ErrorData> {
        self.get(name, Value::as_u64)
    }

    fn get<T>(&self, name: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<T, ErrorData> {
        let value = self.0.and_then(|map| map.get(name)).and_then(read);
        value.ok_or_else(|| ErrorData::invalid_params(format!("bad argument: {name}"), None))
    }
}
