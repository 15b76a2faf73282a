//! Steps of a transaction in request bodies.

use base64::DecodeError;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use muster_model::command::{ObjectVerb, Operation, PairOperation, PairVerb, PutTerms};
use muster_model::limits::PAIR_KEY_BYTES_MAX;
use muster_model::pair::Blob;
use muster_model::{Index, Node, Text};
use serde_json::Value;

use crate::bodies::check::{CatalogCheck, catalog_check};
use crate::bodies::instance;
use crate::bodies::registration::{catalog_instance, check_uuid, named};
use crate::decode::{Object, refused};
use crate::failure::Failure;

/// What is wrong with a step.
pub(crate) enum Fault {
    /// The body as a whole is refused.
    Malformed(Failure),
    /// The step can never be taken.
    Impossible(String),
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Fault {
        Fault::Malformed(failure)
    }
}

/// The step that an object names; nothing where it names none.
///
/// # Errors
/// Where the step is malformed, or can never be taken.
pub(crate) fn parse(
    mut object: Object,
    value_bytes_max: usize,
) -> Result<Option<Operation>, Fault> {
    let pair = object.object("KV", "KVTxnOp")?;
    let node = object.object("Node", "NodeTxnOp")?;
    let instance = object.object("Service", "ServiceTxnOp")?;
    let check = object.object("Check", "CheckTxnOp")?;
    object.finish()?;
    Ok(Some(if let Some(step) = pair {
        pair_step(step, value_bytes_max)?
    } else if let Some(step) = node {
        node_step(step)?
    } else if let Some(step) = instance {
        instance_step(step)?
    } else if let Some(step) = check {
        check_step(step)?
    } else {
        return Ok(None);
    }))
}

// ------------------------------------------------------------------------------------------------
// Pairs
// ------------------------------------------------------------------------------------------------

fn pair_step(mut step: Object, value_bytes_max: usize) -> Result<Operation, Fault> {
    let (word, key) = (step.text("Verb")?, step.text("Key")?);
    let value = value(&mut step)?;
    let flags = step.natural("Flags")?;
    let (index, session) = (step.natural("Index")?, step.text("Session")?);
    for ignored in ["Namespace", "Partition"] {
        step.take(ignored);
    }
    step.finish()?;
    if value.len() > value_bytes_max {
        let text = format!(
            "Value for key {key:?} is too large ({} > {value_bytes_max} bytes)",
            value.len()
        );
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text).into());
    }
    if key.len() > PAIR_KEY_BYTES_MAX {
        let text = format!("Key too long, max size: {PAIR_KEY_BYTES_MAX} bytes");
        return Err(Failure::bad_request(text).into());
    }
    let Some(verb) = pair_verb(&word, index, session) else {
        return Err(Fault::Impossible(format!("unknown KV operation: {word}")));
    };
    if key.is_empty() && verb != PairVerb::DeleteUnder {
        return Err(Fault::Impossible("Must provide key".to_owned()));
    }
    Ok(Operation::Pair(PairOperation { verb, key, value, flags }))
}

fn pair_verb(word: &str, index: Index, session: Text) -> Option<PairVerb> {
    Some(match word {
        "set" => PairVerb::Put(PutTerms::Always),
        "cas" => PairVerb::Put(PutTerms::IfIndex(index)),
        "lock" => PairVerb::Put(PutTerms::Acquire(session)),
        "unlock" => PairVerb::Put(PutTerms::Release(session)),
        "delete" => PairVerb::Delete,
        "delete-cas" => PairVerb::DeleteIfIndex(index),
        "delete-tree" => PairVerb::DeleteUnder,
        "get" => PairVerb::Get,
        "get-or-empty" => PairVerb::GetOrEmpty,
        "get-tree" => PairVerb::GetUnder,
        "check-session" => PairVerb::RequireSession(session),
        "check-index" => PairVerb::RequireIndex(index),
        "check-not-exists" => PairVerb::RequireAbsent,
        _ => return None,
    })
}

fn value(step: &mut Object) -> Result<Blob, Failure> {
    let text = match step.take("Value") {
        None => return Ok(Blob::default()),
        Some(Value::String(text)) => text,
        Some(_) => {
            return Err(refused(
                "json: cannot unmarshal into Go struct field KVTxnOp.KV.Value of type []uint8",
            ));
        }
    };
    let bytes = BASE64_STANDARD.decode(&text).map_err(|error| {
        let at = match error {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => text.len(),
        };
        refused(format!("illegal base64 data at input byte {at}"))
    })?;
    Ok(Blob::from(&*bytes))
}

// ------------------------------------------------------------------------------------------------
// Nodes, instances, checks
// ------------------------------------------------------------------------------------------------

fn node_step(mut step: Object) -> Result<Operation, Fault> {
    let word = step.text("Verb")?;
    let object = step.object("Node", "Node")?;
    step.finish()?;
    let (mut node, mut index) = (Node::default(), 0);
    if let Some(mut object) = object {
        node = Node {
            id: object.text("ID")?,
            name: object.text("Node")?,
            address: object.text("Address")?,
            tagged_addresses: object.meta("TaggedAddresses")?,
            meta: object.meta("Meta")?,
            locality: instance::locality(&mut object)?,
            ..Node::default()
        };
        index = object.natural("ModifyIndex")?;
        for ignored in ["Datacenter", "CreateIndex", "Partition", "PeerName"] {
            object.take(ignored);
        }
        object.finish()?;
    }
    let verb = object_verb(&word, index).ok_or_else(|| unknown("node", &word))?;
    if is_put(verb) {
        let problem = if node.name.is_empty() {
            Some("Must provide node".to_owned())
        } else if !node.id.is_empty() {
            check_uuid(&node.id).err().map(|problem| format!("Bad node ID: {problem}"))
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(Fault::Impossible(problem));
        }
    }
    Ok(Operation::Node { verb, node })
}

fn instance_step(mut step: Object) -> Result<Operation, Fault> {
    let (word, node) = (step.text("Verb")?, step.text("Node")?);
    let object = step.object("Service", "AgentService")?;
    for ignored in ["Namespace", "Partition"] {
        step.take(ignored);
    }
    step.finish()?;
    let Some(mut object) = object else {
        return Err(Fault::Impossible("Must provide service".to_owned()));
    };
    let index = object.natural("ModifyIndex")?;
    let instance = catalog_instance(&mut object)?;
    object.finish()?;
    let verb = object_verb(&word, index).ok_or_else(|| unknown("service", &word))?;
    let instance = if is_put(verb) {
        named(instance).map_err(|failure| Fault::Impossible(failure.text.into_owned()))?
    } else {
        instance
    };
    Ok(Operation::Instance { verb, node, instance })
}

fn check_step(mut step: Object) -> Result<Operation, Fault> {
    let word = step.text("Verb")?;
    let object = step.object("Check", "HealthCheck")?;
    step.finish()?;
    let Some(mut object) = object else {
        return Err(Fault::Impossible("Must provide check".to_owned()));
    };
    let index = object.natural("ModifyIndex")?;
    let is_typed = object.has("Type");
    let CatalogCheck { node, mut check } = catalog_check(&mut object)?;
    object.finish()?;
    if !is_typed {
        // Elsewhere the type follows from the definition; here Consul leaves it as it was given.
        check.kind = Text::default();
    }
    let verb = object_verb(&word, index).ok_or_else(|| unknown("check", &word))?;
    Ok(Operation::Check { verb, node, check })
}

fn object_verb(word: &str, index: Index) -> Option<ObjectVerb> {
    Some(match word {
        "get" => ObjectVerb::Get,
        "set" => ObjectVerb::Put,
        "cas" => ObjectVerb::PutIfIndex(index),
        "delete" => ObjectVerb::Delete,
        "delete-cas" => ObjectVerb::DeleteIfIndex(index),
        _ => return None,
    })
}

fn is_put(verb: ObjectVerb) -> bool {
    matches!(verb, ObjectVerb::Put | ObjectVerb::PutIfIndex(_))
}

fn unknown(what: &str, word: &str) -> Fault {
    Fault::Impossible(format!("unknown {what} operation: {word}"))
}
