//! Tasks in both eras (MCP 2025-11-25, Tasks; MCP 2026-07-28, Extensions, Tasks), as far as the
//! bridge drives them itself.
//!
//! In: reading a task and what it waits for, the parameters to ask with. Out: when to ask
//! (`bridge`).

use std::time::Duration;

use super::result::{self, Sort};
use crate::proto::headers::MIRROR_LIMIT;
use crate::proto::json::quote;
use crate::proto::message::member;
use crate::proto::object::Object;

/// `_meta` key: the task that a message of a legacy server belongs to.
pub const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// How long to wait before asking again if the server does not say.
pub const POLL: Duration = Duration::from_secs(1);

/// Shortest time to wait before asking again, whatever the server says.
pub const POLL_LEAST: Duration = Duration::from_millis(250);

/// Longest time to wait before asking again: somebody waits for the result.
pub const POLL_MOST: Duration = Duration::from_secs(60);

/// How long a legacy server is asked to keep a task and its result.
pub const KEPT: Duration = Duration::from_secs(60 * 60);

/// Longest `taskId`, in bytes: a longer one cannot be asked for, since `Mcp-Name` repeats it.
pub const ID_LIMIT: usize = MIRROR_LIMIT;

/// How far a task is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It goes on.
    Working,
    /// It waits for answers: key and question, as in an `input_required` result. Empty in the
    /// legacy era, where the questions come as requests, and where a task is only announced.
    InputRequired(Vec<(String, String)>),
    /// It is done; the result, raw JSON, where the era puts it here and the task is not only
    /// announced.
    Completed(Option<String>),
    /// It failed; the error, raw JSON, where the era puts it here and the task is not only
    /// announced.
    Failed(Option<String>),
    /// It was cancelled.
    Cancelled,
}

/// A task as a server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// `taskId`, decoded.
    pub id: String,
    /// How far it is.
    pub status: Status,
    /// `statusMessage`, decoded.
    pub message: Option<String>,
    /// How long to wait before asking again, within [`POLL_LEAST`] and [`POLL_MOST`].
    pub poll: Duration,
}

impl Task {
    /// Reads a task of the 2026-07-28 extension: the result that announces it, a result of
    /// `tasks/get`, or the parameters of `notifications/tasks`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read_modern(result: &str) -> Result<Self, &'static str> {
        let task = Object::parse(result).ok_or("the task is not an object")?;
        let status = match status(&task)?.as_str() {
            "working" => Status::Working,
            "input_required" => Status::InputRequired(questions(&task)?),
            "completed" => Status::Completed(object(&task, "result")?),
            "failed" => Status::Failed(error(&task)?),
            "cancelled" => Status::Cancelled,
            _ => return Err(UNKNOWN),
        };
        Self::new(&task, status, "pollIntervalMs")
    }

    /// Reads a task of 2025-11-25: the `task` member of a `CreateTaskResult`, a result of
    /// `tasks/get` or `tasks/cancel`, or the parameters of `notifications/tasks/status`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read_legacy(result: &str) -> Result<Self, &'static str> {
        let task = Object::parse(result).ok_or("the task is not an object")?;
        let status = match status(&task)?.as_str() {
            "working" => Status::Working,
            "input_required" => Status::InputRequired(Vec::new()),
            "completed" => Status::Completed(None),
            "failed" => Status::Failed(None),
            "cancelled" => Status::Cancelled,
            _ => return Err(UNKNOWN),
        };
        Self::new(&task, status, "pollInterval")
    }

    /// Parameters that name the task: of `tasks/get`, `tasks/cancel`, and `tasks/result`.
    #[must_use]
    pub fn params(&self) -> String {
        format!(r#"{{"taskId":{}}}"#, quote(&self.id))
    }

    /// Parameters of `tasks/update` with these answers (key, raw JSON).
    #[must_use]
    pub fn update_params(&self, answers: &[(String, String)]) -> String {
        let mut responses = Object::default();
        for (key, answer) in answers {
            responses.set(key, answer);
        }
        let id = quote(&self.id);
        format!(r#"{{"taskId":{id},"inputResponses":{responses}}}"#)
    }

    fn new(task: &Object<'_>, status: Status, interval: &str) -> Result<Self, &'static str> {
        let id = string(task, "taskId").ok_or("the task has no \"taskId\"")?;
        if id.is_empty() || id.len() > ID_LIMIT {
            return Err("the \"taskId\" is empty or too long");
        }
        let poll = task.get(interval).and_then(result::millis);
        Ok(Self {
            id,
            status,
            message: string(task, "statusMessage"),
            poll: poll
                .map_or(POLL, Duration::from_millis)
                .clamp(POLL_LEAST, POLL_MOST),
        })
    }
}

/// The parameters of a `tools/call` (raw JSON) that make a legacy server run it as a task. `None`
/// if they are no object.
#[must_use]
pub fn as_task(params: &str) -> Option<String> {
    let mut params = Object::parse(params)?;
    params.set("task", format!(r#"{{"ttl":{}}}"#, KEPT.as_millis()));
    Some(params.to_string())
}

/// The id of the task that a message of a legacy server belongs to, from `_meta` of its
/// parameters or result (raw JSON).
#[must_use]
pub fn related(object: &str) -> Option<String> {
    let related = member(member(object, "_meta")?, RELATED_TASK)?;
    string(&Object::parse(related)?, "taskId")
}

const UNKNOWN: &str = "the task's \"status\" is unknown";

fn status(task: &Object<'_>) -> Result<String, &'static str> {
    string(task, "status").ok_or("the task has no \"status\"")
}

fn string(object: &Object<'_>, name: &str) -> Option<String> {
    serde_json::from_str(object.get(name)?).ok()
}

/// The questions of a task; they are given as in an `input_required` result.
fn questions(task: &Object<'_>) -> Result<Vec<(String, String)>, &'static str> {
    let Some(requests) = task.get("inputRequests") else {
        return Ok(Vec::new());
    };
    let mut result = Object::default();
    result.set("resultType", r#""input_required""#);
    result.set("inputRequests", requests);
    match result::sort(&result.to_string()) {
        Sort::InputRequired(questions) => Ok(questions.requests),
        Sort::Malformed(reason) => Err(reason),
        _ => Err(UNKNOWN),
    }
}

fn object(task: &Object<'_>, name: &str) -> Result<Option<String>, &'static str> {
    match task.get(name) {
        None => Ok(None),
        Some(value) if value.starts_with('{') => Ok(Some(value.to_owned())),
        Some(_) => Err("the task's outcome is not an object"),
    }
}

/// The error of a task, if it is one that can be passed on (JSON-RPC 2.0 §5.1).
fn error(task: &Object<'_>) -> Result<Option<String>, &'static str> {
    let found = object(task, "error")?;
    let Some(error) = found.as_deref().and_then(Object::parse) else {
        return Ok(None);
    };
    let code = error.get("code").unwrap_or_default().parse::<i64>();
    if code.is_err() || string(&error, "message").is_none() {
        return Err("the task's error has no code or no message");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modern(rest: &str) -> Result<Task, &'static str> {
        Task::read_modern(&format!(r#"{{"taskId":"t\u0031",{rest}}}"#))
    }

    fn status_of(rest: &str) -> Status {
        modern(rest).unwrap().status
    }

    fn poll(interval: &str) -> Duration {
        let legacy = format!(r#"{{"taskId":"t","status":"working","pollInterval":{interval}}}"#);
        let poll = Task::read_legacy(&legacy).unwrap().poll;
        let rest = format!(r#""status":"working","pollIntervalMs":{interval}"#);
        assert_eq!(modern(&rest).unwrap().poll, poll);
        poll
    }

    #[test]
    fn t125_a_task_is_followed_from_its_announcement_to_its_result() {
        let announced = r#"{"resultType":"task","taskId":"786-é","status":"working",
            "statusMessage":"Started \u0031","createdAt":"2026-07-28T10:30:00Z","ttlMs":60000,
            "pollIntervalMs":5000}"#;
        let task = Task::read_modern(announced).unwrap();
        let expected = Task {
            id: "786-é".into(),
            status: Status::Working,
            message: Some("Started 1".into()),
            poll: Duration::from_secs(5),
        };
        assert_eq!(task, expected);
        assert_eq!(task.params(), r#"{"taskId":"786-é"}"#);
        let question = r#"{"method":"elicitation/create","params":{ "n":1.0e2 }}"#;
        let rest = format!(
            r#""resultType":"complete","status":"input_required","inputRequests":{{"n\u0061me":{question},"b":{question}}}"#
        );
        let asked = |key: &str| (key.to_owned(), question.to_owned());
        assert_eq!(
            status_of(&rest),
            Status::InputRequired(vec![asked("name"), asked("b")])
        );
        let answers = [
            (
                "na\"me".to_owned(),
                r#"{"action":"accept","content":{"n":1.0}}"#.to_owned(),
            ),
            ("b".to_owned(), r#"{"action":"decline"}"#.to_owned()),
        ];
        assert_eq!(
            task.update_params(&answers),
            r#"{"taskId":"786-é","inputResponses":{"na\"me":{"action":"accept","content":{"n":1.0}},"b":{"action":"decline"}}}"#
        );
        let done = status_of(r#""status":"completed","result":{"content":[ 1.0 ],"isError":true}"#);
        let result = r#"{"content":[ 1.0 ],"isError":true}"#;
        assert_eq!(done, Status::Completed(Some(result.into())));
    }

    #[test]
    fn t156_a_call_becomes_a_task_of_a_legacy_server_and_its_state_is_read() {
        let params = r#"{"name":"t","arguments":{"n":1.0},"task":1}"#;
        let expected = r#"{"name":"t","arguments":{"n":1.0},"task":{"ttl":3600000}}"#;
        assert_eq!(as_task(params).as_deref(), Some(expected));
        assert_eq!(as_task("[]"), None);
        for (name, status) in [
            ("working", Status::Working),
            ("input_required", Status::InputRequired(Vec::new())),
            ("completed", Status::Completed(None)),
            ("failed", Status::Failed(None)),
            ("cancelled", Status::Cancelled),
        ] {
            let task = format!(
                r#"{{"taskId":"a","status":"{name}","ttl":null,"pollInterval":1500,"pollIntervalMs":9,"result":{{}},"error":1}}"#
            );
            let expected = Task {
                id: "a".into(),
                status,
                message: None,
                poll: Duration::from_millis(1_500),
            };
            assert_eq!(Task::read_legacy(&task), Ok(expected));
        }
        let meta = r#"{"taskId":"x","_meta":{"io.modelcontextprotocol/related-task":{"taskId":"\u0061"}}}"#;
        assert_eq!(related(meta).as_deref(), Some("a"));
        for none in [
            "{}",
            "[]",
            r#"{"_meta":1}"#,
            r#"{"taskId":"x","_meta":{"io.modelcontextprotocol/related-task":"x"}}"#,
            r#"{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":1}}}"#,
        ] {
            assert_eq!(related(none), None, "{none}");
        }
    }

    #[test]
    fn what_an_announced_task_came_to_is_still_to_be_asked_for() {
        for (name, status) in [
            ("input_required", Status::InputRequired(Vec::new())),
            ("completed", Status::Completed(None)),
            ("failed", Status::Failed(None)),
            ("cancelled", Status::Cancelled),
        ] {
            let found = status_of(&format!(r#""resultType":"task","status":"{name}""#));
            assert_eq!(found, status, "{name}");
        }
        let failed =
            status_of(r#""status":"failed","error":{"code":-32603,"message":"m","data":[ ]}"#);
        let error = r#"{"code":-32603,"message":"m","data":[ ]}"#;
        assert_eq!(failed, Status::Failed(Some(error.into())));
    }

    #[test]
    fn the_wait_is_within_bounds() {
        for (interval, expected) in [
            ("5000", 5_000),
            ("5000.9", 5_000),
            ("0", 250),
            ("-1", 250),
            ("249", 250),
            ("60001", 60_000),
            ("18446744073709551615", 60_000),
            ("null", 1_000),
            ("\"9\"", 1_000),
            ("{}", 1_000),
        ] {
            assert_eq!(
                poll(interval),
                Duration::from_millis(expected),
                "{interval}"
            );
        }
        assert_eq!(modern(r#""status":"working""#).unwrap().poll, POLL);
    }

    #[test]
    fn what_is_no_task_is_refused() {
        let long = format!(
            r#"{{"taskId":"{}","status":"working"}}"#,
            "x".repeat(ID_LIMIT + 1)
        );
        for task in [
            "",
            "[]",
            r#"{"status":"working"}"#,
            r#"{"taskId":7,"status":"working"}"#,
            r#"{"taskId":"","status":"working"}"#,
            r#"{"taskId":"t"}"#,
            r#"{"taskId":"t","status":"Working"}"#,
            r#"{"taskId":"t","status":null}"#,
            &long,
        ] {
            assert!(Task::read_modern(task).is_err(), "{task}");
            assert!(Task::read_legacy(task).is_err(), "{task}");
        }
        let fits = format!(
            r#"{{"taskId":"{}","status":"working"}}"#,
            "x".repeat(ID_LIMIT)
        );
        assert!(Task::read_modern(&fits).is_ok());
        for rest in [
            r#""status":"completed","result":[]"#,
            r#""status":"failed","error":"e""#,
            r#""status":"failed","error":{"code":1.5,"message":"m"}"#,
            r#""status":"failed","error":{"code":1}"#,
            r#""status":"input_required","inputRequests":[]"#,
            r#""status":"input_required","inputRequests":{"a":1}"#,
            r#""status":"input_required","inputRequests":{"a":{"params":{}}}"#,
        ] {
            assert!(modern(rest).is_err(), "{rest}");
        }
    }

    #[test]
    fn a_task_asks_only_so_many_questions() {
        let questions: Vec<_> = (0..100_000)
            .map(|n| format!(r#""{n}":{{"method":"roots/list"}}"#))
            .collect();
        let rest = format!(
            r#""status":"input_required","inputRequests":{{{}}}"#,
            questions.join(",")
        );
        assert!(modern(&rest).is_err());
    }
}
