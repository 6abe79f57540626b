//! What the client does with the offer of a server. The names are those of
//! `../matrix/features.mjs`, and so is what each one demands.

use std::sync::Arc;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientRequest, ElicitRequestParams,
    GetPromptRequestParams, JsonObject, LoggingLevel, PingRequest, ReadResourceRequestParams,
    RequestMetaObject, ResourceContents, SetLevelRequestParams, SubscribeRequestParams,
    SubscriptionFilter,
};
use rmcp::service::{PeerRequestOptions, ServiceError};
use serde_json::{Value, json};

use super::Session;
use super::person::ROOTS;

/// The names of the features, in the order in which they run.
pub const FEATURES: [&str; 19] = [
    "tools",
    "tool results",
    "resources",
    "prompts",
    "completion",
    "progress",
    "logging",
    "log level",
    "sampling",
    "elicitation",
    "elicitation url",
    "roots",
    "two questions at once",
    "two questions in turn",
    "cancellation",
    "list changes",
    "subscription",
    "concurrency",
    "ping",
];

const COUNTER: &str = "matrix://counter";
const LINK: &str = "https://example.com/consent?a=1&b=%20two";
const PIXEL: &str = "iVBORw0KGgo=";
/// How many calls run at the same time.
const CROWD: usize = 10;

/// Why a feature was not shown to work.
pub enum Stop {
    Failed(String),
    /// rmcp or the era has no such thing.
    Skipped(&'static str),
}

impl From<ServiceError> for Stop {
    fn from(error: ServiceError) -> Self {
        Self::Failed(error.to_string())
    }
}

type Checked = Result<(), Stop>;

impl Session {
    /// Tries one feature; the text is a detail worth showing.
    pub async fn run(&self, feature: &str) -> Result<String, Stop> {
        match feature {
            "tools" => return self.tools().await,
            "tool results" => self.tool_results().await,
            "resources" => self.resources().await,
            "prompts" => self.prompts().await,
            "completion" => self.completion().await,
            "progress" => self.progress().await,
            "logging" => {
                self.logs(
                    LoggingLevel::Debug,
                    &[("info", "first"), ("error", "second")],
                )
                .await
            }
            "log level" => self.logs(LoggingLevel::Error, &[("error", "second")]).await,
            "sampling" => {
                self.says(
                    "ask-model",
                    json!({ "prompt": "Grüße" }),
                    "matrix-model said: heard Grüße",
                )
                .await
            }
            "elicitation" => self.elicitation().await,
            "elicitation url" => self.elicitation_url().await,
            "roots" => {
                self.says("list-roots", json!({}), &json!(ROOTS).to_string())
                    .await
            }
            "two questions at once" => self.says("ask-both", json!({}), "M, heard both").await,
            "two questions in turn" => self.questions_in_turn().await,
            "cancellation" => self.cancellation().await,
            "list changes" => self.list_changes().await,
            "subscription" => self.subscription().await,
            "concurrency" => self.concurrency().await,
            "ping" => self.ping().await,
            _ => Err(Stop::Skipped("not written")),
        }?;
        Ok(String::new())
    }

    async fn tools(&self) -> Result<String, Stop> {
        let tools = self.running.list_all_tools().await?;
        for name in ["echo", "weather", "wait", "touch"] {
            must(tools.iter().any(|tool| tool.name == name), || {
                format!("no tool {name}")
            })?;
        }
        let long = "x".repeat(300_000);
        for text in [
            "hello",
            "ü 世界 🦀 \u{2028} \u{1} \\ \" \r\n </script>",
            &long,
        ] {
            self.says("echo", json!({ "text": text }), text).await?;
        }
        Ok(format!("{} tools", tools.len()))
    }

    async fn tool_results(&self) -> Checked {
        let weather = json!({ "city": "Köln, Süd", "degrees": 21.5 });
        let result = self.call("weather", json!({ "city": "Köln, Süd" })).await?;
        same(result.structured_content.as_ref(), Some(&weather))?;
        same(
            serde_json::from_str(&text_of(&result)).ok().as_ref(),
            Some(&weather),
        )?;
        let failure = self.call("fail", json!({})).await?;
        same(
            (failure.is_error, text_of(&failure)),
            (Some(true), "failed on purpose".to_owned()),
        )?;
        refused(self.call("no-such-tool", json!({})).await, -32_602).map(drop)
    }

    async fn resources(&self) -> Checked {
        let resources = self.running.list_all_resources().await?;
        let mut uris: Vec<_> = resources
            .iter()
            .map(|resource| resource.uri.as_str())
            .collect();
        uris.sort_unstable();
        same(uris, vec![COUNTER, "matrix://greeting", "matrix://pixel"])?;
        let templates = self.running.list_all_resource_templates().await?;
        same(
            templates
                .iter()
                .map(|it| it.uri_template.as_str())
                .collect(),
            vec!["matrix://item/{id}"],
        )?;
        same(self.read("matrix://greeting").await?, "hello".to_owned())?;
        same(self.read("matrix://pixel").await?, PIXEL.to_owned())?;
        same(self.read("matrix://item/7").await?, "item 7".to_owned())?;
        let nothing = "matrix://nothing";
        let code = if self.is_modern { -32_602 } else { -32_002 };
        let missing = self
            .running
            .read_resource(ReadResourceRequestParams::new(nothing))
            .await;
        same(refused(missing, code)?, Some(json!({ "uri": nothing })))
    }

    async fn prompts(&self) -> Checked {
        let prompts = self.running.list_all_prompts().await?;
        same(
            prompts.iter().map(|prompt| prompt.name.as_str()).collect(),
            vec!["greet"],
        )?;
        let request =
            GetPromptRequestParams::new("greet").with_arguments(object(json!({ "name": "Zoë" })));
        let messages = self.running.get_prompt(request).await?.messages;
        let expected =
            json!([{ "role": "user", "content": { "type": "text", "text": "Please greet Zoë" } }]);
        same(json!(messages), expected)?;
        refused(
            self.running
                .get_prompt(GetPromptRequestParams::new("greet"))
                .await,
            -32_602,
        )
        .map(drop)
    }

    async fn completion(&self) -> Checked {
        let peer = &self.running;
        same(
            peer.complete_prompt_simple("greet", "name", "A").await?,
            vec!["Ada".to_owned(), "Alan".to_owned()],
        )?;
        let ids = peer
            .complete_resource_simple("matrix://item/{id}", "id", "1")
            .await?;
        same(ids, vec!["1".to_owned(), "10".to_owned()])
    }

    async fn progress(&self) -> Checked {
        let handle = self.send("count", json!({ "to": 5 })).await?;
        let token = handle.progress_token.clone();
        handle.await_response().await?;
        // rmcp hands over reports beside the answer, so the last can be seen after it.
        self.person
            .until("five reports", |seen| seen.progress_of(&token).len() >= 5)
            .await?;
        self.person.saw(|seen| {
            let reports = seen.progress_of(&token);
            same(
                reports.iter().map(|report| report.progress).collect(),
                vec![1.0, 2.0, 3.0, 4.0, 5.0],
            )?;
            same(
                reports.iter().map(|report| report.total).collect(),
                vec![Some(5.0); 5],
            )?;
            same(
                reports.last().and_then(|report| report.message.as_deref()),
                Some("step 5"),
            )
        })
    }

    async fn logs(&self, level: LoggingLevel, expected: &[(&str, &str)]) -> Checked {
        let from = self.person.saw(|seen| seen.logs.len());
        let mut call = CallToolRequestParams::new("chat").with_arguments(JsonObject::new());
        if self.is_modern {
            let mut meta = RequestMetaObject::new();
            meta.set_log_level(level);
            call.meta = Some(meta);
        } else {
            self.running
                .set_level(SetLevelRequestParams::new(level))
                .await?;
        }
        same(
            text_of(&self.running.call_tool(call).await?),
            "logged".to_owned(),
        )?;
        let last = expected.last().map(|(_, data)| json!(data));
        self.person
            .until("last log", |seen| {
                seen.logs
                    .iter()
                    .skip(from)
                    .any(|(_, data)| Some(data) == last.as_ref())
            })
            .await?;
        let logs = self
            .person
            .saw(|seen| json!(seen.logs.iter().skip(from).collect::<Vec<_>>()));
        same(logs, json!(expected))
    }

    async fn elicitation(&self) -> Checked {
        self.says("ask-form", json!({}), "accept M").await?;
        match self.person.heard().last() {
            Some(ElicitRequestParams::FormElicitationParams { message, .. })
                if message == "Which size?" => {}
            other => return Err(Stop::Failed(format!("asked {other:?}"))),
        }
        self.declines("ask-form").await
    }

    async fn elicitation_url(&self) -> Checked {
        self.says("ask-link", json!({}), "accept").await?;
        match self.person.heard().last() {
            Some(ElicitRequestParams::UrlElicitationParams { url, .. }) if url == LINK => {}
            other => return Err(Stop::Failed(format!("asked {other:?}"))),
        }
        self.declines("ask-link").await
    }

    async fn declines(&self, tool: &str) -> Checked {
        self.person.be_unwilling(true);
        let said = self.says(tool, json!({}), "decline").await;
        self.person.be_unwilling(false);
        said
    }

    async fn questions_in_turn(&self) -> Checked {
        let from = self.person.heard().len();
        self.says("ask-twice", json!({}), "Ada, M").await?;
        let heard = self.person.heard();
        let messages = heard.iter().skip(from).map(|question| match question {
            ElicitRequestParams::FormElicitationParams { message, .. } => message.as_str(),
            _ => "(no form)",
        });
        same(
            messages.collect(),
            vec!["What is your name?", "Which size, Ada?"],
        )
    }

    async fn cancellation(&self) -> Checked {
        let label = label("cancelled");
        let handle = self.send("wait", json!({ "label": label })).await?;
        let token = handle.progress_token.clone();
        self.person
            .until("report of the start", |seen| {
                !seen.progress_of(&token).is_empty()
            })
            .await?;
        handle.cancel(Some("no longer wanted".to_owned())).await?;
        self.says("was-cancelled", json!({ "label": label }), "yes")
            .await
    }

    async fn list_changes(&self) -> Checked {
        if self.is_modern {
            self.listen(SubscriptionFilter::builder().tools_list_changed().build())
                .await?;
        }
        self.running.list_all_tools().await?;
        let from = self.person.saw(|seen| seen.changes.len());
        let name = label("added");
        self.says("add-tool", json!({ "name": name }), "added")
            .await?;
        self.sees_change("tools", from).await?;
        let tools = self.running.list_all_tools().await?;
        must(tools.iter().any(|tool| tool.name == name), || {
            "the new tool is not in the list".to_owned()
        })?;
        self.says(&name, json!({ "text": "new" }), "new").await
    }

    async fn subscription(&self) -> Checked {
        if self.is_modern {
            self.listen(
                SubscriptionFilter::builder()
                    .resource_subscription(COUNTER)
                    .build(),
            )
            .await?;
        } else {
            self.running
                .subscribe(SubscribeRequestParams::new(COUNTER))
                .await?;
        }
        let before = self.count().await?;
        let from = self.person.saw(|seen| seen.changes.len());
        self.says("touch", json!({}), "touched").await?;
        self.sees_change(COUNTER, from).await?;
        same(self.count().await?, before + 1)
    }

    async fn listen(&self, filter: SubscriptionFilter) -> Checked {
        let subscription = self.running.listen(filter.clone()).await?;
        same(subscription.acknowledged(), &filter)?;
        tokio::spawn(Arc::clone(&self.person).follow(subscription));
        Ok(())
    }

    async fn sees_change(&self, what: &str, from: usize) -> Checked {
        let waited = self.person.until(what, |seen| {
            seen.changes.iter().skip(from).any(|change| change == what)
        });
        waited.await
    }

    async fn concurrency(&self) -> Checked {
        let label = label("crowd");
        let calls =
            (0..CROWD).map(|_| self.says("meet", json!({ "size": CROWD, "label": label }), "met"));
        futures::future::try_join_all(calls).await.map(drop)
    }

    async fn ping(&self) -> Checked {
        if self.is_modern {
            return Err(Stop::Skipped("the modern era has no ping"));
        }
        self.running
            .send_request(ClientRequest::PingRequest(PingRequest::default()))
            .await?;
        Ok(())
    }

    async fn call(&self, name: &str, arguments: Value) -> Result<CallToolResult, ServiceError> {
        self.running.call_tool(parameters(name, arguments)).await
    }

    /// Sends a call that is followed by its handle, without rounds of questions.
    async fn send(
        &self,
        name: &str,
        arguments: Value,
    ) -> Result<rmcp::service::RequestHandle<rmcp::RoleClient>, ServiceError> {
        let request =
            ClientRequest::CallToolRequest(CallToolRequest::new(parameters(name, arguments)));
        self.running
            .send_cancellable_request(request, PeerRequestOptions::no_options())
            .await
    }

    async fn says(&self, name: &str, arguments: Value, expected: &str) -> Checked {
        let result = self.call(name, arguments).await?;
        same(
            (result.is_error.unwrap_or_default(), result.content.len()),
            (false, 1),
        )
        .map_err(|_| Stop::Failed(format!("{name} failed: {}", text_of(&result))))?;
        same(text_of(&result).as_str(), expected)
    }

    /// The text of a resource, or its blob.
    async fn read(&self, uri: &str) -> Result<String, Stop> {
        let result = self
            .running
            .read_resource(ReadResourceRequestParams::new(uri))
            .await?;
        match result.contents.into_iter().next() {
            Some(ResourceContents::TextResourceContents {
                uri: from, text, ..
            }) if from == uri => Ok(text),
            Some(ResourceContents::BlobResourceContents {
                uri: from, blob, ..
            }) if from == uri => Ok(blob),
            other => Err(Stop::Failed(format!("read {other:?}"))),
        }
    }

    async fn count(&self) -> Result<u64, Stop> {
        let text = self.read(COUNTER).await?;
        text.parse()
            .map_err(|_| Stop::Failed(format!("the counter is {text}")))
    }
}

fn parameters(name: &str, arguments: Value) -> CallToolRequestParams {
    CallToolRequestParams::new(name.to_owned()).with_arguments(object(arguments))
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(map) => map,
        _ => JsonObject::new(),
    }
}

/// A name that no other client of the same server uses.
fn label(what: &str) -> String {
    format!("{what}-rmcp-{}", std::process::id())
}

fn text_of(result: &CallToolResult) -> String {
    result
        .content
        .first()
        .and_then(|block| block.as_text())
        .map(|text| text.text.clone())
        .unwrap_or_default()
}

/// The data of the error that has to come, with this code.
fn refused<T: std::fmt::Debug>(
    outcome: Result<T, ServiceError>,
    code: i32,
) -> Result<Option<Value>, Stop> {
    match outcome {
        Err(ServiceError::McpError(error)) if error.code.0 == code => Ok(error.data),
        other => Err(Stop::Failed(format!(
            "expected error {code}, got {}",
            shortened(&format!("{other:?}"))
        ))),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "most are made for the comparison"
)]
fn same<T: PartialEq + std::fmt::Debug>(got: T, expected: T) -> Checked {
    must(got == expected, || {
        format!(
            "got {}, expected {}",
            shortened(&format!("{got:?}")),
            shortened(&format!("{expected:?}"))
        )
    })
}

fn must(holds: bool, otherwise: impl FnOnce() -> String) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(Stop::Failed(otherwise()))
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}
