//! Documents in JSON and XML, both ways.
//!
//! Eureka's two notations carry the same tree: an attribute of XML is a member `@name` of JSON, and
//! the text of an element that has attributes is its member `$`. So both are read into one tree, a
//! [`serde_json::Value`], by [`parse`], and [`read`] makes an instance of that tree whatever the
//! notation was. What goes out is written member by member through [`write::Document`], which
//! knows the notations, in the order of `shapes`.

pub(crate) mod read;
pub(crate) mod shapes;
pub(crate) mod write;
mod xml;

use serde_json::Value;

/// The notation of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Notation {
    /// JSON.
    Json,
    /// XML.
    Xml,
}

/// A document that makes no sense. Nothing was done with it; the client must send another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Senseless(pub(crate) String);

/// The tree of a document, with its root element under its name.
///
/// # Errors
/// Says where it stops making sense, or which bound it breaks.
pub(crate) fn parse(bytes: &[u8], notation: Notation) -> Result<Value, Senseless> {
    match notation {
        Notation::Json => {
            serde_json::from_slice(bytes).map_err(|error| Senseless(error.to_string()))
        }
        Notation::Xml => {
            let text = std::str::from_utf8(bytes)
                .map_err(|_| Senseless("the document is not UTF-8".into()))?;
            xml::parse(text)
        }
    }
}
