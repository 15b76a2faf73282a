//! `/v1/agent/monitor`: the log of this agent as it is written, until the client goes.

use std::sync::Arc;

use http::{Method, Response};
use muster_listen::Body;
use muster_registry::operator::{LogLevel, LogLine};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::failure::Failure;
use crate::front::Front;
use crate::parameters::parse_bool;
use crate::reply::Reply;
use crate::request::Request;
use crate::routes::Route;
use crate::wall_time;

pub(crate) const ROUTES: &[Route] =
    &[Route::now(Method::GET, "/v1/agent/monitor", "The log as it is written.", monitor)];

/// Lines that wait for a slow client before the log's own queue takes over.
const LINES_WAITING_MAX: usize = 64;

fn monitor(front: &Front, request: &Request) -> Result<Reply, Failure> {
    let wanted = request.parameters.text("loglevel").unwrap_or("INFO");
    let Some(least) = level(wanted) else {
        return Err(Failure::bad_request(format!("Unknown log level: {wanted}")));
    };
    let is_json = match request.parameters.find("logjson") {
        None => false,
        Some("") => true,
        Some(value) => {
            parse_bool(value).ok_or_else(|| Failure::bad_request("Invalid value for logjson"))?
        }
    };
    let mut lines = front.door().operator.log_lines();
    let (sender, body) = Body::stream(LINES_WAITING_MAX);
    let closing = front.closing().clone();
    tokio::spawn(async move {
        let told = async {
            while let Some(line) = next(&mut lines, least).await {
                let text = if is_json { as_json(&line) } else { as_text(&line) };
                if !sender.send(text).await {
                    return;
                }
            }
        };
        tokio::select! {
            () = told => {}
            () = sender.closed() => {}
            () = closing.begun() => {}
        }
    });
    Ok(Response::new(body))
}

/// The next line that matters enough. Who reads too slowly misses some; nothing once the agent
/// stops.
async fn next(
    lines: &mut broadcast::Receiver<Arc<LogLine>>,
    least: LogLevel,
) -> Option<Arc<LogLine>> {
    loop {
        match lines.recv().await {
            Ok(line) if line.level >= least => return Some(line),
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

fn level(word: &str) -> Option<LogLevel> {
    match word.to_ascii_uppercase().as_str() {
        "TRACE" => Some(LogLevel::Trace),
        "DEBUG" => Some(LogLevel::Debug),
        "INFO" => Some(LogLevel::Info),
        "WARN" => Some(LogLevel::Warn),
        "ERR" | "ERROR" => Some(LogLevel::Error),
        _ => None,
    }
}

fn word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Trace => "TRACE",
        LogLevel::Debug => "DEBUG",
        LogLevel::Info => "INFO",
        LogLevel::Warn => "WARN",
        LogLevel::Error => "ERROR",
    }
}

/// `2026-11-23T19:13:39.123456Z [INFO]  agent: a message: key=value`.
fn as_text(line: &LogLine) -> String {
    let level = format!("[{}]", word(line.level));
    let at = wall_time::rfc3339_micros(line.at);
    let mut text = format!("{at} {level:<7} {}: {}", line.target, line.message);
    for (nth, (key, value)) in line.fields.iter().enumerate() {
        text.push_str(if nth == 0 { ": " } else { " " });
        text.push_str(&format!("{key}={value}"));
    }
    text.push('\n');
    text
}

fn as_json(line: &LogLine) -> String {
    let mut object = Map::new();
    object.insert("@level".to_owned(), json!(word(line.level).to_ascii_lowercase()));
    object.insert("@message".to_owned(), json!(line.message.as_str()));
    object.insert("@module".to_owned(), json!(line.target.as_str()));
    object.insert("@timestamp".to_owned(), json!(wall_time::rfc3339_micros(line.at)));
    for (key, value) in &line.fields {
        object.insert(key.to_string(), json!(value.as_str()));
    }
    format!("{}\n", Value::Object(object))
}
