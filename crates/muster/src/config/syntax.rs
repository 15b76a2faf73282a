//! Configuration text, HCL or JSON, as one tree that remembers its lines.
//!
//! Consul's files are HCL of the first version or JSON. The two differ in how an object is spelled and
//! in nothing else that matters, so one small recursive-descent parser reads both into [`Node`]s: a
//! value and the line it stands on. Everything later (types, unknown keys, merging) happens on that
//! tree, and every complaint can name a line.
//!
//! Why not an HCL library: those for Rust speak the second version of the language, which refuses what
//! Consul's users write (quoted keys in a block, `ports { http = 1, dns = 2 }` on one line, a key that
//! occurs twice) and evaluates `${...}`, which Consul keeps as it stands.
//!
//! Left out: expressions and interpolation. Limits: see [`BYTES_MAX`], [`DEPTH_MAX`], [`NODES_MAX`]; no
//! text makes the parser panic or run longer than its length allows.

use super::lexer::{Lexer, Token};
use super::problem::Problem;

/// The longest file that is read.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;
/// How deep objects and lists may nest.
pub const DEPTH_MAX: usize = 64;
/// How many values one file may hold.
pub const NODES_MAX: usize = 1_000_000;

/// Which of the two spellings a text is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// HashiCorp's configuration language, first version.
    Hcl,
    /// JSON as in RFC 8259.
    Json,
}

impl Format {
    /// The format a file's name or a `-config-format` value asks for.
    pub fn named(name: &str) -> Option<Format> {
        match name {
            "hcl" => Some(Format::Hcl),
            "json" => Some(Format::Json),
            _ => None,
        }
    }
}

/// A value and the line on which it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Counted from 1.
    pub line: u32,
    /// What stands there.
    pub value: Value,
}

/// What can stand in a configuration file.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`: as if the key were absent.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it was written: whether it fits is decided by the key.
    Number(String),
    /// A string, escapes resolved.
    Text(String),
    /// `[ ... ]`.
    List(Vec<Node>),
    /// `{ ... }` or a block.
    Object(Object),
}

/// An object; keys may repeat and keep their order, as HCL has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object {
    /// The name in `service "web" { ... }`, if there is one.
    pub label: Option<String>,
    /// Keys with their values, as written.
    pub entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key as written.
    pub key: String,
    /// The line of the key.
    pub line: u32,
    /// Its value.
    pub node: Node,
}

impl Value {
    /// The kind in the words of an error message.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a bool",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        }
    }
}

/// Reads a whole text. An empty text is an empty object.
pub fn parse(text: &str, format: Format) -> Result<Object, Problem> {
    if text.len() > BYTES_MAX {
        return Err(Problem::at(0, format!("the file is longer than {BYTES_MAX} bytes")));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // As Consul does: HCL that begins with a brace is JSON.
    let format = if text.trim_start().starts_with('{') { Format::Json } else { format };
    let mut parser = Parser { lexer: Lexer::new(text, format), format, n_nodes: 0 };
    let object = match format {
        Format::Hcl => parser.body(Token::End, 0)?,
        Format::Json => parser.json_document()?,
    };
    Ok(object)
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    format: Format,
    n_nodes: usize,
}

impl Parser<'_> {
    fn json_document(&mut self) -> Result<Object, Problem> {
        if self.lexer.peek()? == &Token::End {
            return Ok(Object::default());
        }
        let node = self.value(0)?;
        let line = self.lexer.token_line();
        match (node.value, self.lexer.take()?) {
            (Value::Object(object), Token::End) => Ok(object),
            (Value::Object(_), token) => {
                Err(Problem::at(line, format!("{} after the end of the object", token.name())))
            }
            (other, _) => Err(Problem::at(
                node.line,
                format!("a configuration file must be an object, this is {}", other.kind()),
            )),
        }
    }

    /// Entries up to `end`: a whole HCL file, or what stands between the braces of an object.
    fn body(&mut self, end: Token, depth: usize) -> Result<Object, Problem> {
        let mut object = Object::default();
        loop {
            let token = self.lexer.take()?;
            if token == end {
                return Ok(object);
            }
            let line = self.lexer.token_line();
            let key = match (token, self.format) {
                (Token::Text(key), _) | (Token::Word(key), Format::Hcl) => key,
                (token, _) => {
                    return Err(Problem::at(
                        line,
                        format!("expected a key, found {}", token.name()),
                    ));
                }
            };
            let node = self.entry_value(depth)?;
            object.entries.push(Entry { key, line, node });
            if !self.separator(&end)? {
                return Ok(object);
            }
        }
    }

    /// What follows a key: `= value`, `: value`, `{ ... }` or `"label" { ... }`.
    fn entry_value(&mut self, depth: usize) -> Result<Node, Problem> {
        let token = self.lexer.take()?;
        let line = self.lexer.token_line();
        match (token, self.format) {
            (Token::Colon, _) | (Token::Equals, Format::Hcl) => self.value(depth),
            (Token::OpenBrace, Format::Hcl) => self.object(line, depth),
            (Token::Text(label) | Token::Word(label), Format::Hcl) => {
                let mut node = self.entry_value_after_label(&label, depth)?;
                if let Value::Object(object) = &mut node.value {
                    object.label = Some(label);
                }
                Ok(node)
            }
            (token, Format::Hcl) => Err(Problem::at(
                line,
                format!("expected '=' or '{{' after the key, found {}", token.name()),
            )),
            (token, Format::Json) => Err(Problem::at(
                line,
                format!("expected ':' after the key, found {}", token.name()),
            )),
        }
    }

    fn entry_value_after_label(&mut self, label: &str, depth: usize) -> Result<Node, Problem> {
        let token = self.lexer.take()?;
        let line = self.lexer.token_line();
        match token {
            Token::OpenBrace => self.object(line, depth),
            token => Err(Problem::at(
                line,
                format!("expected '{{' after the name {label:?}, found {}", token.name()),
            )),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Problem> {
        let token = self.lexer.take()?;
        let line = self.lexer.token_line();
        self.count(line)?;
        let value = match token {
            Token::Text(text) => Value::Text(text),
            Token::Number(number) => Value::Number(number),
            Token::Word(word) => match word.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                _ => {
                    let advice = format!("{word} is not a value; write \"{word}\" for a string");
                    return Err(Problem::at(line, advice));
                }
            },
            Token::OpenBrace => return self.object(line, depth),
            Token::OpenBracket => return self.list(line, depth),
            token => {
                return Err(Problem::at(line, format!("expected a value, found {}", token.name())));
            }
        };
        Ok(Node { line, value })
    }

    fn object(&mut self, line: u32, depth: usize) -> Result<Node, Problem> {
        self.descend(line, depth)?;
        let object = self.body(Token::CloseBrace, depth + 1)?;
        Ok(Node { line, value: Value::Object(object) })
    }

    fn list(&mut self, line: u32, depth: usize) -> Result<Node, Problem> {
        self.descend(line, depth)?;
        let mut items = Vec::new();
        if self.lexer.peek()? == &Token::CloseBracket {
            self.lexer.take()?;
            return Ok(Node { line, value: Value::List(items) });
        }
        loop {
            items.push(self.value(depth + 1)?);
            let separated = self.lexer.take()?;
            match separated {
                Token::CloseBracket => break,
                Token::Comma => {}
                token => {
                    let line = self.lexer.token_line();
                    let what = format!("expected ',' or ']' in the list, found {}", token.name());
                    return Err(Problem::at(line, what));
                }
            }
            // A trailing comma is HCL's, not JSON's.
            if self.format == Format::Hcl && self.lexer.peek()? == &Token::CloseBracket {
                self.lexer.take()?;
                break;
            }
        }
        Ok(Node { line, value: Value::List(items) })
    }

    /// Consumes what stands between two entries; false when the object ended with it.
    fn separator(&mut self, end: &Token) -> Result<bool, Problem> {
        match self.format {
            Format::Hcl => {
                if self.lexer.peek()? == &Token::Comma {
                    self.lexer.take()?;
                }
                Ok(true)
            }
            Format::Json => match self.lexer.take()? {
                Token::Comma if self.lexer.peek()? != end => Ok(true),
                token if &token == end => Ok(false),
                token => {
                    let what =
                        format!("expected ',' or '}}' in the object, found {}", token.name());
                    Err(Problem::at(self.lexer.token_line(), what))
                }
            },
        }
    }

    fn descend(&mut self, line: u32, depth: usize) -> Result<(), Problem> {
        self.count(line)?;
        if depth >= DEPTH_MAX {
            return Err(Problem::at(line, format!("nested deeper than {DEPTH_MAX}")));
        }
        Ok(())
    }

    fn count(&mut self, line: u32) -> Result<(), Problem> {
        self.n_nodes += 1;
        if self.n_nodes > NODES_MAX {
            return Err(Problem::at(line, format!("the file holds more than {NODES_MAX} values")));
        }
        Ok(())
    }
}
