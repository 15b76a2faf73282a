//! XML as a tree, in the shape that its JSON has.
//!
//! Only what documents of data need: elements, attributes, text, character data sections, comments,
//! the five entities that XML itself knows, and characters by number. A document type declaration is
//! refused, and with it every entity of the sender's own: nothing here expands, fetches or recurses.
//! Depth and the number of parts are bounded.
//!
//! Left out: namespaces (a prefix is part of the name) and the order of elements with other names.

use serde_json::{Map, Value};

use super::Senseless;
use crate::limits::{XML_DEPTH_MAX, XML_PARTS_MAX};

/// The tree of a document.
pub(super) fn parse(text: &str) -> Result<Value, Senseless> {
    let mut reader = Reader { rest: text.trim_start_matches('\u{feff}'), n_parts: 0 };
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    while let Some(part) = reader.next()? {
        match part {
            Part::Text(text) => match open.last_mut() {
                Some(element) => element.text.push_str(&text),
                None if text.trim().is_empty() => {}
                None => return Err(senseless("text outside the root element")),
            },
            Part::Open { .. } if root.is_some() => {
                return Err(senseless("a second root element"));
            }
            Part::Open { .. } if open.len() == XML_DEPTH_MAX => {
                return Err(senseless("elements lie too deep in each other"));
            }
            Part::Open { name, attributes, is_empty } => {
                open.push(Element { name, members: attributes, text: String::new() });
                if is_empty {
                    close(&mut open, &mut root);
                }
            }
            Part::Close(name) => {
                if open.last().is_none_or(|element| element.name != name) {
                    return Err(senseless("a closing tag without its opening one"));
                }
                close(&mut open, &mut root);
            }
        }
    }
    match root {
        Some((name, value)) if open.is_empty() => {
            Ok(Value::Object(Map::from_iter([(name, value)])))
        }
        _ => Err(senseless("the document is not complete")),
    }
}

/// An element whose end has not come yet.
struct Element {
    name: String,
    members: Map<String, Value>,
    text: String,
}

impl Element {
    /// An element with nothing but text is a text; one with attributes has its text as `$`.
    fn finish(mut self) -> (String, Value) {
        let text = self.text.trim();
        if self.members.is_empty() {
            return (self.name, Value::String(text.into()));
        }
        if !text.is_empty() {
            self.members.insert("$".into(), Value::String(text.into()));
        }
        (self.name, Value::Object(self.members))
    }
}

/// Ends the innermost element: it becomes a member of the one around it, or the root.
fn close(open: &mut Vec<Element>, root: &mut Option<(String, Value)>) {
    let Some(element) = open.pop() else { return };
    let (name, value) = element.finish();
    let Some(around) = open.last_mut() else {
        *root = Some((name, value));
        return;
    };
    match around.members.get_mut(&name) {
        None => drop(around.members.insert(name, value)),
        Some(Value::Array(all)) => all.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

/// A part of a document.
enum Part {
    Text(String),
    Open { name: String, attributes: Map<String, Value>, is_empty: bool },
    Close(String),
}

struct Reader<'a> {
    rest: &'a str,
    n_parts: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<Part>, Senseless> {
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            if let Some(rest) = self.rest.strip_prefix("<![CDATA[") {
                self.rest = rest;
                return Ok(Some(Part::Text(self.until("]]>")?.into())));
            }
            if let Some(rest) = self.rest.strip_prefix("<!--") {
                self.rest = rest;
                self.until("-->")?;
            } else if let Some(rest) = self.rest.strip_prefix("<?") {
                self.rest = rest;
                self.until("?>")?;
            } else if self.rest.starts_with("<!") {
                return Err(senseless("declarations of types and entities are refused"));
            } else if let Some(rest) = self.rest.strip_prefix("</") {
                self.rest = rest;
                let name = self.until(">")?.trim_end();
                return Ok(Some(Part::Close(named(name)?)));
            } else if let Some(rest) = self.rest.strip_prefix('<') {
                self.rest = rest;
                return self.open().map(Some);
            } else {
                let end = self.rest.find('<').unwrap_or(self.rest.len());
                let (text, rest) = self.rest.split_at(end);
                self.rest = rest;
                return Ok(Some(Part::Text(unescaped(text)?)));
            }
        }
    }

    /// What stands before `mark`, which is passed.
    fn until(&mut self, mark: &str) -> Result<&'a str, Senseless> {
        let (before, rest) =
            self.rest.split_once(mark).ok_or_else(|| senseless("the document is not complete"))?;
        self.rest = rest;
        Ok(before)
    }

    /// An opening tag, after its `<`.
    fn open(&mut self) -> Result<Part, Senseless> {
        let end = self.rest.find(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>'));
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        let name = named(name)?;
        let mut attributes = Map::new();
        loop {
            self.count_part()?;
            self.rest = self.rest.trim_ascii_start();
            for (mark, is_empty) in [("/>", true), (">", false)] {
                if let Some(rest) = self.rest.strip_prefix(mark) {
                    self.rest = rest;
                    return Ok(Part::Open { name, attributes, is_empty });
                }
            }
            let attribute = self.until("=")?.trim_end();
            self.rest = self.rest.trim_ascii_start();
            let quote = if self.rest.starts_with('\'') { "'" } else { "\"" };
            self.rest = self
                .rest
                .strip_prefix(quote)
                .ok_or_else(|| senseless("the value of an attribute has no quotes"))?;
            let value = unescaped(self.until(quote)?)?;
            attributes.insert(format!("@{}", named(attribute)?), Value::String(value));
        }
    }

    fn count_part(&mut self) -> Result<(), Senseless> {
        self.n_parts += 1;
        if self.n_parts > XML_PARTS_MAX {
            return Err(senseless("the document has too many elements"));
        }
        Ok(())
    }
}

/// A name of an element or attribute, with the escapes undone by which names that XML does not
/// allow are written: `__` is `_`, `_-` is `$`.
fn named(name: &str) -> Result<String, Senseless> {
    let is_odd = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '&' | '"' | '\'' | '=');
    if name.is_empty() || name.contains(is_odd) {
        return Err(senseless("an element or attribute has no proper name"));
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (meant, escaped) = match rest.as_bytes().first() {
            Some(b'-') => ('$', 1),
            Some(b'_') => ('_', 1),
            _ => ('_', 0),
        };
        out.push(meant);
        rest = &rest[escaped..];
    }
    out.push_str(rest);
    Ok(out)
}

/// A text with its entities replaced.
fn unescaped(text: &str) -> Result<String, Senseless> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (entity, after) =
            after.split_once(';').ok_or_else(|| senseless("an entity has no end"))?;
        out.push(character(entity)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn character(entity: &str) -> Result<char, Senseless> {
    let by_number = |digits: &str, radix| {
        u32::from_str_radix(digits, radix).ok().and_then(char::from_u32).filter(|c| *c != '\0')
    };
    let found = match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => match entity.strip_prefix('#') {
            Some(digits) => match digits.strip_prefix(['x', 'X']) {
                Some(digits) => by_number(digits, 16),
                None => by_number(digits, 10),
            },
            None => None,
        },
    };
    found.ok_or_else(|| senseless("an entity is not one of XML's own"))
}

fn senseless(why: &str) -> Senseless {
    Senseless(why.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn xml_becomes_the_tree_that_its_json_is() {
        let text = r#"<?xml version="1.0"?><!-- an instance --><instance>
            <port enabled="true">80</port><app>A &amp; B</app><name><![CDATA[<x>]]></name>
            <metadata class='m'/><none/><metadata2><a__b_-c>&#x41;&#66;</a__b_-c><x__-y/></metadata2>
            <one>1</one><one>2</one></instance>"#;
        let expected = json!({"instance": {
            "port": {"@enabled": "true", "$": "80"}, "app": "A & B", "name": "<x>",
            "metadata": {"@class": "m"}, "none": "", "metadata2": {"a_b$c": "AB", "x_-y": ""},
            "one": ["1", "2"],
        }});
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn what_could_expand_fetch_or_recurse_is_refused() {
        let bomb = r#"<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>"#;
        assert!(parse(bomb).unwrap_err().0.contains("refused"));
        assert!(parse("<a>&b;</a>").is_err());
        let deep = format!("{}{}", "<a>".repeat(XML_DEPTH_MAX + 1), "</a>".repeat(99));
        assert!(parse(&deep).unwrap_err().0.contains("deep"));
        let wide = format!("<a>{}</a>", "<b/>".repeat(XML_PARTS_MAX + 1));
        assert!(parse(&wide).unwrap_err().0.contains("too many"));
    }

    #[test]
    fn a_broken_document_is_refused() {
        for text in [
            "",
            "x",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "<a b=1/>",
            "<a b='1>",
            "<>",
            "<a>&#0;</a>",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[<>/&;=\"'a!?# \\[\\]-]{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_nearly_good_text_panics(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "<a>", "</a>", "<b c=\"d\">", "</b>", "<e/>", "&amp;", "&#1;", "&#xffffffff;",
                    "<![CDATA[", "]]>", "<!--", "-->", "<?", "?>", "text", "é", "<", ">",
                ]),
                0..30,
            )
        ) {
            let _ = parse(&parts.concat());
        }
    }
}
