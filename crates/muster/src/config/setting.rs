//! How a key becomes a field: one definition from which the struct, its default, the parser and the
//! reference page are made.
//!
//! `settings!` declares a section of the configuration. Each field
//! has one sentence (its doc comment), one type and one default; the macro makes the struct, `Default`,
//! and [`Setting`] from them, so a key without meaning or a page that drifted cannot exist. A section
//! also names other spellings of a key (`aliases`) and keys that are accepted without effect.
//!
//! Reading writes onto a value that already holds the default or what an earlier file said: scalars
//! are overwritten, lists appended, sections and maps merged, `null` changes nothing. Those are
//! Consul's rules. Complaints are gathered in a [`Reader`], so that one run shows all of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use muster_model::Text;
use muster_registry::call::Secret;
use muster_registry::operator::SettingValue;

use super::duration;
use super::problem::Problem;
use super::syntax::{Node, Object, Value};

/// How many complaints one reading gathers before it stops looking.
const PROBLEMS_MAX: usize = 50;

/// Something a configuration key can hold.
pub trait Setting {
    /// What is expected of a value, in words that follow "expected".
    const KIND: &'static str;

    /// Takes over what a file says, on top of what is there.
    fn read(&mut self, node: &Node, reader: &mut Reader);

    /// What it is now; secrets are hidden.
    fn value(&self) -> SettingValue;

    /// Adds the keys at and below `path` to a listing. Sections override this.
    fn list(&self, path: &str, sentence: &str, keys: &mut Vec<Key>) {
        keys.push(Key {
            path: path.to_owned(),
            kind: Self::KIND,
            default: show(&self.value()),
            sentence: sentence.trim().to_owned(),
        });
    }
}

/// A key as the reference page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its dotted path, e.g. `dns_config.allow_stale`.
    pub path: String,
    /// What it takes.
    pub kind: &'static str,
    /// What it is if nobody says otherwise; empty for keys without effect.
    pub default: String,
    /// What it does, with unit, bound and trade-off.
    pub sentence: String,
}

/// Where a reading stands and what it has complained about.
#[derive(Debug, Default)]
pub struct Reader {
    path: Vec<String>,
    problems: Vec<Problem>,
}

impl Reader {
    /// Notes a complaint about a line, naming the key that is being read.
    pub fn complain(&mut self, line: u32, what: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem::at(line, what));
        }
    }

    /// Notes that a value has another type than its key.
    pub fn mismatch(&mut self, node: &Node, expected: &str) {
        let key = self.path.join(".");
        self.complain(
            node.line,
            format!("{key}: expected {expected}, found {}", node.value.kind()),
        );
    }

    /// Notes that a value has the right type but not a meaning.
    pub fn refuse(&mut self, node: &Node, why: impl std::fmt::Display) {
        let key = self.path.join(".");
        self.complain(node.line, format!("{key}: {why}"));
    }

    /// Notes a key that nobody knows, with the nearest that is known.
    pub fn unknown(&mut self, line: u32, key: &str, known: &[&'static str]) {
        let path = self.child(key);
        let hint = match nearest(key, known) {
            Some(near) => format!(" (did you mean {}?)", self.child(near)),
            None => String::new(),
        };
        self.complain(line, format!("invalid config key {path}{hint}"));
    }

    /// Reads the value of `key` with the path extended by it.
    pub fn within(&mut self, key: &str, read: impl FnOnce(&mut Reader)) {
        self.path.push(key.to_owned());
        read(self);
        self.path.pop();
    }

    /// The complaints, all belonging to `source`.
    pub fn finish(self, source: &str) -> Vec<Problem> {
        self.problems.into_iter().map(|problem| problem.within(source)).collect()
    }

    fn child(&self, key: &str) -> String {
        let mut path = self.path.join(".");
        if !path.is_empty() {
            path.push('.');
        }
        path + key
    }
}

/// The objects a section's value consists of: itself, or the items of a list, which is how HCL's
/// repeated blocks look in JSON. A label is one more level, as in HCL's first version.
pub fn objects(node: &Node, expected: &str, reader: &mut Reader) -> Vec<(u32, Object)> {
    match &node.value {
        Value::Null => Vec::new(),
        Value::Object(object) => vec![(node.line, object.clone())],
        Value::List(items) => {
            let mut found = Vec::new();
            for item in items {
                match &item.value {
                    Value::Object(object) => found.push((item.line, object.clone())),
                    Value::Null => {}
                    _ => reader.mismatch(item, expected),
                }
            }
            found
        }
        _ => {
            reader.mismatch(node, expected);
            Vec::new()
        }
    }
}

/// A value as it would be written in JSON.
fn show(value: &SettingValue) -> String {
    match value {
        SettingValue::Absent => "null".to_owned(),
        SettingValue::Bool(value) => value.to_string(),
        SettingValue::Number(value) => value.to_string(),
        SettingValue::Fraction(value) => value.to_string(),
        SettingValue::Text(value) => format!("{value:?}"),
        SettingValue::List(items) => {
            let shown: Vec<String> = items.iter().map(show).collect();
            format!("[{}]", shown.join(", "))
        }
        SettingValue::Map(pairs) => {
            let pair = |(key, value): &(Text, SettingValue)| format!("{key:?}: {}", show(value));
            let shown: Vec<String> = pairs.iter().map(pair).collect();
            format!("{{{}}}", shown.join(", "))
        }
    }
}

/// A key as the tables have it: Consul also takes `EnableTagOverride` for `enable_tag_override`.
pub fn snake_case(key: &str) -> String {
    let chars: Vec<char> = key.chars().collect();
    let mut snake = String::with_capacity(key.len() + 4);
    for (at, c) in chars.iter().enumerate() {
        if c.is_uppercase() {
            let before = at.checked_sub(1).and_then(|before| chars.get(before));
            let after = chars.get(at + 1);
            let starts_word = before.is_some_and(|before| before.is_lowercase())
                || (before.is_some_and(|before| before.is_uppercase())
                    && after.is_some_and(|after| after.is_lowercase()));
            if starts_word {
                snake.push('_');
            }
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

/// The known key that is fewest edits away, if it is near enough to be what was meant.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    const KEY_BYTES_MAX: usize = 64;
    if key.len() > KEY_BYTES_MAX {
        return None;
    }
    let distance = |other: &&'static str| edits(key, other);
    let near = known.iter().copied().min_by_key(distance)?;
    (edits(key, near) <= 1 + key.len() / 4).then_some(near)
}

/// How many characters must be changed, added or removed to make `b` of `a`.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

// ---------------------------------------------------------------- plain values

impl Setting for bool {
    const KIND: &'static str = "a bool";
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        match &node.value {
            Value::Bool(value) => *self = *value,
            Value::Null => {}
            _ => reader.mismatch(node, "true or false"),
        }
    }
    fn value(&self) -> SettingValue {
        SettingValue::Bool(*self)
    }
}

impl Setting for String {
    const KIND: &'static str = "a string";
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        match &node.value {
            Value::Text(value) => self.clone_from(value),
            Value::Null => {}
            _ => reader.mismatch(node, Self::KIND),
        }
    }
    fn value(&self) -> SettingValue {
        SettingValue::Text(self.into())
    }
}

impl Setting for Secret {
    const KIND: &'static str = "a string, kept secret";
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        let mut text = String::new();
        text.read(node, reader);
        if node.value != Value::Null {
            *self = Secret::from(Text::from(text));
        }
    }
    fn value(&self) -> SettingValue {
        let shown = if self.reveal().is_empty() { "" } else { "hidden" };
        SettingValue::Text(shown.into())
    }
}

macro_rules! whole_numbers {
    ($($number:ty),*) => { $(
        impl Setting for $number {
            const KIND: &'static str = "a whole number";
            fn read(&mut self, node: &Node, reader: &mut Reader) {
                match &node.value {
                    Value::Number(text) => match whole(text).map(<$number>::try_from) {
                        Some(Ok(value)) => *self = value,
                        _ => reader.refuse(node, format_args!(
                            "expected a whole number from {} to {}, found {text}",
                            <$number>::MIN, <$number>::MAX
                        )),
                    },
                    Value::Null => {}
                    _ => reader.mismatch(node, Self::KIND),
                }
            }
            fn value(&self) -> SettingValue {
                SettingValue::Number(i64::try_from(*self).unwrap_or(i64::MAX))
            }
        }
    )* };
}
whole_numbers!(u16, u32, u64, i64);

fn whole(text: &str) -> Option<i128> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => i128::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

impl Setting for f64 {
    const KIND: &'static str = "a number";
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        match &node.value {
            Value::Number(text) => match text.parse() {
                Ok(value) => *self = value,
                Err(_) => reader.refuse(node, format_args!("expected a number, found {text}")),
            },
            Value::Null => {}
            _ => reader.mismatch(node, Self::KIND),
        }
    }
    fn value(&self) -> SettingValue {
        SettingValue::Fraction(*self)
    }
}

impl Setting for Duration {
    const KIND: &'static str = "a duration";
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        match &node.value {
            Value::Text(text) => match duration::parse(text) {
                Ok(value) => *self = value,
                Err(why) => reader.refuse(node, why),
            },
            Value::Null => {}
            _ => reader.mismatch(node, "a duration such as \"10s\" or \"1m30s\""),
        }
    }
    fn value(&self) -> SettingValue {
        SettingValue::Text(duration::show(*self).into())
    }
}

/// A port: a number, or switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Port(pub Option<u16>);

impl Port {
    /// A port that is on.
    pub const fn on(port: u16) -> Self {
        Port(Some(port))
    }

    /// No port.
    pub const OFF: Port = Port(None);
}

impl Setting for Port {
    const KIND: &'static str = "a port";
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        let mut number = 0i64;
        let Value::Number(_) = &node.value else {
            if node.value != Value::Null {
                reader.mismatch(node, "a port number");
            }
            return;
        };
        number.read(node, reader);
        match (number, u16::try_from(number)) {
            (-1, _) => *self = Port::OFF,
            (_, Ok(port)) => *self = Port::on(port),
            _ => reader.refuse(node, "a port is 0 (any free one) to 65535, or -1 (off)"),
        }
    }
    fn value(&self) -> SettingValue {
        SettingValue::Number(self.0.map_or(-1, i64::from))
    }
}

impl<T: Setting + Default> Setting for Option<T> {
    const KIND: &'static str = T::KIND;
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        if node.value != Value::Null {
            self.get_or_insert_default().read(node, reader);
        }
    }
    fn value(&self) -> SettingValue {
        self.as_ref().map_or(SettingValue::Absent, Setting::value)
    }
}

// ---------------------------------------------------------------- lists and maps

impl Setting for Vec<String> {
    const KIND: &'static str = "a list of strings";
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        match &node.value {
            Value::List(items) => {
                for item in items {
                    let mut text = String::new();
                    text.read(item, reader);
                    self.push(text);
                }
            }
            // Consul's HCL decoder takes one string for a list of one.
            Value::Text(text) => self.push(text.clone()),
            Value::Null => {}
            _ => reader.mismatch(node, Self::KIND),
        }
    }
    fn value(&self) -> SettingValue {
        SettingValue::List(self.iter().map(Setting::value).collect())
    }
}

impl<T: Setting + Default> Setting for BTreeMap<String, T> {
    const KIND: &'static str = "a map";
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        for (line, object) in objects(node, "an object", reader) {
            let entries = object.entries;
            match object.label {
                Some(label) => {
                    let value = Value::Object(Object { label: None, entries });
                    read_pair(self, &label, &Node { line, value }, reader);
                }
                None => {
                    for entry in &entries {
                        read_pair(self, &entry.key, &entry.node, reader);
                    }
                }
            }
        }
    }
    fn value(&self) -> SettingValue {
        SettingValue::Map(self.iter().map(|(key, value)| (key.into(), value.value())).collect())
    }
}

fn read_pair<T: Setting + Default>(
    map: &mut BTreeMap<String, T>,
    key: &str,
    node: &Node,
    reader: &mut Reader,
) {
    // A later file replaces the value of a key as a whole.
    let mut value = T::default();
    reader.within(key, |reader| value.read(node, reader));
    map.insert(key.to_owned(), value);
}

/// A list of sections: each occurrence of the key, and each item of a list, adds one.
pub trait Listed: Setting + Default {
    /// What one item is called in an error.
    const ITEM: &'static str;

    /// Takes the name of `service "web" { ... }`.
    fn label(&mut self, label: &str);

    /// Whether the item makes sense by itself, told while its line is known.
    fn verify(&self) -> Result<(), String> {
        Ok(())
    }
}

impl<T: Listed> Setting for Vec<T> {
    const KIND: &'static str = T::ITEM;
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        for (line, mut object) in objects(node, T::ITEM, reader) {
            let mut item = T::default();
            if let Some(label) = object.label.take() {
                item.label(&label);
            }
            let node = Node { line, value: Value::Object(object) };
            item.read(&node, reader);
            if let Err(why) = item.verify() {
                reader.refuse(&node, why);
            }
            self.push(item);
        }
    }
    fn value(&self) -> SettingValue {
        SettingValue::List(self.iter().map(Setting::value).collect())
    }
}

/// CIDR blocks and addresses are read as text and checked here, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The address of the block.
    pub address: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
}

impl Network {
    /// Reads `10.0.0.0/8`.
    pub fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let prefix: u8 = prefix.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Network { address, prefix })
    }
}

impl Setting for Vec<Network> {
    const KIND: &'static str = "a list of CIDR blocks";
    fn read(&mut self, node: &Node, reader: &mut Reader) {
        let mut texts: Vec<String> = Vec::new();
        texts.read(node, reader);
        for text in texts {
            match Network::parse(&text) {
                Some(network) => self.push(network),
                None => reader.refuse(node, format_args!("{text:?} is not a CIDR block")),
            }
        }
    }
    fn value(&self) -> SettingValue {
        let text = |network: &Network| format!("{}/{}", network.address, network.prefix);
        SettingValue::List(self.iter().map(|own| SettingValue::Text(text(own).into())).collect())
    }
}

/// Declares a section of the configuration; see the head of this file.
macro_rules! settings {
    (
        $(#[doc = $about:literal])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $field:ident $(($key:literal))? : $ty:ty = $default:expr,
            )*
        }
        $(aliases { $( $alias:literal => $($path:ident).+ ),* $(,)? })?
        $(without_effect { $( $idle:literal: $why:literal ),* $(,)? })?
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[doc = $doc])* pub $field: $ty, )*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $( $field: $default, )* }
            }
        }

        impl $name {
            /// Every key that may stand in this section.
            const KEYS: &'static [&'static str] = &[
                $( $crate::config::setting::key_of!($field $(, $key)?), )*
                $( $( $alias, )* )?
                $( $( $idle, )* )?
            ];

            fn read_entry(
                &mut self,
                entry: &$crate::config::syntax::Entry,
                reader: &mut $crate::config::setting::Reader,
            ) {
                use $crate::config::setting::Setting;
                let key = $crate::config::setting::snake_case(&entry.key);
                reader.within(&key, |reader| {
                    $( if key == $crate::config::setting::key_of!($field $(, $key)?) {
                        return self.$field.read(&entry.node, reader);
                    } )*
                    $( $( if key == $alias {
                        return self.$($path).+.read(&entry.node, reader);
                    } )* )?
                });
                if !Self::KEYS.contains(&key.as_str()) {
                    reader.unknown(entry.line, &entry.key, Self::KEYS);
                }
            }
        }

        impl $crate::config::setting::Setting for $name {
            const KIND: &'static str = "a section";

            fn read(
                &mut self,
                node: &$crate::config::syntax::Node,
                reader: &mut $crate::config::setting::Reader,
            ) {
                for (_, object) in $crate::config::setting::objects(node, "an object", reader) {
                    if let Some(label) = &object.label {
                        let what = format!("a name ({label:?}) has no meaning here");
                        reader.refuse(node, what);
                    }
                    for entry in &object.entries {
                        self.read_entry(entry, reader);
                    }
                }
            }

            fn value(&self) -> muster_registry::operator::SettingValue {
                muster_registry::operator::SettingValue::Map(vec![
                    $( (
                        $crate::config::setting::key_of!($field $(, $key)?).into(),
                        self.$field.value(),
                    ), )*
                ])
            }

            fn list(
                &self,
                path: &str,
                sentence: &str,
                keys: &mut Vec<$crate::config::setting::Key>,
            ) {
                #[allow(unused_imports, reason = "a section without other spellings makes no Key")]
                use $crate::config::setting::Key;
                let _ = sentence;
                let join = |key: &str| match path {
                    "" => key.to_owned(),
                    path => format!("{path}.{key}"),
                };
                $( self.$field.list(
                    &join($crate::config::setting::key_of!($field $(, $key)?)),
                    concat!($($doc),*),
                    keys,
                ); )*
                $( $( keys.push(Key {
                    path: join($alias),
                    kind: "another spelling",
                    default: String::new(),
                    sentence: format!(
                        "Another spelling of `{}`.",
                        join(&[$(stringify!($path)),+].join("."))
                    ),
                }); )* )?
                $( $( keys.push(Key {
                    path: join($idle),
                    kind: "anything",
                    default: String::new(),
                    sentence: $why.to_owned(),
                }); )* )?
            }
        }
    };
}

/// The key of a field: its name, unless another is given.
macro_rules! key_of {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident, $key:literal) => {
        $key
    };
}

pub(crate) use {key_of, settings};
