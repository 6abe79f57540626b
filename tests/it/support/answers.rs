//! Checks what holds for every run: stdout is single-line JSON-RPC, and no request is answered
//! twice or without having been asked.

use std::collections::HashMap;

use mcp_bridge::proto::failure::{Kind, LOCAL_ERROR};
use serde_json::Value;
use serde_json::value::RawValue;

/// Longest message of an error of the bridge's own, in characters. A sign-in link may be in it.
const LONGEST_MESSAGE: usize = 2500;

/// What was asked on stdin and answered on stdout.
#[derive(Default)]
pub(super) struct Answers {
    /// Requests without an answer yet, by their id as it was spelled.
    open: HashMap<String, usize>,
    /// Lines whose id could not be read: each may be answered once, under any id.
    unreadable: usize,
    /// Input after the last newline.
    partial: Vec<u8>,
    /// The last line of stdout may lack its end.
    may_be_cut: bool,
    faults: Vec<String>,
}

/// The members of a message, as they are spelled.
type Members<'a> = HashMap<String, &'a RawValue>;

impl Answers {
    /// Takes note of bytes written to stdin.
    pub(super) fn asked(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else {
            return;
        };
        let rest = self.partial.split_off(end + 1);
        let lines = std::mem::replace(&mut self.partial, rest);
        for line in lines.split(|byte| *byte == b'\n') {
            let line = line
                .strip_prefix(b"\xef\xbb\xbf")
                .unwrap_or(line)
                .trim_ascii();
            if line.is_empty() {
                continue;
            }
            match elements(line) {
                Some(messages) => messages.into_iter().for_each(|one| self.asked_one(one)),
                None => self.unreadable += 1,
            }
        }
    }

    fn asked_one(&mut self, message: &str) {
        let Ok(members) = serde_json::from_str::<Members<'_>>(message) else {
            self.unreadable += 1;
            return;
        };
        let is_response = members.contains_key("result") || members.contains_key("error");
        if let (Some(id), false) = (members.get("id"), is_response) {
            *self.open.entry(id.get().to_owned()).or_default() += 1;
        }
    }

    /// The last line of stdout may be cut off, because nobody read it before the end.
    pub(super) fn may_be_cut(&mut self) {
        self.may_be_cut = true;
    }

    /// Checks one line of stdout, with its line end.
    pub(super) fn written(&mut self, line: &[u8]) {
        let shown: String = String::from_utf8_lossy(line).chars().take(400).collect();
        let mut fault = |what: &str| self.faults.push(format!("{what}: {shown:?}"));
        let Some(line) = line.strip_suffix(b"\n") else {
            if !self.may_be_cut {
                fault("a line without its end");
            }
            return;
        };
        if line.contains(&b'\r') {
            fault("a carriage return");
        }
        let Some(messages) = elements(line) else {
            return fault("not JSON");
        };
        for message in messages {
            let Ok(members) = serde_json::from_str::<Members<'_>>(message) else {
                fault("not a message");
                continue;
            };
            if members
                .get("jsonrpc")
                .is_none_or(|version| version.get() != r#""2.0""#)
            {
                fault("not JSON-RPC 2.0");
            } else if members.contains_key("method") {
                // The server's own request or notification.
            } else if members.contains_key("result") == members.contains_key("error") {
                fault("neither a result nor an error, or both");
            } else {
                if let Some(error) = members.get("error")
                    && let Some(flaw) = flaw(error.get())
                {
                    fault(flaw);
                }
                let id = members.get("id").map_or("", |id| id.get());
                match self.open.get_mut(id) {
                    Some(open) if *open > 0 => *open -= 1,
                    _ if self.unreadable > 0 => self.unreadable -= 1,
                    _ => fault("an answer that was not asked for, or a second one"),
                }
            }
        }
    }

    /// Fails the test when something was wrong.
    #[track_caller]
    pub(super) fn assert_well(&mut self) {
        let faults = std::mem::take(&mut self.faults);
        assert!(faults.is_empty(), "stdout broke the rules:\n{faults:#?}");
    }
}

/// What is wrong with an error of the bridge's own, which people read in their client: it has to be
/// a sentence of some length, of a known kind, that says what to do next. How it says that is for
/// people to judge; here it only has to be more than the bare event.
fn flaw(error: &str) -> Option<&'static str> {
    let error: Value = serde_json::from_str(error).ok()?;
    if error["code"] != LOCAL_ERROR {
        return None;
    }
    let kind = error["data"]["kind"].as_str().unwrap_or_default();
    if !Kind::ALL.into_iter().any(|known| known.as_str() == kind) {
        return Some("an error of an unknown kind");
    }
    let message = error["message"].as_str().unwrap_or_default();
    let Some(text) = message.strip_prefix("mcp-bridge: ") else {
        return Some("an error that does not say whose it is");
    };
    let goes_on = ["; ", ". ", "? ", ": ", "--"];
    if text.chars().any(char::is_control) {
        Some("an error with control characters")
    } else if text.chars().count() > LONGEST_MESSAGE {
        Some("an error that is too long to be read")
    } else if text.trim() != text || text.ends_with([',', ';', ':']) {
        Some("an error that breaks off")
    } else if !text.ends_with('?') && !goes_on.iter().any(|words| text.contains(words)) {
        Some("an error that does not say what to do")
    } else {
        None
    }
}

/// The messages of a line: one, or those of a batch. `None` for what is not JSON.
fn elements(line: &[u8]) -> Option<Vec<&str>> {
    let text = str::from_utf8(line).ok()?;
    let whole: &RawValue = serde_json::from_str(text).ok()?;
    if !whole.get().starts_with('[') {
        return Some(vec![whole.get()]);
    }
    let batch: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(batch.into_iter().map(RawValue::get).collect())
}
