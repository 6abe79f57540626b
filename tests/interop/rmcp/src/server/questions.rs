//! The tools that ask the client: with requests of the server in the older revisions, with
//! `input_required` and a retry since 2026-07-28.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientCapabilities, ElicitRequestParams, ErrorData,
    InputRequest, InputRequiredResult, ProtocolVersion,
};
use rmcp::service::{Peer, RequestContext};
use serde_json::{Value, json};

use super::Server;
use super::tools::{Arguments, failure, internal, text};

/// In front of every state; whoever does not return it byte for byte is refused.
const SEAL: &str = "seal \u{2028} ü \u{1F980} \\ \" </> %2F + ";

const LINK: &str = "https://example.com/consent?a=1&b=%20two";

/// Question and answer by name, for one call.
type Answers = BTreeMap<String, Value>;

pub fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context
        .protocol_version()
        .is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

impl Server {
    /// Runs one of the asking tools.
    pub(super) async fn ask(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let mut call = Call::opened(&request, context)?;
        let said = match &*request.name {
            "ask-model" => {
                call.ask_model(Arguments(request.arguments.as_ref()).text("prompt")?)
                    .await
            }
            "ask-form" => call.ask_form().await,
            "ask-link" => call.ask_link().await,
            "ask-both" => call.ask_both().await,
            "ask-twice" => call.ask_twice().await,
            "list-roots" => call.list_roots().await,
            name => {
                return Err(ErrorData::invalid_params(
                    format!("Unknown tool: {name}"),
                    None,
                ));
            }
        };
        match said {
            Ok(said) => Ok(text(said)),
            Err(Stop::Ask(questions)) => Ok(questions.into()),
            Err(Stop::Impossible) => Ok(failure("the client cannot be asked that")),
            Err(Stop::Error(error)) => Err(error),
        }
    }
}

/// Why a tool cannot go on for now.
enum Stop {
    Ask(InputRequiredResult),
    Impossible,
    Error(ErrorData),
}

impl From<ErrorData> for Stop {
    fn from(error: ErrorData) -> Self {
        Self::Error(error)
    }
}

struct Call {
    context: RequestContext<RoleServer>,
    answers: Answers,
}

impl Call {
    /// With the answers of earlier rounds, which the state carries, and those of this retry.
    fn opened(
        request: &CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<Self, ErrorData> {
        let mut answers = Answers::new();
        if let Some(state) = &request.request_state {
            let earlier = state.strip_prefix(SEAL);
            let earlier = earlier
                .ok_or_else(|| ErrorData::invalid_params("the request state was changed", None))?;
            answers = serde_json::from_str(earlier).map_err(internal)?;
        }
        answers.extend(request.input_responses.clone().unwrap_or_default());
        Ok(Self { context, answers })
    }

    async fn ask_model(&mut self, prompt: &str) -> Result<String, Stop> {
        self.ask(&[("answer", model(prompt))]).await?;
        Ok(format!(
            "{} said: {}",
            self.said("answer", "/model"),
            self.said("answer", "/content/text")
        ))
    }

    async fn ask_form(&mut self) -> Result<String, Stop> {
        self.ask(&[("size", size_form("Which size?"))]).await?;
        let action = self.said("size", "/action");
        Ok(if action == "accept" {
            format!("accept {}", self.said("size", "/content/size"))
        } else {
            action
        })
    }

    async fn ask_link(&mut self) -> Result<String, Stop> {
        // rmcp writes an empty id when there is none, also where the revision has no such member.
        let id = if is_modern(&self.context) {
            ""
        } else {
            "link-1"
        };
        let params =
            json!({ "mode": "url", "message": "Please agree", "url": LINK, "elicitationId": id });
        self.ask(&[(
            "consent",
            json!({ "method": "elicitation/create", "params": params }),
        )])
        .await?;
        Ok(self.said("consent", "/action"))
    }

    async fn ask_both(&mut self) -> Result<String, Stop> {
        self.ask(&[
            ("size", size_form("Which size?")),
            ("answer", model("both")),
        ])
        .await?;
        Ok(format!(
            "{}, {}",
            self.said("size", "/content/size"),
            self.said("answer", "/content/text")
        ))
    }

    async fn ask_twice(&mut self) -> Result<String, Stop> {
        let name = json!({ "type": "string", "minLength": 1 });
        self.ask(&[("who", form("What is your name?", "name", &name))])
            .await?;
        let name = self.said("who", "/content/name");
        self.ask(&[("size", size_form(&format!("Which size, {name}?")))])
            .await?;
        Ok(format!("{name}, {}", self.said("size", "/content/size")))
    }

    async fn list_roots(&mut self) -> Result<String, Stop> {
        self.ask(&[("list", json!({ "method": "roots/list" }))])
            .await?;
        let roots = self
            .answers
            .get("list")
            .and_then(|list| list["roots"].as_array());
        let uris: Vec<&Value> = roots
            .into_iter()
            .flatten()
            .map(|root| &root["uri"])
            .collect();
        Ok(json!(uris).to_string())
    }

    /// A text in an answer, by JSON pointer.
    fn said(&self, key: &str, pointer: &str) -> String {
        let text = self
            .answers
            .get(key)
            .and_then(|answer| answer.pointer(pointer)?.as_str());
        text.unwrap_or("(nothing)").to_owned()
    }

    /// Makes sure that every question has an answer, all that have none at once.
    async fn ask(&mut self, questions: &[(&str, Value)]) -> Result<(), Stop> {
        let mut open = BTreeMap::new();
        for (key, question) in questions
            .iter()
            .filter(|(key, _)| !self.answers.contains_key(*key))
        {
            let request: InputRequest =
                serde_json::from_value(question.clone()).map_err(internal)?;
            open.insert((*key).to_owned(), request);
        }
        let client = json!(self.context.client_capabilities().unwrap_or_default());
        if let Some(missing) = open
            .values()
            .map(capability)
            .find(|pointer| client.pointer(pointer).is_none())
        {
            return Err(self.cannot(missing));
        }
        if open.is_empty() {
            return Ok(());
        }
        if is_modern(&self.context) {
            let state = format!("{SEAL}{}", json!(self.answers));
            return Err(Stop::Ask(InputRequiredResult::new(Some(open), Some(state))));
        }
        let asked = open
            .into_iter()
            .map(|(key, request)| ask_now(&self.context.peer, key, request));
        self.answers.extend(try_join_all(asked).await?);
        Ok(())
    }

    fn cannot(&self, missing: &str) -> Stop {
        if !is_modern(&self.context) {
            return Stop::Impossible;
        }
        let names = missing.rsplit('/').filter(|name| !name.is_empty());
        let required = names.fold(json!({}), |inner, name| json!({ name: inner }));
        let required: ClientCapabilities = serde_json::from_value(required).unwrap_or_default();
        Stop::Error(ErrorData::missing_required_client_capability(required))
    }
}

async fn ask_now(
    peer: &Peer<RoleServer>,
    key: String,
    request: InputRequest,
) -> Result<(String, Value), ErrorData> {
    let answer = match request {
        InputRequest::CreateMessage(request) => json!(
            peer.create_message(request.params)
                .await
                .map_err(internal)?
        ),
        InputRequest::Elicitation(request) => json!(
            peer.create_elicitation(request.params)
                .await
                .map_err(internal)?
        ),
        _ => json!(peer.list_roots().await.map_err(internal)?),
    };
    Ok((key, answer))
}

/// Where the client's capabilities say that it can be asked this, as a JSON pointer.
fn capability(request: &InputRequest) -> &'static str {
    match request {
        InputRequest::CreateMessage(_) => "/sampling",
        InputRequest::Elicitation(request)
            if matches!(
                request.params,
                ElicitRequestParams::UrlElicitationParams { .. }
            ) =>
        {
            "/elicitation/url"
        }
        InputRequest::Elicitation(_) => "/elicitation",
        _ => "/roots",
    }
}

fn model(text: &str) -> Value {
    let messages = json!([{ "role": "user", "content": { "type": "text", "text": text } }]);
    json!({ "method": "sampling/createMessage", "params": { "messages": messages, "maxTokens": 100 } })
}

fn size_form(message: &str) -> Value {
    form(
        message,
        "size",
        &json!({ "type": "string", "enum": ["S", "M", "L"] }),
    )
}

fn form(message: &str, field: &str, schema: &Value) -> Value {
    let requested =
        json!({ "type": "object", "properties": { field: schema }, "required": [field] });
    json!({
        "method": "elicitation/create",
        "params": { "mode": "form", "message": message, "requestedSchema": requested },
    })
}
