//! `/v1/txn`: several steps that are done together or not at all.
//!
//! A list that only looks is asked as a question, with the client's terms of freshness; any other
//! is submitted as a command. Steps that cannot be right whatever the state is are told first, and
//! nothing is tried then.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode};
use muster_model::answer;
use muster_model::command::Operation;
use muster_model::limits::OPERATIONS_MAX;
use muster_model::outcome::{Denial, StepResult};
use muster_model::query::OperationKey;
use muster_model::{Command, Outcome, Query};
use serde::Serialize;

use crate::bodies::operation::{self, Fault};
use crate::decode::{self, Object};
use crate::failure::Failure;
use crate::front::Front;
use crate::reading::{Terms, add_freshness, mismatch};
use crate::reply::{Reply, json_reply};
use crate::request::Request;
use crate::routes::{Later, Route};
use crate::shapes::check::CheckShape;
use crate::shapes::instance::InstanceShape;
use crate::shapes::node::NodeShape;
use crate::shapes::obstacle;
use crate::shapes::pair::PairShape;
use crate::shapes::standing::StandingShape;

pub(crate) const ROUTES: &[Route] =
    &[Route::later(Method::PUT, "/v1/txn", "Takes several steps, or none of them.", transact)];

fn transact(front: Arc<Front>, mut request: Request) -> Later {
    Box::pin(async move {
        let body = body(&front, &mut request).await?;
        let operations = match operations(&body, front.settings().value_bytes_max)? {
            Ok(operations) => operations,
            Err(obstacles) => return Ok(conflict(&request, obstacles, None)),
        };
        if operations.iter().all(Operation::is_read) {
            look(&front, &request, operations).await
        } else {
            write(&front, &request, operations).await
        }
    })
}

/// Steps that only look.
async fn look(
    front: &Front,
    request: &Request,
    operations: Vec<Operation>,
) -> Result<Reply, Failure> {
    let terms = Terms { seen: 0, ..Terms::parse(front, request)? };
    let asked = operations.iter().cloned().map(OperationKey).collect();
    let query = Query::Transact { operations: asked };
    let answered = front.read(&request.call(front), &query, &terms).await?;
    let answer::Body::Transacted(result) = &answered.answer.body else { return Err(mismatch()) };
    let standing = StandingShape::new(&answered.standing, "");
    let mut reply = match result {
        Ok(results) => done(front, request, results, Some(standing)),
        Err(denials) => conflict(request, obstacles(&operations, denials), Some(standing)),
    };
    add_freshness(&mut reply, &answered.standing);
    Ok(reply)
}

/// Steps of which some write.
async fn write(
    front: &Front,
    request: &Request,
    operations: Vec<Operation>,
) -> Result<Reply, Failure> {
    let command = Command::Transact { operations: operations.clone() };
    let committed = front.door().registry.submit(&request.call(front), command).await?;
    match committed.outcome {
        Outcome::Transacted(results) => Ok(done(front, request, &results, None)),
        Outcome::RolledBack(denials) => {
            Ok(conflict(request, obstacles(&operations, &denials), None))
        }
        Outcome::Denied(denial) => Err(denial.into()),
        _ => Err(mismatch()),
    }
}

// ------------------------------------------------------------------------------------------------
// Bodies
// ------------------------------------------------------------------------------------------------

/// The body, if it is not larger than a transaction may be.
async fn body(front: &Front, request: &mut Request) -> Result<bytes::Bytes, Failure> {
    let settings = front.settings();
    let n_bytes_max = settings.transaction_bytes_max.max(settings.value_bytes_max);
    request.body_up_to(n_bytes_max).await.map_err(|failure| {
        if failure.status != StatusCode::PAYLOAD_TOO_LARGE {
            return failure;
        }
        let size = request.promised_bytes().map_or(String::new(), |n| format!("({n} bytes)"));
        let text = format!(
            "Request body{size} too large, max size: {n_bytes_max} bytes. \
             The transaction is too large; see txn_max_req_len."
        );
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    })
}

/// The steps that a body lists, or what is wrong with some of them.
///
/// # Errors
/// Where the body as a whole is not what it should be.
fn operations(
    body: &[u8],
    value_bytes_max: usize,
) -> Result<Result<Vec<Operation>, Vec<Obstacle>>, Failure> {
    let objects = Object::parse_list(body, "api.TxnOps", "TxnOp").map_err(reworded)?;
    if objects.len() > OPERATIONS_MAX {
        let n_operations = objects.len();
        return Err(Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("Transaction contains too many operations ({n_operations} > {OPERATIONS_MAX})"),
        ));
    }
    let (mut operations, mut obstacles) = (Vec::with_capacity(objects.len()), Vec::new());
    for object in objects {
        match operation::parse(object, value_bytes_max) {
            Ok(None) => {}
            Ok(Some(operation)) => operations.push(operation),
            Err(Fault::Impossible(what)) => {
                obstacles.push(Obstacle { op_index: operations.len() + obstacles.len(), what });
            }
            Err(Fault::Malformed(failure)) => return Err(reworded(failure)),
        }
    }
    Ok(if obstacles.is_empty() { Ok(operations) } else { Err(obstacles) })
}

/// This endpoint begins its refusals of a body with other words than all others.
fn reworded(failure: Failure) -> Failure {
    match failure.text.strip_prefix(decode::REFUSED) {
        Some(problem) => Failure::bad_request(format!("Failed to parse body: {problem}")),
        None => failure,
    }
}

// ------------------------------------------------------------------------------------------------
// Replies
// ------------------------------------------------------------------------------------------------

/// What one step gave back.
#[derive(Serialize)]
enum ResultShape<'a> {
    #[serde(rename = "KV")]
    Pair(PairShape<'a>),
    Node(NodeShape<'a>),
    #[serde(rename = "Service")]
    Instance(InstanceShape<'a>),
    Check(CheckShape<'a>),
}

/// A step that stood in the way.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Obstacle {
    op_index: usize,
    what: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReplyShape<'a> {
    results: Option<Vec<ResultShape<'a>>>,
    errors: Option<Vec<Obstacle>>,
    #[serde(flatten)]
    standing: Option<StandingShape>,
}

fn done(
    front: &Front,
    request: &Request,
    results: &[StepResult],
    standing: Option<StandingShape>,
) -> Reply {
    let results = results.iter().map(|result| shape(result, front.datacenter())).collect();
    json_reply(&ReplyShape { results: Some(results), errors: None, standing }, request.style)
}

fn shape<'a>(result: &'a StepResult, datacenter: &'a str) -> ResultShape<'a> {
    match result {
        StepResult::Pair(pair) => ResultShape::Pair(PairShape::new(pair)),
        StepResult::Node(node) => ResultShape::Node(NodeShape::new(node, datacenter)),
        StepResult::Instance(instance) => ResultShape::Instance(InstanceShape::new(instance)),
        StepResult::Check { node, service, tags, check } => {
            ResultShape::Check(CheckShape::new(node, check, None).about(service, tags))
        }
    }
}

fn conflict(request: &Request, obstacles: Vec<Obstacle>, standing: Option<StandingShape>) -> Reply {
    const JSON_UTF8: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
    let shape = ReplyShape { results: None, errors: Some(obstacles), standing };
    let mut reply = json_reply(&shape, request.style);
    *reply.status_mut() = StatusCode::CONFLICT;
    reply.headers_mut().insert(http::header::CONTENT_TYPE, JSON_UTF8);
    reply
}

fn obstacles(operations: &[Operation], denials: &[(u32, Denial)]) -> Vec<Obstacle> {
    let tell = |(position, denial): &(u32, Denial)| {
        let op_index = *position as usize;
        let what = obstacle::words(operations.get(op_index), denial);
        Obstacle { op_index, what }
    };
    denials.iter().map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> Failure {
        operations(body.as_bytes(), 10).err().expect("it is refused")
    }

    #[test]
    fn a_body_is_a_list_of_known_steps() {
        let text = |body| refused(body).text;
        let start = "Failed to parse body: ";
        assert_eq!(text(""), format!("{start}EOF"));
        assert_eq!(text(r#"[{"Foo":{}}]"#), format!(r#"{start}json: unknown field "Foo""#));
        assert_eq!(
            text("{}"),
            format!("{start}json: cannot unmarshal object into Go value of type api.TxnOps")
        );
        for nothing in ["[]", "null", "[{}]"] {
            let operations = operations(nothing.as_bytes(), 10);
            assert!(matches!(operations, Ok(Ok(list)) if list.is_empty()), "{nothing}");
        }
    }

    #[test]
    fn the_number_of_steps_and_each_value_are_bounded() {
        let step = r#"{"KV":{"Verb":"get","Key":"a"}}"#;
        let failure = refused(&format!("[{}]", vec![step; 129].join(",")));
        assert_eq!(failure.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(failure.text, "Transaction contains too many operations (129 > 128)");
        let failure = refused(r#"[{"KV":{"Verb":"set","Key":"a","Value":"YWFhYWFhYWFhYWE="}}]"#);
        assert_eq!(failure.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(failure.text, r#"Value for key "a" is too large (11 > 10 bytes)"#);
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(
            area in "KV|Node|Service|Check|kv",
            verb in "set|cas|get|delete-cas|lock|check-index|nope",
            field in r#""(Key|Value|Flags|Index|Session|Node|Service|Check)":("[a-zA-Z=!]{0,6}"|-?[0-9]{1,20}|null|\{\}|\{"(ID|Node|Service|CheckID|ModifyIndex)":("a"|1)\})"#,
        ) {
            let body = format!(r#"[{{"{area}":{{"Verb":"{verb}",{field}}}}}]"#);
            let _ = operations(body.as_bytes(), 10);
        }
    }
}
