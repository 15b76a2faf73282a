//! Writing a document member by member, in either notation.
//!
//! The original indents its XML by two spaces and its JSON not at all, names no member that has no
//! value, and escapes in the names of elements what it does not in those of members.

use super::Notation;

/// A document being written.
pub(crate) struct Document {
    pub(crate) notation: Notation,
    /// Whether XML stands in one line, as it does in the compact form.
    is_flat: bool,
    out: Vec<u8>,
    depth: usize,
    /// Whether a member was written in the innermost object already (JSON).
    has_member: bool,
}

impl Document {
    /// An empty document.
    pub(crate) fn new(notation: Notation, is_flat: bool) -> Document {
        Document { notation, is_flat, out: Vec::with_capacity(1024), depth: 0, has_member: false }
    }

    /// What was written since the last time.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Opens an object under a name. In JSON an empty name opens one without.
    pub(crate) fn open(&mut self, name: &str) {
        self.open_with(name, None);
    }

    /// Opens an object with a class.
    pub(crate) fn open_with(&mut self, name: &str, class: Option<&str>) {
        match self.notation {
            Notation::Json => {
                self.begin_member((!name.is_empty()).then_some(name));
                self.out.push(b'{');
                self.has_member = false;
                if let Some(class) = class {
                    self.text("@class", class);
                }
            }
            Notation::Xml => {
                self.start_line();
                self.tag(name, class.map(|class| ("class", class)), ">");
            }
        }
        self.depth += 1;
    }

    /// Closes the object with this name.
    pub(crate) fn close(&mut self, name: &str) {
        self.depth -= 1;
        match self.notation {
            Notation::Json => self.out.push(b'}'),
            Notation::Xml => {
                self.start_line();
                self.end_tag(name);
            }
        }
        self.has_member = true;
    }

    /// Opens a list. Its elements are written with [`Document::open_element`].
    pub(crate) fn open_list(&mut self, name: &str) {
        if self.notation == Notation::Json {
            self.begin_member(Some(name));
            self.out.push(b'[');
            self.has_member = false;
        }
    }

    /// Closes a list.
    pub(crate) fn close_list(&mut self) {
        if self.notation == Notation::Json {
            self.out.push(b']');
            self.has_member = true;
        }
    }

    /// Opens an element of a list: in XML it has the list's name, in JSON none.
    pub(crate) fn open_element(&mut self, name: &str) {
        match self.notation {
            Notation::Json => self.open(""),
            Notation::Xml => self.open(name),
        }
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        match self.notation {
            Notation::Json => {
                self.begin_member(Some(name));
                self.json_text(value);
            }
            Notation::Xml => self.line(name, None, value),
        }
    }

    /// A text, unless it is empty.
    pub(crate) fn some_text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.text(name, value);
        }
    }

    /// A number.
    pub(crate) fn number(&mut self, name: &str, value: impl std::fmt::Display) {
        let value = value.to_string();
        match self.notation {
            Notation::Json => {
                self.begin_member(Some(name));
                self.out.extend_from_slice(value.as_bytes());
            }
            Notation::Xml => self.line(name, None, &value),
        }
    }

    /// A port with whether it is open.
    pub(crate) fn port(&mut self, name: &str, port: crate::info::Port) {
        let enabled = if port.is_enabled { "true" } else { "false" };
        match self.notation {
            Notation::Json => {
                self.open(name);
                self.number("$", port.number);
                self.text("@enabled", enabled);
                self.close(name);
            }
            Notation::Xml => self.line(name, Some(("enabled", enabled)), &port.number.to_string()),
        }
    }

    /// An object that has a class and nothing else.
    pub(crate) fn only_class(&mut self, name: &str, class: &str) {
        match self.notation {
            Notation::Json => {
                self.open_with(name, Some(class));
                self.close(name);
            }
            Notation::Xml => {
                self.start_line();
                self.tag(name, Some(("class", class)), "/>");
            }
        }
    }

    /// An element of XML without content.
    pub(crate) fn empty_element(&mut self, name: &str) {
        self.start_line();
        self.tag(name, None, "/>");
    }

    // ---------------------------------------------------------------------------------------------
    // JSON
    // ---------------------------------------------------------------------------------------------

    /// The comma before a member, where one is due, and its name; elements of lists have none.
    fn begin_member(&mut self, name: Option<&str>) {
        if self.has_member {
            self.out.push(b',');
        }
        self.has_member = true;
        if let Some(name) = name {
            self.json_text(name);
            self.out.push(b':');
        }
    }

    fn json_text(&mut self, text: &str) {
        serde_json::to_writer(&mut self.out, text).expect("a Vec takes all bytes");
    }

    // ---------------------------------------------------------------------------------------------
    // XML
    // ---------------------------------------------------------------------------------------------

    fn start_line(&mut self) {
        if self.is_flat {
            return;
        }
        if self.has_member {
            self.out.push(b'\n');
            self.out.resize(self.out.len() + 2 * self.depth, b' ');
        }
        self.has_member = true;
    }

    fn line(&mut self, name: &str, attribute: Option<(&str, &str)>, value: &str) {
        self.start_line();
        self.tag(name, attribute, ">");
        self.xml_text(value);
        self.end_tag(name);
    }

    fn tag(&mut self, name: &str, attribute: Option<(&str, &str)>, end: &str) {
        self.out.push(b'<');
        self.element_name(name);
        if let Some((name, value)) = attribute {
            self.out.extend_from_slice(format!(" {name}=\"").as_bytes());
            self.xml_text(value);
            self.out.push(b'"');
        }
        self.out.extend_from_slice(end.as_bytes());
    }

    fn end_tag(&mut self, name: &str) {
        self.out.extend_from_slice(b"</");
        self.element_name(name);
        self.out.push(b'>');
    }

    /// A name as XML can carry it: `_` doubled, `$` as `_-`, and whatever it has no place for as a
    /// plain `_`, because one odd name must not spoil the whole document.
    fn element_name(&mut self, name: &str) {
        let starts_well = name.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '$'));
        if !starts_well {
            self.out.push(b'_');
        }
        for character in name.chars() {
            match character {
                '_' => self.out.extend_from_slice(b"__"),
                '$' => self.out.extend_from_slice(b"_-"),
                c if c.is_alphanumeric() || matches!(c, '.' | '-') => {
                    self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => self.out.push(b'_'),
            }
        }
    }

    /// A text with its entities. Characters that XML has no place for are left out.
    fn xml_text(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.out.extend_from_slice(b"&amp;"),
                '<' => self.out.extend_from_slice(b"&lt;"),
                '>' => self.out.extend_from_slice(b"&gt;"),
                '"' => self.out.extend_from_slice(b"&quot;"),
                '\'' => self.out.extend_from_slice(b"&apos;"),
                '\r' => self.out.extend_from_slice(b"&#xd;"),
                '\t' | '\n' => self.out.push(character as u8),
                c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
                c => self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
}
