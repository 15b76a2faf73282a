//! Logs: one line per event, to the standard error and to those who monitor.
//!
//! A line is built once as a [`LogLine`] and from there printed (for people, or as JSON) and handed
//! to whoever monitors the agent. Monitors get every level from `debug` up while they listen,
//! whatever is printed; one that reads too slowly misses lines, and never slows the agent down.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use muster_model::Text;
use muster_registry::operator::{LogLevel, LogLine};
use muster_world::World;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::sync::broadcast;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Lines that a slow monitor may be behind before it misses some.
const LINES_KEPT: usize = 1_024;

/// The logs of this process: set once, shared by everything in it.
#[derive(Clone)]
pub struct Logs {
    lines: broadcast::Sender<Arc<LogLine>>,
    level: Arc<AtomicU8>,
}

/// How lines are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// For people.
    #[default]
    Plain,
    /// One JSON object a line.
    Json,
}

struct LogLayer {
    logs: Logs,
    style: Style,
    world: Arc<dyn World>,
}

/// Starts logging for the whole process. A second call in one process changes nothing and gives
/// logs that nobody writes to, which only tests do.
pub fn start(world: Arc<dyn World>, level: LogLevel, style: Style) -> Logs {
    let (lines, _) = broadcast::channel(LINES_KEPT);
    let logs = Logs { lines, level: Arc::new(AtomicU8::new(level as u8)) };
    let layer = LogLayer { logs: logs.clone(), style, world };
    let subscriber = tracing_subscriber::registry().with(layer);
    // Fails only where a subscriber is set already.
    let _ = tracing::subscriber::set_global_default(subscriber);
    logs
}

impl Logs {
    /// Lines from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<LogLine>> {
        self.lines.subscribe()
    }

    /// Prints lines from this level up from now on.
    pub fn set_level(&self, level: LogLevel) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    fn prints(&self, level: LogLevel) -> bool {
        level as u8 >= self.level.load(Ordering::Relaxed)
    }

    fn is_wanted(&self, level: LogLevel) -> bool {
        self.prints(level) || level >= LogLevel::Debug && self.lines.receiver_count() > 0
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    /// The level and the listeners change while the process runs. What libraries have to say is
    /// never wanted, and so costs them a load and not a question.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_ours(metadata.target()) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_ours(metadata.target()) && self.logs.is_wanted(level_of(*metadata.level()))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line = LogLine {
            level: level_of(*metadata.level()),
            at: self.world.wall_clock(),
            target: part_of(metadata.target()).into(),
            message: Text::default(),
            fields: Vec::new(),
        };
        event.record(&mut Fill(&mut line));
        if self.logs.prints(line.level) {
            let printed = match self.style {
                Style::Plain => plain(&line),
                Style::Json => json(&line),
            };
            // A closed standard error is no reason to stop serving.
            let _ = writeln!(std::io::stderr().lock(), "{printed}");
        }
        // Nobody listens: nothing to do.
        let _ = self.logs.lines.send(Arc::new(line));
    }
}

/// A line for people: time, level, part, message, fields.
pub fn plain(line: &LogLine) -> String {
    let mut text = format!(
        "{} {:<7} {}: {}",
        stamp(line.at),
        bracketed(line.level),
        line.target,
        line.message
    );
    for (index, (key, value)) in line.fields.iter().enumerate() {
        let before = if index == 0 { ':' } else { ',' };
        // Writing to a String cannot fail.
        let _ = write!(text, "{before} {key}={value}");
    }
    text
}

/// A line as one JSON object.
pub fn json(line: &LogLine) -> String {
    let mut object = serde_json::Map::new();
    object.insert("@level".into(), level_word(line.level).into());
    object.insert("@message".into(), line.message.as_str().into());
    object.insert("@module".into(), line.target.as_str().into());
    object.insert("@timestamp".into(), stamp(line.at).into());
    for (key, value) in &line.fields {
        object.insert(key.as_str().into(), value.as_str().into());
    }
    serde_json::Value::Object(object).to_string()
}

/// Always with three digits of the second, so that lines stand in columns.
fn stamp(at: Duration) -> String {
    let form =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let at = OffsetDateTime::from_unix_timestamp_nanos(at.as_nanos() as i128);
    at.ok().and_then(|at| at.format(form).ok()).unwrap_or_default()
}

fn level_word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

fn bracketed(level: LogLevel) -> String {
    format!("[{}]", level_word(level).to_uppercase())
}

fn level_of(level: Level) -> LogLevel {
    match level {
        Level::TRACE => LogLevel::Trace,
        Level::DEBUG => LogLevel::Debug,
        Level::INFO => LogLevel::Info,
        Level::WARN => LogLevel::Warn,
        Level::ERROR => LogLevel::Error,
    }
}

/// Only our own crates speak: the libraries' notes are for those who write libraries.
fn is_ours(target: &str) -> bool {
    target.starts_with("muster")
}

/// `muster_agent::leader` is `agent.leader` to people.
fn part_of(target: &str) -> String {
    target.trim_start_matches("muster_").replace("::", ".")
}

struct Fill<'a>(&'a mut LogLine);

impl Fill<'_> {
    fn set(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.0.message = value.into(),
            name => self.0.fields.push((name.into(), value.into())),
        }
    }
}

impl Visit for Fill<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> LogLine {
        LogLine {
            level: LogLevel::Info,
            at: Duration::from_millis(1_800_000_000_123),
            target: "agent.leader".into(),
            message: "leads".into(),
            fields: vec![("term".into(), "3".into()), ("index".into(), "7".into())],
        }
    }

    #[test]
    fn a_line_for_people_names_time_level_part_and_fields() {
        let expected = "2027-01-15T08:00:00.123Z [INFO]  agent.leader: leads: term=3, index=7";
        assert_eq!(plain(&line()), expected);
    }

    #[test]
    fn a_stamp_has_milliseconds_even_if_they_are_round() {
        assert_eq!(stamp(Duration::from_millis(1_800_000_000_900)), "2027-01-15T08:00:00.900Z");
        assert_eq!(stamp(Duration::from_micros(1_800_000_000_000_999)), "2027-01-15T08:00:00.000Z");
    }

    #[test]
    fn a_json_line_is_one_object() {
        let object: serde_json::Value = serde_json::from_str(&json(&line())).unwrap();
        assert_eq!(object["@level"], "info");
        assert_eq!(object["term"], "3");
    }
}
