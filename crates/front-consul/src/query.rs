//! `/v1/query`: stored questions, and asking them.
//!
//! The answer of an execution is shuffled for each who asks, so that the first instance is not
//! everybody's; where it is sorted by distance, only what the distance leaves open is chance. So it
//! is never kept, and, as in Consul, nobody waits for it to change.

use std::sync::Arc;

use http::{Method, StatusCode};
use muster_model::answer::{self, InstanceDetail, PreparedAnswer};
use muster_model::outcome::Denial;
use muster_model::{Command, Outcome, Query, Text};
use muster_registry::{Answered, Freshness};
use serde::Serialize;

use crate::bodies::prepared;
use crate::caching;
use crate::failure::Failure;
use crate::front::{Chance, Front};
use crate::parameters::parse_bool;
use crate::reading::{Form, Reading, Shaping, Terms, add_standing, consistency, mismatch};
use crate::reply::{Encoded, Reply, done, json_reply};
use crate::request::Request;
use crate::routes::{Later, Route};
use crate::shapes::instance::EntryShape;
use crate::shapes::prepared::{DnsShape, PreparedShape};
use crate::shapes::standing::StandingShape;

pub(crate) const ROUTES: &[Route] = &[
    Route::later(Method::POST, "/v1/query", "Stores a question.", create),
    Route::read("/v1/query", "All stored questions.", list),
    Route::later(
        Method::GET,
        "/v1/query/:id",
        "One stored question; with `/execute` behind it its answer, with `/explain` what it asks.",
        one,
    ),
    Route::later(Method::PUT, "/v1/query/:id", "Replaces a stored question.", update),
    Route::later(Method::DELETE, "/v1/query/:id", "Deletes a stored question.", delete),
];

const EXECUTE: &str = "/execute";
const EXPLAIN: &str = "/explain";
/// How a question says "the node of the agent that was asked".
const NEAR_AGENT: &str = "_agent";
/// How a question says "the node at the address of who asks".
const NEAR_CLIENT: &str = "_ip";
/// What these endpoints say of their index: there is none to wait for.
const NO_INDEX: u64 = 1;
/// How far down a list the node that is asked for may stand to be brought to its front.
const NEAREST_AMONG: usize = 10;

// ------------------------------------------------------------------------------------------------
// Stored questions
// ------------------------------------------------------------------------------------------------

#[derive(Serialize)]
struct Created<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
}

fn create(front: Arc<Front>, mut request: Request) -> Later {
    Box::pin(async move {
        let mut query = prepared::parse(&request.body().await?)?;
        if !query.id.is_empty() {
            return Err(Failure::internal("ID must be empty when creating a new prepared query"));
        }
        prepared::check(&query)?;
        query.id = front.chance().uuid();
        let id = query.id.clone();
        submit(&front, &request, Command::PutPreparedQuery { query, must_exist: false }).await?;
        Ok(json_reply(&Created { id: &id }, request.style))
    })
}

fn update(front: Arc<Front>, mut request: Request) -> Later {
    Box::pin(async move {
        let id = stored_id(&request)?;
        let mut query = prepared::parse(&request.body().await?)?;
        query.id = id;
        prepared::check(&query)?;
        submit(&front, &request, Command::PutPreparedQuery { query, must_exist: true }).await?;
        Ok(done())
    })
}

fn delete(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let id = stored_id(&request)?;
        submit(&front, &request, Command::DeletePreparedQuery { id }).await?;
        Ok(done())
    })
}

async fn submit(front: &Front, request: &Request, command: Command) -> Result<(), Failure> {
    let committed = front.door().registry.submit(&request.call(front), command).await?;
    match committed.outcome {
        Outcome::Done => Ok(()),
        Outcome::Denied(denial) => Err(not_stored(denial)),
        _ => Err(mismatch()),
    }
}

fn not_stored(denial: Denial) -> Failure {
    let text = match denial {
        Denial::UnknownPreparedQuery(id) => {
            format!("Cannot modify non-existent prepared query: '{id}'")
        }
        Denial::PreparedQueryNameTaken(name) => {
            format!("raft apply failed: name '{name}' aliases an existing query name")
        }
        Denial::Invalid(problem) => {
            format!("raft apply failed: failed compiling template: {problem}")
        }
        other => return other.into(),
    };
    Failure::internal(text)
}

/// The id of the question to be changed: names are for asking only.
fn stored_id(request: &Request) -> Result<Text, Failure> {
    let name = request.name();
    if name.ends_with(EXECUTE) || name.ends_with(EXPLAIN) {
        let text = "method not allowed; ask with GET";
        return Err(Failure::new(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    match check_id(name) {
        Ok(()) => Ok(name.into()),
        Err(failure) => {
            Err(Failure::internal(format!("Prepared Query lookup failed: {}", failure.text)))
        }
    }
}

fn check_id(id: &str) -> Result<(), Failure> {
    const UUID_LENGTH: usize = 36;
    if id.len() == UUID_LENGTH {
        return Ok(());
    }
    let text = "failed prepared query lookup: index error: UUID must be 36 characters";
    Err(Failure::internal(text))
}

fn list(front: &Front, request: &Request) -> Result<Reading, Failure> {
    const FORM: Form = Form { name: "query", make: shape_list };
    let query = Query::PreparedQueries { id: None };
    Ok(Reading::new(front, request, query, &FORM)?.relaxed(front, request).uncached())
}

fn shape_list(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::PreparedQueries(queries) = body else { return Err(mismatch()) };
    shaping.json(&queries.iter().map(|row| PreparedShape::new(row)).collect::<Vec<_>>())
}

fn shape_one(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    match body {
        answer::Body::PreparedQueries(queries) if queries.is_empty() => Err(not_found()),
        _ => shape_list(shaping, body),
    }
}

fn not_found() -> Failure {
    Failure::not_found("Query not found")
}

/// One question, its answer or its explanation, by how the path ends.
fn one(front: Arc<Front>, request: Request) -> Later {
    const FORM: Form = Form { name: "query/one", make: shape_one };
    Box::pin(async move {
        let name = request.name();
        if let Some(name) = name.strip_suffix(EXECUTE) {
            return execute(&front, &request, name).await;
        }
        if let Some(name) = name.strip_suffix(EXPLAIN) {
            return explain(&front, &request, name).await;
        }
        check_id(name)?;
        let query = Query::PreparedQueries { id: Some(name.into()) };
        let reading = Reading::new(&front, &request, query, &FORM)?;
        Ok(front.serve_reading(reading.relaxed(&front, &request).uncached()).await)
    })
}

// ------------------------------------------------------------------------------------------------
// Asking
// ------------------------------------------------------------------------------------------------

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AnswerShape<'a> {
    service: &'a str,
    nodes: Vec<EntryShape<'a>>,
    #[serde(rename = "DNS")]
    dns: DnsShape<'a>,
    datacenter: &'a str,
    peer_name: &'a str,
    failovers: u32,
    #[serde(flatten)]
    standing: StandingShape,
}

async fn execute(front: &Front, request: &Request, name: &str) -> Result<Reply, Failure> {
    let limit = limit(request)?;
    let wants_connect = wants_connect(request)?;
    let (terms, is_known) = execution_terms(front, request, name)?;
    let (answered, near) = execute_near(front, request, name, &terms).await?;
    let found = prepared_in(&answered)?.ok_or_else(not_found)?;
    let mut instances: Vec<&InstanceDetail> = found.instances.iter().collect();
    if wants_connect {
        instances.retain(|detail| crate::mesh::is_native(detail));
    }
    if !stands_somewhere(front, request, &near).await? {
        shuffle(&mut instances, front.chance());
    }
    bring_to_front(&mut instances, &near);
    instances.truncate(limit);
    let shape = AnswerShape {
        service: &found.query.service.service,
        nodes: instances.iter().map(|one| EntryShape::new(one, front.datacenter())).collect(),
        dns: DnsShape { ttl: &found.query.dns_ttl },
        datacenter: front.datacenter(),
        peer_name: "",
        failovers: 0,
        standing: standing(&answered),
    };
    let mut reply = json_reply(&shape, request.style);
    add_standing(&mut reply, &answered.standing, NO_INDEX);
    if terms.is_cached {
        let is_at_hand = is_known && answered.standing.freshness == Freshness::Stale;
        caching::mark(&mut reply, is_at_hand.then_some(answered.standing.last_contact));
    }
    Ok(reply)
}

/// On what terms a stored question is answered, and whether `?cached` has it answered from what is
/// at hand, if that is not too old.
fn execution_terms(front: &Front, request: &Request, name: &str) -> Result<(Terms, bool), Failure> {
    let mut terms = terms(front, request)?;
    let query = Query::ExplainPrepared { id_or_name: name.into() };
    let is_known = terms.is_cached
        && front.was_asked(&request.call(front), &query)
        && !terms.cache_control.must_revalidate;
    if is_known {
        terms.freshness = Freshness::Stale;
        terms.max_stale = terms.cache_control.max_age;
    }
    Ok((terms, is_known))
}

/// The answer of a stored question, with the node it is sorted from: the one that the request names,
/// else the question's own. A client's address stands for the node that has it, if there is one.
async fn execute_near(
    front: &Front,
    request: &Request,
    name: &str,
    terms: &Terms,
) -> Result<(Answered, Text), Failure> {
    let agent = &front.door().local.identity().node;
    let query =
        |near| Query::ExecutePrepared { id_or_name: name.into(), agent: agent.clone(), near };
    if let Some(near) = request.parameters.near(agent) {
        let near = if *near == *NEAR_CLIENT { client_node(front, request).await? } else { near };
        let answered = ask_on(front, request, &query(Some(near.clone())), terms).await?;
        return Ok((answered, near));
    }
    let answered = ask_on(front, request, &query(None), terms).await?;
    match prepared_in(&answered)?.map_or("", |found| &found.query.service.near) {
        NEAR_AGENT => Ok((answered, agent.clone())),
        NEAR_CLIENT => {
            let near = client_node(front, request).await?;
            Ok((ask_on(front, request, &query(Some(near.clone())), terms).await?, near))
        }
        near => {
            let near = Text::from(near);
            Ok((answered, near))
        }
    }
}

fn prepared_in(answered: &Answered) -> Result<Option<&PreparedAnswer>, Failure> {
    let answer::Body::Prepared(found) = &answered.answer.body else { return Err(mismatch()) };
    Ok(found.as_ref())
}

/// The node at the client's address; where there is none, a name that no node has, so that nothing
/// is sorted.
async fn client_node(front: &Front, request: &Request) -> Result<Text, Failure> {
    let Some(address) = request.client() else { return Ok(NEAR_CLIENT.into()) };
    let query = Query::AddressOwners { address: address.to_string().into() };
    let answered = ask(front, request, &query).await?;
    let answer::Body::Owners { nodes, .. } = &answered.answer.body else { return Err(mismatch()) };
    Ok(nodes.first().map_or_else(|| NEAR_CLIENT.into(), |node| node.name.clone()))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ExplanationShape<'a> {
    query: PreparedShape<'a>,
    #[serde(flatten)]
    standing: StandingShape,
}

async fn explain(front: &Front, request: &Request, name: &str) -> Result<Reply, Failure> {
    limit(request)?;
    let query = Query::ExplainPrepared { id_or_name: name.into() };
    let answered = ask(front, request, &query).await?;
    let answer::Body::PreparedQueries(found) = &answered.answer.body else {
        return Err(mismatch());
    };
    let found = found.first().ok_or_else(not_found)?;
    let shape =
        ExplanationShape { query: PreparedShape::new(found), standing: standing(&answered) };
    let mut reply = json_reply(&shape, request.style);
    add_standing(&mut reply, &answered.standing, NO_INDEX);
    Ok(reply)
}

/// The answer now, on the client's terms of freshness.
async fn ask(front: &Front, request: &Request, query: &Query) -> Result<Answered, Failure> {
    ask_on(front, request, query, &terms(front, request)?).await
}

async fn ask_on(
    front: &Front,
    request: &Request,
    query: &Query,
    terms: &Terms,
) -> Result<Answered, Failure> {
    front.read(&request.call(front), query, terms).await
}

/// The client's terms; nobody waits for a stored question to change.
fn terms(front: &Front, request: &Request) -> Result<Terms, Failure> {
    Ok(Terms { seen: 0, ..Terms::parse(front, request)?.relaxed(front, request) })
}

fn standing(answered: &Answered) -> StandingShape {
    StandingShape::new(&answered.standing, consistency(answered.standing.freshness))
}

/// Whether distances from a node are known, so that the answer is sorted by them.
async fn stands_somewhere(front: &Front, request: &Request, node: &Text) -> Result<bool, Failure> {
    if node.is_empty() {
        return Ok(false);
    }
    let query = Query::Coordinates { node: Some(node.clone()) };
    let answered = ask(front, request, &query).await?;
    let answer::Body::Coordinates(places) = &answered.answer.body else { return Err(mismatch()) };
    Ok(!places.is_empty())
}

/// How many instances are wished; a number below one stands for all.
fn limit(request: &Request) -> Result<usize, Failure> {
    let Some(text) = request.parameters.text("limit") else { return Ok(usize::MAX) };
    let number: i64 = text.parse().map_err(|_| {
        Failure::internal(format!("Bad limit: strconv.Atoi: parsing {text:?}: invalid syntax"))
    })?;
    Ok(usize::try_from(number).ok().filter(|number| *number > 0).unwrap_or(usize::MAX))
}

fn wants_connect(request: &Request) -> Result<bool, Failure> {
    let Some(text) = request.parameters.text("connect") else { return Ok(false) };
    parse_bool(text).ok_or_else(|| {
        let problem = format!("strconv.ParseBool: parsing {text:?}: invalid syntax");
        Failure::internal(format!("Error parsing 'connect' value: {problem}"))
    })
}

/// Every order is as likely as any other (Fisher and Yates).
fn shuffle<T>(items: &mut [T], chance: &Chance) {
    for end in (1..items.len()).rev() {
        items.swap(end, chance.below(end + 1));
    }
}

/// Brings an instance of this node to the front, where one is among the first.
fn bring_to_front(instances: &mut [&InstanceDetail], node: &str) {
    let among = instances.iter().take(NEAREST_AMONG);
    if let Some(at) = among.clone().position(|one| one.node.name.eq_ignore_ascii_case(node)) {
        instances.swap(0, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_as_likely_for_the_first() {
        let chance = Chance::new(7);
        let mut firsts = [0; 4];
        for _ in 0..4_000 {
            let mut items = [0, 1, 2, 3];
            shuffle(&mut items, &chance);
            firsts[items[0]] += 1;
        }
        assert!(firsts.iter().all(|n| (900..1_100).contains(n)), "{firsts:?}");
    }
}
