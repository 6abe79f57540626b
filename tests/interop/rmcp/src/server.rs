//! The server: everything the matrix asks of one, over Streamable HTTP, as legacy with and without
//! sessions, as modern alone, and as both. Out: HTTP+SSE, which rmcp does not have.

mod questions;
mod tools;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult, CompletionInfo,
    ErrorData, GetPromptRequestParams, GetPromptResponse, GetPromptResult, Implementation,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    LoggingLevel, PaginatedRequestParams, Prompt, PromptArgument, PromptMessage, ProtocolVersion,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Reference, Resource,
    ResourceContents, ResourceTemplate, ResourceUpdatedNotificationParam, Role, ServerCapabilities,
    ServerConfig, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool,
    UnsubscribeRequestParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, ServerHandler, ServiceExt as _};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

const COUNTER: &str = "matrix://counter";
const ITEM: &str = "matrix://item/";
const PIXEL: &str = "iVBORw0KGgo=";
const NAMES: [&str; 3] = ["Ada", "Alan", "Grace"];
const IDS: [&str; 3] = ["1", "10", "2"];
/// Changes that may wait for one slow listener.
const CHANGES: usize = 64;

/// What the server speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Revisions up to 2025-11-25, with sessions.
    Stateful,
    /// Revisions up to 2025-11-25, every request alone.
    Stateless,
    /// 2026-07-28 alone.
    Modern,
    /// Everything rmcp knows; sessions for the older revisions.
    Dual,
}

impl Kind {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "stateful" => Self::Stateful,
            "stateless" => Self::Stateless,
            "modern" => Self::Modern,
            "dual" => Self::Dual,
            _ => return None,
        })
    }

    fn has_sessions(self) -> bool {
        matches!(self, Self::Stateful | Self::Dual)
    }

    fn versions(self) -> &'static [ProtocolVersion] {
        match self {
            Self::Stateful | Self::Stateless => {
                ProtocolVersion::known_up_to(&ProtocolVersion::LATEST_WITH_INITIALIZE)
            }
            Self::Modern => &[ProtocolVersion::V_2026_07_28],
            Self::Dual => ProtocolVersion::KNOWN_VERSIONS,
        }
    }
}

/// Serves Streamable HTTP until stdin ends.
pub async fn run(kind: Kind) -> Result<(), Box<dyn Error>> {
    let shared = Shared::new(kind);
    let service = StreamableHttpService::new(
        move || Ok(Server::new(Arc::clone(&shared))),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default().with_legacy_session_mode(kind.has_sessions()),
    );
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    println!("{}", json!({ "url": url }));
    let serving = axum::serve(listener, axum::Router::new().nest_service("/mcp", service));
    tokio::select! {
        result = serving.into_future() => result?,
        () = end_of_stdin() => {}
    }
    Ok(())
}

/// Serves the one client on stdin and stdout.
pub async fn run_stdio(kind: Kind) -> Result<(), Box<dyn Error>> {
    let running = Server::new(Shared::new(kind))
        .serve(rmcp::transport::stdio())
        .await?;
    running.waiting().await?;
    Ok(())
}

async fn end_of_stdin() {
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; 64];
    while stdin.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
}

/// What all sessions have in common.
struct Shared {
    kind: Kind,
    changes: broadcast::Sender<Change>,
    counter: AtomicU64,
    added_tools: Mutex<Vec<String>>,
    cancelled: Mutex<HashSet<String>>,
    /// How many came to each meeting.
    meetings: Mutex<HashMap<String, watch::Sender<u64>>>,
}

impl Shared {
    fn new(kind: Kind) -> Arc<Self> {
        Arc::new(Self {
            kind,
            changes: broadcast::channel(CHANGES).0,
            counter: AtomicU64::new(0),
            added_tools: Mutex::default(),
            cancelled: Mutex::default(),
            meetings: Mutex::default(),
        })
    }
}

#[derive(Clone)]
enum Change {
    Tools,
    Resource(&'static str),
}

/// One session, or one request where there are no sessions.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
    level: Arc<Mutex<LoggingLevel>>,
    subscribed: Arc<Mutex<HashSet<String>>>,
}

impl Server {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            level: Arc::new(Mutex::new(LoggingLevel::Debug)),
            subscribed: Arc::default(),
        }
    }

    fn tools(&self) -> Vec<Tool> {
        let mut tools = tools::built_in();
        tools.extend(
            lock(&self.shared.added_tools)
                .iter()
                .map(|name| tools::added(name.clone())),
        );
        tools
    }
}

impl ServerHandler for Server {
    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(self.shared.kind.versions())
    }

    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_prompts()
            .enable_completions()
            .enable_logging()
            .build();
        ServerConfig::new(capabilities).with_server_info(Implementation::new("matrix", "1.0.0"))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools()))
    }

    /// With this, rmcp compares the headers that repeat a tool's arguments with the body.
    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools().into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.call(request, context).await
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let names = ["greeting", "pixel", "counter"];
        let resources = names.map(|name| Resource::new(format!("matrix://{name}"), name));
        Ok(ListResourcesResult::with_all_items(resources.into()))
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let template = ResourceTemplate::new(format!("{ITEM}{{id}}"), "item");
        Ok(ListResourceTemplatesResult::with_all_items(vec![template]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri;
        let contents = match uri.as_str() {
            "matrix://greeting" => ResourceContents::text("hello", uri),
            "matrix://pixel" => ResourceContents::blob(PIXEL, uri).with_mime_type("image/png"),
            COUNTER => {
                ResourceContents::text(self.shared.counter.load(Ordering::Relaxed).to_string(), uri)
            }
            _ => match uri.strip_prefix(ITEM) {
                Some(id) if !id.is_empty() => ResourceContents::text(format!("item {id}"), uri),
                _ => {
                    let data = json!({ "uri": uri });
                    return Err(ErrorData::resource_not_found(
                        "Resource not found",
                        Some(data),
                    ));
                }
            },
        };
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let arguments = vec![PromptArgument::new("name").with_required(true)];
        Ok(ListPromptsResult::with_all_items(vec![Prompt::new(
            "greet",
            Some("Greets"),
            Some(arguments),
        )]))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        if request.name != "greet" {
            return Err(ErrorData::invalid_params("no such prompt", None));
        }
        let name = request
            .arguments
            .as_ref()
            .and_then(|arguments| arguments.get("name")?.as_str());
        let name = name.ok_or_else(|| ErrorData::invalid_params("name is missing", None))?;
        let message = PromptMessage::new_text(Role::User, format!("Please greet {name}"));
        Ok(GetPromptResult::new(vec![message]).into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let known = if matches!(request.r#ref, Reference::Prompt(_)) {
            NAMES
        } else {
            IDS
        };
        let typed = &request.argument.value;
        let values = known
            .iter()
            .filter(|value| value.starts_with(typed))
            .map(ToString::to_string)
            .collect();
        let completion = CompletionInfo::with_all_values(values)
            .map_err(|error| ErrorData::internal_error(error, None))?;
        Ok(CompleteResult::new(completion))
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        *lock(&self.level) = request.level;
        Ok(())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        lock(&self.subscribed).insert(request.uri);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        lock(&self.subscribed).remove(&request.uri);
        Ok(())
    }

    /// From here on this session hears of changes, whoever made them.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let mut changes = self.shared.changes.subscribe();
        let subscribed = Arc::clone(&self.subscribed);
        let peer = context.peer;
        tokio::spawn(async move {
            while let Some(change) = next_change(&mut changes).await {
                let sent = match change {
                    Change::Tools => peer.notify_tool_list_changed().await,
                    Change::Resource(uri) if lock(&subscribed).contains(uri) => {
                        peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri))
                            .await
                    }
                    Change::Resource(_) => Ok(()),
                };
                if sent.is_err() {
                    return;
                }
            }
        });
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.shared.changes.subscribe();
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                change = next_change(&mut changes) => {
                    // What the client did not ask for is refused by the sink, as it should be.
                    let _unwanted = match change {
                        Some(Change::Tools) => context.sink().notify_tool_list_changed().await,
                        Some(Change::Resource(uri)) => context.sink().notify_resource_updated(uri).await,
                        None => return Ok(()),
                    };
                }
            }
        }
    }
}

async fn next_change(changes: &mut broadcast::Receiver<Change>) -> Option<Change> {
    loop {
        match changes.recv().await {
            Ok(change) => return Some(change),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
