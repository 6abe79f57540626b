//! A conversation with the server through a bridge of our own, as a client has it: `initialize`
//! and the lists of tools, prompts and resources. Nothing is called.
//!
//! In: the client's side. Out: the bridge (`driver`), putting it together (`assembly`).

use std::convert::Infallible;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, watch};

use super::super::assembly::{Ends, Guest, assemble, now};
use super::terminal::Task;
use crate::edge::http::client::HttpClient;
use crate::edge::stdio::{FromClient, LINES_QUEUED, Output};
use crate::proto::doctor::{Check, Mark, requests, what_and_next};
use crate::proto::failure::Kind;
use crate::proto::filter::Filter;
use crate::proto::message::{self, Message, member};
use crate::proto::{StopReason, json, limits, object, text};
use crate::settings::Settings;

/// Pieces of output that may wait to be read.
const PIECES: usize = 16;

/// How much longer than `--call-timeout` an answer is waited for.
const BEYOND: Duration = Duration::from_secs(5);

/// How long tokens that were asked for are waited for at the end.
const TOKENS_GRACE: Duration = Duration::from_secs(2);

/// Longest reason that is quoted, in characters.
const REASON_CHARS: usize = 500;

const LISTS: [&str; 3] = ["tools", "prompts", "resources"];

/// What came of it.
pub(super) struct Conversation {
    /// `initialize`, `tools`, `prompts`, `resources`; those after a failure are missing.
    pub(super) checks: Vec<Check>,
    /// What `initialize` was answered with, raw JSON.
    pub(super) initialized: Option<String>,
}

/// Talks to the server with the user's options. `may_sign_in`: other credentials than those that
/// are stored may be got. Ends early, with its session, when `stop` says so.
pub(super) async fn converse(
    settings: &Settings,
    http: &HttpClient,
    may_sign_in: bool,
    task: &Task,
    mut stop: watch::Receiver<bool>,
) -> Conversation {
    let mut settings = settings.clone();
    // The filter is laid over the lists here, so that what it hides can be counted.
    let filter = std::mem::take(&mut settings.bridge.filter);
    settings.bridge.ping_interval = None;
    // The bridge's own word on a limit of the user's comes first.
    let limit = settings.bridge.call_timeout.map(|limit| limit + BEYOND);
    let patience = limit.unwrap_or(limits::INITIALIZE);
    let (to_bridge, lines) = mpsc::channel(LINES_QUEUED);
    let (pieces, from_bridge) = mpsc::channel(PIECES);
    let (stdout, stdout_closed) = Output::start(Pipe(pieces));
    let (to_stop, stops) = mpsc::channel(1);
    let ends = Ends {
        lines,
        stdout,
        stdout_closed,
        stops,
    };
    let guest = Guest::Examiner { may_sign_in };
    let (driver, sign_in) = assemble(settings, http.clone(), ends, guest);
    let mut client = Client {
        to_bridge: Some(to_bridge),
        from_bridge,
        buffer: BytesMut::new(),
        patience,
        asked: 0,
    };
    let talking = async {
        let conversation = client.talk(filter, task).await;
        task.set("ending the session");
        client.finish().await;
        conversation
    };
    let stopping = async {
        if stop.wait_for(|stop| *stop).await.is_ok() {
            // It may have ended by itself.
            let _ = to_stop.send(StopReason::Signal).await;
        }
        std::future::pending::<Infallible>().await
    };
    let (_, conversation) = tokio::select! {
        done = async { tokio::join!(driver.run(), talking) } => done,
        never = stopping => match never {},
    };
    if let Some(sign_in) = sign_in {
        sign_in.settle(TOKENS_GRACE).await;
    }
    conversation
}

/// The bridge's stdout, up to the client.
struct Pipe(mpsc::Sender<Bytes>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        let sent = self.0.blocking_send(piece);
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client that only looks.
struct Client {
    to_bridge: Option<mpsc::Sender<FromClient>>,
    from_bridge: mpsc::Receiver<Bytes>,
    buffer: BytesMut,
    patience: Duration,
    asked: u64,
}

impl Client {
    async fn talk(&mut self, filter: Filter, task: &Task) -> Conversation {
        let mut checks = Vec::new();
        task.set("initialize");
        let began = now();
        self.asked += 1;
        let request = requests::initialize_message(self.asked);
        let result = match self.ask(request).await {
            Ok(result) => result,
            Err(wrong) => {
                let check = wrong.check("initialize").in_millis(millis(began));
                return Conversation {
                    checks: vec![check],
                    initialized: None,
                };
            }
        };
        let check = Check::good("initialize", "answered, through the bridge");
        checks.push(check.in_millis(millis(began)));
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned())
            .await;
        let capabilities = member(&result, "capabilities").unwrap_or("{}").to_owned();
        let mut filter = filter;
        for list in LISTS {
            task.set(match list {
                "tools" => "listing the tools",
                "prompts" => "listing the prompts",
                _ => "listing the resources",
            });
            if member(&capabilities, list).is_none() {
                checks.push(Check::good(list, "not offered"));
                continue;
            }
            let began = now();
            let check = self.list(list, &mut filter).await;
            checks.push(check.in_millis(millis(began)));
        }
        Conversation {
            checks,
            initialized: Some(result),
        }
    }

    /// Follows a list over its pages.
    async fn list(&mut self, list: &'static str, filter: &mut Filter) -> Check {
        let (mut found, mut hidden) = (0, 0);
        let mut cursor: Option<String> = None;
        for page in 1..=limits::TOOL_PAGES {
            self.asked += 1;
            let params = match &cursor {
                Some(cursor) => format!(r#","params":{{"cursor":{cursor}}}"#),
                None => String::new(),
            };
            let id = self.asked;
            let request =
                format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{list}/list"{params}}}"#);
            let result = match self.ask(request).await {
                Ok(result) => result,
                Err(wrong) => return wrong.check(list),
            };
            let Some(count) = count(&result, list) else {
                let text = format!("the answer to \"{list}/list\" holds no list of {list}");
                return Check::bad(list, text, TELL_OPERATOR).of_kind(Kind::NotMcp);
            };
            found += count;
            if list == "tools" {
                match filter.edit_list(&result) {
                    Ok(Some(shown)) => {
                        hidden += count - self::count(&shown, list).unwrap_or(0).min(count);
                    }
                    Ok(None) => {}
                    Err(unfilterable) => {
                        return Check::bad(list, unfilterable.to_string(), TELL_OPERATOR)
                            .of_kind(Kind::NotMcp);
                    }
                }
            }
            let next = member(&result, "nextCursor").filter(|next| next.starts_with('"'));
            match next {
                None => return counted(list, found, hidden, page),
                Some(next) if cursor.as_deref() == Some(next) => break,
                Some(next) => cursor = Some(next.to_owned()),
            }
        }
        let text = format!("{found} so far, and the list does not end");
        Check::warning(list, text, TELL_OPERATOR)
    }

    /// Sends a request, the number of which is [`Self::asked`], and waits for its result.
    async fn ask(&mut self, request: String) -> Result<String, Wrong> {
        self.send(request).await;
        let patience = self.patience;
        let answered = tokio::time::timeout(patience, self.answer());
        let Ok(answer) = answered.await else {
            return Err(Wrong {
                text: format!("no answer within {} s", patience.as_secs()),
                kind: Some(Kind::Timeout),
            });
        };
        let Some(answer) = answer else {
            return Err(Wrong {
                text: "the bridge ended in mid-conversation; please report this".to_owned(),
                kind: None,
            });
        };
        match (answer.result(), answer.error()) {
            (Some(result), _) => Ok(result.to_owned()),
            (None, error) => Err(Wrong::read(error.unwrap_or("{}"))),
        }
    }

    /// The response to the last request.
    async fn answer(&mut self) -> Option<Message> {
        loop {
            let message = Message::parse(self.line().await?).ok()?;
            let Some(id) = message.id() else { continue };
            match message.kind() {
                message::Kind::Request => {
                    let id = id.token();
                    let refused = format!(
                        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"this client only looks"}}}}"#
                    );
                    self.send(refused).await;
                }
                _ if id.token() == self.asked.to_string() => return Some(message),
                _ => {}
            }
        }
    }

    async fn line(&mut self) -> Option<Bytes> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let mut line = self.buffer.split_to(end + 1).freeze();
                line.truncate(end);
                return Some(line);
            }
            self.buffer
                .extend_from_slice(&self.from_bridge.recv().await?);
        }
    }

    async fn send(&self, line: String) {
        if let Some(to_bridge) = &self.to_bridge {
            // A bridge that has ended says so by not answering.
            let _ = to_bridge.send(FromClient::Line(line.into())).await;
        }
    }

    /// Closes our end, and reads on until the bridge has closed its own.
    async fn finish(&mut self) {
        self.to_bridge = None;
        while self.from_bridge.recv().await.is_some() {}
    }
}

/// Why a request has no result.
struct Wrong {
    /// `what happened; what to do`.
    text: String,
    /// Of the bridge's own errors.
    kind: Option<Kind>,
}

impl Wrong {
    /// Reads an error object, raw JSON: the bridge's own, or the server's.
    fn read(error: &str) -> Self {
        let string = |object: &str, name| -> Option<String> {
            serde_json::from_str(member(object, name)?).ok()
        };
        let words = string(error, "message").unwrap_or_default();
        let data = member(error, "data").unwrap_or("{}");
        let is_ours = string(data, "source").as_deref() == Some("mcp-bridge");
        if is_ours {
            let kind = string(data, "kind");
            let named = |one: &Kind| Some(one.as_str()) == kind.as_deref();
            return Self {
                text: words.trim_start_matches("mcp-bridge: ").to_owned(),
                kind: Kind::ALL.into_iter().find(named),
            };
        }
        let code = member(error, "code").unwrap_or("without a code");
        Self {
            text: format!(
                "the server answers with error {}: {}",
                text::sanitize(code, 30),
                json::quote(&text::sanitize(&words, REASON_CHARS))
            ),
            kind: None,
        }
    }

    fn check(self, id: &'static str) -> Check {
        if self.kind.is_none() {
            return Check::bad(id, self.text, TELL_OPERATOR);
        }
        let (what, next) = what_and_next(&self.text);
        let check = Check::bad(id, what, next.unwrap_or(TELL_OPERATOR));
        let check = match self.kind {
            Some(Kind::SignInRequired) => Check {
                mark: Mark::Warning,
                ..check
            }
            .with_flag("--login"),
            _ => check,
        };
        Check {
            kind: self.kind,
            ..check
        }
    }
}

const TELL_OPERATOR: &str = "the server has a fault: look at its log, or tell whoever runs it";

/// How many items a list's result has.
fn count(result: &str, list: &str) -> Option<usize> {
    Some(object::items(member(result, list)?)?.len())
}

fn counted(list: &'static str, found: usize, hidden: usize, pages: usize) -> Check {
    let pages = match pages {
        1 => String::new(),
        _ => format!(", on {pages} pages"),
    };
    if hidden == 0 {
        return Check::good(list, format!("{found} listed{pages}"));
    }
    let shown = found - hidden;
    let text = format!(
        "{shown} listed{pages}; {hidden} hidden by --ignore-tool, --only-tool or --read-only"
    );
    if shown == 0 {
        let advice = "the client will see no tools: check these options";
        return Check::warning(list, text, advice);
    }
    Check::good(list, text)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_bridge_and_of_the_server_are_told_apart() {
        let ours = r#"{"code":-31000,"message":"mcp-bridge: it hangs; look at it","data":{"source":"mcp-bridge","kind":"timeout"}}"#;
        let check = Wrong::read(ours).check("tools");
        assert_eq!(
            (check.text.as_str(), check.kind),
            ("it hangs", Some(Kind::Timeout))
        );
        assert_eq!(check.advice.as_deref(), Some("look at it"));
        let theirs = r#"{"code":-32603,"message":"no; \u001b[2J luck","data":{"source":7}}"#;
        let check = Wrong::read(theirs).check("tools");
        assert_eq!((check.mark, check.kind), (Mark::Bad, None));
        assert!(check.text.contains("-32603") && !check.text.contains('\u{1b}'));
        assert!(check.text.contains("luck") && check.advice.is_some());
        assert_eq!(Wrong::read("{}").check("tools").mark, Mark::Bad);
    }

    #[test]
    fn hidden_tools_are_counted() {
        assert_eq!(counted("tools", 3, 0, 1).text, "3 listed");
        assert_eq!(counted("prompts", 3, 0, 2).text, "3 listed, on 2 pages");
        let some = counted("tools", 3, 2, 1);
        assert!(some.text.starts_with("1 listed; 2 hidden by"), "{some:?}");
        assert_eq!(some.mark, Mark::Good);
        assert_eq!(counted("tools", 2, 2, 1).mark, Mark::Warning);
        assert_eq!(count(r#"{"tools":[1,{},[]]}"#, "tools"), Some(3));
        assert_eq!(count(r#"{"tools":{}}"#, "tools"), None);
    }
}
