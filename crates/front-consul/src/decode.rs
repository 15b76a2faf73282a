//! Request bodies: JSON as Go's decoder takes it.
//!
//! Keys match without regard to case, some also in a snake-case spelling; `null` is as good as
//! absent; a field nobody knows, or of another kind, is refused by name in Go's words. Durations
//! are texts in Go's notation or numbers of nanoseconds.
//!
//! A body is taken apart field by field: each field is asked for once by the code that knows what
//! it is for, and what is left over at the end was unknown. So there is no second list of fields.

use std::time::Duration;

use http::StatusCode;
use muster_model::{Meta, Text};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::duration;
use crate::failure::Failure;

/// A JSON object that is being taken apart.
pub(crate) struct Object {
    fields: Map<String, Value>,
    /// Go's name of the type, and the way to it from the body: for errors.
    name: &'static str,
    path: String,
}

/// The words with which every refusal of a body begins.
pub(crate) const REFUSED: &str = "Request decode failed: ";

/// A refusal of a body.
pub(crate) fn refused(problem: impl std::fmt::Display) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, format!("{REFUSED}{problem}"))
}

/// The first JSON value of a body. What follows it is not looked at, as in Go.
pub(crate) fn parse(body: &[u8]) -> Result<Value, Failure> {
    let mut decoder = serde_json::Deserializer::from_slice(body);
    Value::deserialize(&mut decoder).map_err(|error| {
        if body.iter().all(u8::is_ascii_whitespace) {
            refused("EOF")
        } else if error.is_eof() {
            refused("unexpected EOF")
        } else {
            refused(error)
        }
    })
}

impl Object {
    /// The object that a body is. `name` is Go's name of its type, package included.
    pub(crate) fn parse(body: &[u8], name: &'static str) -> Result<Object, Failure> {
        match parse(body)? {
            Value::Object(fields) => Ok(Object::of(fields, name, String::new())),
            Value::Null => Ok(Object::of(Map::new(), name, String::new())),
            other => {
                let kind = kind_of(&other);
                Err(refused(format!("json: cannot unmarshal {kind} into Go value of type {name}")))
            }
        }
    }

    /// The objects that a body lists. `name` is Go's name of the list's type, `item` of an object's.
    pub(crate) fn parse_list(
        body: &[u8],
        name: &'static str,
        item: &'static str,
    ) -> Result<Vec<Object>, Failure> {
        let mismatch = |found: &Value, name| {
            let kind = kind_of(found);
            refused(format!("json: cannot unmarshal {kind} into Go value of type {name}"))
        };
        let values = match parse(body)? {
            Value::Array(values) => values,
            Value::Null => Vec::new(),
            other => return Err(mismatch(&other, name)),
        };
        values
            .into_iter()
            .map(|value| match value {
                Value::Object(fields) => Ok(Object::of(fields, item, String::new())),
                Value::Null => Ok(Object::of(Map::new(), item, String::new())),
                other => Err(mismatch(&other, item)),
            })
            .collect()
    }

    fn of(fields: Map<String, Value>, name: &'static str, path: String) -> Object {
        Object { fields, name, path }
    }

    /// Takes a field, under its name or another spelling of it; `null` is absent.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        let mut found = None;
        while let Some(own) = self.fields.keys().find(|own| own.eq_ignore_ascii_case(key)).cloned()
        {
            found = self.fields.remove(&own).filter(|value| !value.is_null()).or(found);
        }
        found
    }

    /// Whether a field is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.fields.iter().any(|(own, value)| own.eq_ignore_ascii_case(key) && !value.is_null())
    }

    /// Whether no field is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.values().all(Value::is_null)
    }

    /// Refuses fields that nobody took.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(key) => Err(refused(format!("json: unknown field {key:?}"))),
        }
    }

    /// A text; empty where it is absent.
    pub(crate) fn text(&mut self, key: &str) -> Result<Text, Failure> {
        match self.take(key) {
            None => Ok(Text::default()),
            Some(Value::String(text)) => Ok(text.into()),
            Some(other) => Err(self.mismatch(key, &other, "string")),
        }
    }

    /// A claim; false where it is absent.
    pub(crate) fn flag(&mut self, key: &str) -> Result<bool, Failure> {
        match self.take(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(self.mismatch(key, &other, "bool")),
        }
    }

    /// A whole number; 0 where it is absent.
    pub(crate) fn integer(&mut self, key: &str) -> Result<i64, Failure> {
        match self.take(key) {
            None => Ok(0),
            Some(value) => value.as_i64().ok_or_else(|| self.mismatch(key, &value, "int")),
        }
    }

    /// A whole number that is not negative; 0 where it is absent.
    pub(crate) fn natural(&mut self, key: &str) -> Result<u64, Failure> {
        match self.take(key) {
            None => Ok(0),
            Some(value) => value.as_u64().ok_or_else(|| self.mismatch(key, &value, "uint64")),
        }
    }

    /// A port; 0 where it is absent.
    pub(crate) fn port(&mut self, key: &str) -> Result<u16, Failure> {
        let number = self.integer(key)?;
        u16::try_from(number)
            .map_err(|_| Failure::bad_request(format!("Invalid {key}: {number} is not a port")))
    }

    /// A fraction; 0 where it is absent.
    pub(crate) fn fraction(&mut self, key: &str) -> Result<f64, Failure> {
        match self.take(key) {
            None => Ok(0.0),
            Some(value) => value.as_f64().ok_or_else(|| self.mismatch(key, &value, "float64")),
        }
    }

    /// A list of texts; empty where it is absent.
    pub(crate) fn texts(&mut self, key: &str) -> Result<Vec<Text>, Failure> {
        let Some(value) = self.take(key) else { return Ok(Vec::new()) };
        let Value::Array(items) = value else {
            return Err(self.mismatch(key, &value, "[]string"));
        };
        items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text.into()),
                Value::Null => Ok(Text::default()),
                other => Err(self.mismatch(key, &other, "string")),
            })
            .collect()
    }

    /// Texts under text keys; empty where it is absent.
    pub(crate) fn meta(&mut self, key: &str) -> Result<Meta, Failure> {
        let Some(value) = self.take(key) else { return Ok(Meta::default()) };
        let Value::Object(facts) = value else {
            return Err(self.mismatch(key, &value, "map[string]string"));
        };
        let mut meta = Vec::with_capacity(facts.len());
        for (name, value) in facts {
            match value {
                Value::String(text) => meta.push((name, text)),
                Value::Null => meta.push((name, String::new())),
                other => return Err(self.mismatch(key, &other, "string")),
            }
        }
        Ok(meta.into_iter().collect())
    }

    /// A duration that is not negative; zero where it is absent.
    pub(crate) fn duration(&mut self, key: &str) -> Result<Duration, Failure> {
        Ok(Duration::from_nanos(self.nanos(key)?.max(0) as u64))
    }

    /// A duration in nanoseconds; 0 where it is absent.
    pub(crate) fn nanos(&mut self, key: &str) -> Result<i64, Failure> {
        match self.take(key) {
            None => Ok(0),
            Some(Value::String(text)) if text.is_empty() => Ok(0),
            Some(Value::String(text)) => duration::parse_nanos(&text).map_err(refused),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(number as i64),
                None => Err(self.mismatch(key, &value, "time.Duration")),
            },
        }
    }

    /// An object; nothing where it is absent. `name` is Go's name of its type.
    pub(crate) fn object(
        &mut self,
        key: &str,
        name: &'static str,
    ) -> Result<Option<Object>, Failure> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(Object::of(fields, name, self.way_to(key)))),
            Some(other) => Err(self.mismatch(key, &other, name)),
        }
    }

    /// A list of objects; empty where it is absent.
    pub(crate) fn objects(
        &mut self,
        key: &str,
        name: &'static str,
    ) -> Result<Vec<Object>, Failure> {
        let Some(value) = self.take(key) else { return Ok(Vec::new()) };
        let Value::Array(items) = value else { return Err(self.mismatch(key, &value, name)) };
        items
            .into_iter()
            .filter(|item| !item.is_null())
            .map(|item| match item {
                Value::Object(fields) => Ok(Object::of(fields, name, self.way_to(key))),
                other => Err(self.mismatch(key, &other, name)),
            })
            .collect()
    }

    /// Objects under text keys; empty where it is absent.
    pub(crate) fn objects_by_name(
        &mut self,
        key: &str,
        name: &'static str,
    ) -> Result<Vec<(Text, Object)>, Failure> {
        let Some(value) = self.take(key) else { return Ok(Vec::new()) };
        let Value::Object(items) = value else { return Err(self.mismatch(key, &value, name)) };
        items
            .into_iter()
            .map(|(own, item)| match item {
                Value::Object(fields) => {
                    Ok((own.into(), Object::of(fields, name, self.way_to(key))))
                }
                other => Err(self.mismatch(key, &other, name)),
            })
            .collect()
    }

    fn way_to(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn mismatch(&self, key: &str, found: &Value, wanted: &str) -> Failure {
        let kind = match found {
            Value::Number(number) if wanted.contains("int") => format!("number {number}"),
            other => kind_of(other).to_owned(),
        };
        let name = self.name.rsplit('.').next().unwrap_or(self.name);
        let way = self.way_to(key);
        refused(format!(
            "json: cannot unmarshal {kind} into Go struct field {name}.{way} of type {wanted}"
        ))
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(body: &str) -> Object {
        Object::parse(body.as_bytes(), "structs.RegisterRequest").unwrap()
    }

    fn text_of<T>(result: Result<T, Failure>) -> String {
        result.err().expect("it is refused").text.into_owned()
    }

    #[test]
    fn keys_match_without_regard_to_case_and_null_is_absent() {
        let mut object = object(r#"{"node":"a","ADDRESS":null,"nodeMeta":{"k":"v"}}"#);
        assert_eq!(object.text("Node").unwrap(), "a");
        assert_eq!(object.text("Address").unwrap(), "");
        assert_eq!(object.meta("NodeMeta").unwrap().find("k").unwrap(), "v");
        object.finish().unwrap();
    }

    #[test]
    fn what_nobody_knows_is_refused_by_name() {
        let text = text_of(object(r#"{"Nope":1}"#).finish());
        assert_eq!(text, r#"Request decode failed: json: unknown field "Nope""#);
    }

    #[test]
    fn another_kind_is_refused_with_field_and_type() {
        let prefix = "Request decode failed: json: cannot unmarshal";
        let field = "into Go struct field RegisterRequest";
        let text = text_of(object(r#"{"Node":1}"#).text("Node"));
        assert_eq!(text, format!("{prefix} number {field}.Node of type string"));
        let mut service = object(r#"{"Service":{"Port":"x","Tags":"x"}}"#);
        let mut service = service.object("Service", "structs.NodeService").unwrap().unwrap();
        let field = "into Go struct field NodeService.Service";
        assert_eq!(
            text_of(service.port("Port")),
            format!("{prefix} string {field}.Port of type int")
        );
        assert_eq!(
            text_of(service.texts("Tags")),
            format!("{prefix} string {field}.Tags of type []string")
        );
        let text = text_of(Object::parse(b"[]", "structs.RegisterRequest"));
        assert_eq!(text, format!("{prefix} array into Go value of type structs.RegisterRequest"));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        assert_eq!(text_of(parse(b"")), "Request decode failed: EOF");
        assert_eq!(text_of(parse(b"{")), "Request decode failed: unexpected EOF");
        assert!(text_of(parse(b"nope")).starts_with("Request decode failed: "));
    }

    #[test]
    fn durations_are_texts_or_nanoseconds() {
        let mut object = object(r#"{"a":"1m","b":5000000000,"c":"x"}"#);
        assert_eq!(object.duration("A").unwrap(), Duration::from_secs(60));
        assert_eq!(object.duration("B").unwrap(), Duration::from_secs(5));
        let text = text_of(object.duration("C"));
        assert_eq!(text, r#"Request decode failed: time: invalid duration "x""#);
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            if let Ok(mut object) = Object::parse(&body, "any") {
                let _ = (object.text("a"), object.meta("b"), object.duration("c"));
                let _ = object.finish();
            }
        }
    }
}
