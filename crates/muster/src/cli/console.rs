//! What a command shows: tables for people, JSON for programs, colour only on a terminal.
//!
//! Commands write through a [`Console`], never to standard output themselves, so a test reads what a
//! person would see. A reader that goes away (`| head`) ends a command quietly.

use std::io::{self, IsTerminal, Write};

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use serde_json::Value;

use super::Failure;
use super::client::Client;

/// For whom a command writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// People.
    #[default]
    #[value(alias = "pretty")]
    Table,
    /// Programs.
    Json,
}

/// The flag for it.
#[derive(Debug, Clone, Default, Args)]
pub struct ShapeFlag {
    /// Write for people or for programs.
    #[arg(long, global = true, value_enum, default_value_t = Shape::Table)]
    pub format: Shape,
}

/// Where a command writes, and whom it asks.
pub struct Console<'a> {
    /// The agent.
    pub client: Client,
    /// For whom it writes.
    pub shape: Shape,
    /// Whether a person watches.
    pub is_terminal: bool,
    out: &'a mut (dyn Write + Send),
}

impl<'a> Console<'a> {
    /// A console on any writer.
    pub fn new(client: Client, shape: Shape, out: &'a mut (dyn Write + Send)) -> Self {
        let is_terminal = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Console { client, shape, is_terminal, out }
    }

    /// Whether a program reads.
    pub fn is_json(&self) -> bool {
        self.shape == Shape::Json
    }

    /// Writes a line.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.bytes(text.as_ref().as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(Failure::from_output)
    }

    /// Makes sure that what was written is seen.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::from_output)
    }

    /// Writes JSON.
    pub fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(format!("{value:#}"))
    }

    /// Writes rows under a head, columns aligned; nothing at all if there are no rows.
    pub fn table(&mut self, head: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if !head.is_empty() {
            table.set_header(head.iter().map(ToString::to_string).collect::<Vec<_>>());
        }
        for row in rows {
            table.add_row(row);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let text = table.to_string();
        for line in text.lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// A status in its colour, if a person watches.
    pub fn status(&self, status: &str) -> String {
        let colour = match status {
            "passing" | "alive" | "in" => 32,
            "warning" | "leaving" => 33,
            "critical" | "failed" | "out" => 31,
            _ => return status.to_owned(),
        };
        self.coloured(status, colour)
    }

    fn coloured(&self, text: &str, colour: u8) -> String {
        if self.is_terminal { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A field of an object as text; empty if it is absent or null.
pub fn text(value: &Value, field: &str) -> String {
    match &value[field] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The items of a list; none if it is null.
pub fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// An object as `a=b, c=d`.
pub fn pairs(value: &Value) -> String {
    let Some(object) = value.as_object() else { return String::new() };
    let pair = |(key, value): (&String, &Value)| match value {
        Value::String(text) => format!("{key}={text}"),
        other => format!("{key}={other}"),
    };
    object.iter().map(pair).collect::<Vec<_>>().join(", ")
}

/// A list of texts as `a,b`.
pub fn joined(value: &Value) -> String {
    items(value).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

/// A progress display for what may take over a second; shows nothing unless a person watches.
pub fn progress(what: &str, length: Option<u64>) -> indicatif::ProgressBar {
    if !io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let bar = match length {
        Some(length) => indicatif::ProgressBar::new(length),
        None => indicatif::ProgressBar::new_spinner(),
    };
    bar.set_message(what.to_owned());
    bar
}
