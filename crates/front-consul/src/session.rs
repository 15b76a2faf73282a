//! `/v1/session`: the holders of locks.
//!
//! Clients look for texts here: a failure that starts with `Invalid Session TTL` makes Patroni ask
//! for the shortest lease that is allowed, and a 404 on renewal makes every client begin anew.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use muster_model::answer;
use muster_model::check::AGENT_CHECK_ID;
use muster_model::outcome::Denial;
use muster_model::session::{Behavior, SessionEnd};
use muster_model::{Command, LeaseId, Outcome, Query, Session, Text};
use muster_registry::Refusal;
use serde::Serialize;
use serde_json::Value;

use crate::decode::{Object, refused};
use crate::duration;
use crate::failure::Failure;
use crate::front::Front;
use crate::limits::SESSION_TTL_MAX;
use crate::reading::{Form, Reading, Shaping, Terms, mismatch};
use crate::reply::{Encoded, json_reply};
use crate::request::Request;
use crate::routes::{Later, Route};
use crate::shapes::session::{SessionShape, word};

pub(crate) const ROUTES: &[Route] = &[
    Route::later(Method::PUT, "/v1/session/create", "Creates a session.", create),
    Route::later(Method::PUT, "/v1/session/destroy/:id", "Ends a session.", destroy),
    Route::later(Method::PUT, "/v1/session/renew/:id", "Keeps a session's lease alive.", renew),
    Route::read("/v1/session/info/:id", "One session, as a list.", info),
    Route::read("/v1/session/node/:node", "The sessions of a node.", of_node),
    Route::read("/v1/session/list", "All sessions.", list),
];

/// How long a lock stays closed after a forced release where the client does not say.
const LOCK_DELAY_DEFAULT: Duration = Duration::from_secs(15);

// ------------------------------------------------------------------------------------------------
// Reading
// ------------------------------------------------------------------------------------------------

const SESSIONS: Form = Form { name: "session", make: shape_sessions };

fn info(front: &Front, request: &Request) -> Result<Reading, Failure> {
    let query = Query::Session { id: request.required_name("session")? };
    Ok(Reading::new(front, request, query, &SESSIONS)?.uncached())
}

fn of_node(front: &Front, request: &Request) -> Result<Reading, Failure> {
    let query = Query::Sessions { node: Some(request.required_name("node name")?) };
    Ok(Reading::new(front, request, query, &SESSIONS)?.uncached())
}

fn list(front: &Front, request: &Request) -> Result<Reading, Failure> {
    let query = Query::Sessions { node: None };
    Ok(Reading::new(front, request, query, &SESSIONS)?.uncached())
}

fn shape_sessions(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Sessions(sessions) = body else { return Err(mismatch()) };
    shaping.json(&sessions.iter().map(|row| SessionShape::new(row)).collect::<Vec<_>>())
}

// ------------------------------------------------------------------------------------------------
// Writing
// ------------------------------------------------------------------------------------------------

#[derive(Serialize)]
struct Created<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
}

fn create(front: Arc<Front>, mut request: Request) -> Later {
    Box::pin(async move {
        let body = request.body().await?;
        let mut session = session(&body, &front)?;
        let call = request.call(&front);
        loop {
            session.id = front.chance().uuid();
            let command = Command::CreateSession(session.clone());
            let committed = front.door().registry.submit(&call, command).await?;
            match committed.outcome {
                Outcome::Done => {
                    return Ok(json_reply(&Created { id: &session.id }, request.style));
                }
                // Another drew the same id: so rare that it will not happen twice.
                Outcome::Denied(Denial::SessionExists(_)) => {}
                Outcome::Denied(denial) => return Err(not_created(denial)),
                _ => return Err(mismatch()),
            }
        }
    })
}

fn not_created(denial: Denial) -> Failure {
    let problem = match denial {
        Denial::UnknownNode(_) => "Missing node registration".to_owned(),
        Denial::UnknownCheck(_, id) => format!("Missing check '{id}' registration"),
        Denial::CriticalCheck(id) => format!("Check '{id}' is in critical state"),
        other => other.to_string(),
    };
    Failure::internal(format!("apply failed: {problem}"))
}

fn destroy(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let id = request.required_name("session")?;
        let command = Command::EndSession { id, why: SessionEnd::Destroyed };
        front.door().registry.submit(&request.call(&front), command).await?;
        Ok(json_reply(&true, request.style))
    })
}

fn renew(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let id = request.required_name("session")?;
        let gone = || Failure::not_found(format!("Session id '{id}' not found"));
        let call = request.call(&front);
        front.door().registry.renew(&call, &LeaseId::Session(id.clone())).await.map_err(
            |refusal| match refusal {
                Refusal::Unknown(_) => gone(),
                other => other.into(),
            },
        )?;
        let query = Query::Session { id: id.clone() };
        let answered = front.read(&call, &query, &Terms::default()).await?;
        let answer::Body::Sessions(sessions) = &answered.answer.body else {
            return Err(mismatch());
        };
        let session = sessions.first().ok_or_else(gone)?;
        Ok(json_reply(&[SessionShape::new(session)], request.style))
    })
}

// ------------------------------------------------------------------------------------------------
// Bodies
// ------------------------------------------------------------------------------------------------

/// The session that a body asks for, without its id. Fields nobody knows are passed over here.
fn session(body: &[u8], front: &Front) -> Result<Session, Failure> {
    let body = if body.is_empty() { b"{}" } else { body };
    let mut object = Object::parse(body, "structs.Session")?;
    let (node_checks, older_checks) = checks(&mut object)?;
    let instance_checks = instance_checks(&mut object)?;
    let ttl_as_given = object.text("TTL")?;
    let node = object.text("Node")?;
    let own_node = &front.door().local.identity().node;
    Ok(Session {
        id: Text::default(),
        name: object.text("Name")?,
        node: if node.is_empty() { own_node.clone() } else { node },
        lock_delay: lock_delay(&mut object)?,
        behavior: behavior(&object.text("Behavior")?)?,
        ttl: ttl(&ttl_as_given, front.settings().session_ttl_min)?,
        node_checks: node_checks.into(),
        instance_checks: instance_checks.into(),
        ttl_as_given,
        older_checks: older_checks.into(),
    })
}

/// The checks of the node that it rests on, and those under their older name, `Checks`. An empty
/// list of the older ones stands for no checks at all; where it only repeats what is usual, or the
/// others are none, it says nothing.
fn checks(object: &mut Object) -> Result<(Vec<Text>, Vec<Text>), Failure> {
    let (names_older, names_node) = (object.has("Checks"), object.has("NodeChecks"));
    let older = object.texts("Checks")?;
    let given = object.texts("NodeChecks")?;
    let node_checks = if names_node { given } else { vec![AGENT_CHECK_ID.into()] };
    let is_usual = !names_older || matches!(&*older, [only] if *only == *AGENT_CHECK_ID);
    Ok(match (is_usual, older.is_empty(), node_checks.is_empty()) {
        (true, _, _) => (node_checks, Vec::new()),
        (_, true, _) | (_, _, true) => (Vec::new(), Vec::new()),
        _ => (node_checks, older),
    })
}

fn instance_checks(object: &mut Object) -> Result<Vec<Text>, Failure> {
    let checks = object.objects("ServiceChecks", "structs.ServiceCheck")?;
    checks.into_iter().map(|mut check| check.text("ID")).collect()
}

/// A text in Go's notation, or a number: of seconds where it is small, else of nanoseconds.
fn lock_delay(object: &mut Object) -> Result<Duration, Failure> {
    const SECONDS_BELOW: f64 = 1000.0;
    let nanos = match object.take("LockDelay") {
        None => return Ok(LOCK_DELAY_DEFAULT),
        Some(Value::String(text)) => duration::parse_nanos(&text).map_err(refused)?,
        Some(value) => match value.as_f64().map(f64::trunc) {
            Some(number) if number < SECONDS_BELOW => (number as i64).saturating_mul(1_000_000_000),
            Some(number) => number as i64,
            None => return Err(refused("json: cannot unmarshal LockDelay into time.Duration")),
        },
    };
    Ok(Duration::from_nanos(nanos.max(0) as u64))
}

fn behavior(given: &str) -> Result<Behavior, Failure> {
    if given.is_empty() {
        return Ok(Behavior::default());
    }
    [Behavior::Release, Behavior::Delete]
        .into_iter()
        .find(|behavior| word(*behavior) == given)
        .ok_or_else(|| Failure::internal(format!("Invalid Behavior setting '{given}'")))
}

/// The duration of the lease; zero for none.
fn ttl(given: &str, least: Duration) -> Result<Duration, Failure> {
    if given.is_empty() {
        return Ok(Duration::ZERO);
    }
    let nanos = duration::parse_nanos(given)
        .map_err(|error| Failure::internal(format!("Session TTL '{given}' invalid: {error}")))?;
    let ttl = Duration::from_nanos(nanos.max(0) as u64);
    if nanos != 0 && (nanos < 0 || ttl < least || ttl > SESSION_TTL_MAX) {
        let (least, most) = (duration::format(least), duration::format(SESSION_TTL_MAX));
        let text = format!("Invalid Session TTL '{nanos}', must be between [{least}={most}]");
        return Err(Failure::internal(text));
    }
    Ok(ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks_of(body: &str) -> (Vec<Text>, Vec<Text>) {
        checks(&mut Object::parse(body.as_bytes(), "structs.Session").unwrap()).unwrap()
    }

    fn lock_delay_of(body: &str) -> Result<Duration, Failure> {
        lock_delay(&mut Object::parse(body.as_bytes(), "structs.Session").unwrap())
    }

    #[test]
    fn a_session_rests_on_its_agent_unless_told_otherwise() {
        assert_eq!(checks_of("{}").0, ["serfHealth"]);
        assert_eq!(checks_of(r#"{"NodeChecks":[]}"#).0, [""; 0]);
        assert_eq!(checks_of(r#"{"NodeChecks":["b","a"]}"#).0, ["b", "a"]);
    }

    #[test]
    fn the_older_list_of_checks_stands_beside_the_other_or_empties_it() {
        let cases: [(&str, &[&str], &[&str]); 5] = [
            (r#"{"checks":[]}"#, &[], &[]),
            (r#"{"Checks":["serfHealth"]}"#, &["serfHealth"], &[]),
            (r#"{"Checks":["a"]}"#, &["serfHealth"], &["a"]),
            (r#"{"Checks":["a"],"NodeChecks":[]}"#, &[], &[]),
            (r#"{"Checks":["a"],"NodeChecks":["b"]}"#, &["b"], &["a"]),
        ];
        for (body, node_checks, older) in cases {
            let (found, found_older) = checks_of(body);
            assert_eq!(
                (&*found, &*found_older),
                (&texts(node_checks)[..], &texts(older)[..]),
                "{body}"
            );
        }
    }

    fn texts(words: &[&str]) -> Vec<Text> {
        words.iter().map(|word| Text::from(*word)).collect()
    }

    #[test]
    fn a_small_number_of_lock_delay_is_seconds() {
        let cases = [
            ("{}", LOCK_DELAY_DEFAULT),
            (r#"{"LockDelay":"1ms"}"#, Duration::from_millis(1)),
            (r#"{"lockdelay":20}"#, Duration::from_secs(20)),
            (r#"{"LockDelay":0.001}"#, Duration::ZERO),
            (r#"{"LockDelay":2000}"#, Duration::from_nanos(2000)),
            (r#"{"LockDelay":-5}"#, Duration::ZERO),
        ];
        for (body, expected) in cases {
            assert_eq!(lock_delay_of(body), Ok(expected), "{body}");
        }
        assert!(lock_delay_of(r#"{"LockDelay":true}"#).is_err());
    }

    #[test]
    fn a_lease_is_bounded_and_may_have_fractions() {
        let least = Duration::from_secs(10);
        assert_eq!(ttl("15.0s", least), Ok(Duration::from_secs(15)));
        assert_eq!((ttl("", least), ttl("0s", least)), (Ok(Duration::ZERO), Ok(Duration::ZERO)));
        let refused = |given| ttl(given, least).unwrap_err().text;
        let range = "must be between [10s=24h0m0s]";
        assert_eq!(refused("5s"), format!("Invalid Session TTL '5000000000', {range}"));
        assert_eq!(refused("25h"), format!("Invalid Session TTL '90000000000000', {range}"));
        assert_eq!(refused("x"), "Session TTL 'x' invalid: time: invalid duration \"x\"");
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body in r#"\{("(LockDelay|TTL|Checks|NodeChecks|ServiceChecks)":(-?[0-9]{1,20}(\.[0-9])?|"[0-9smhx.-]{0,8}"|\[\]|\["a"\]|\[\{\}\]|null|true))?\}"#) {
            if let Ok(mut object) = Object::parse(body.as_bytes(), "structs.Session") {
                let _ = checks(&mut object);
                let _ = lock_delay(&mut object);
                if let Ok(text) = object.text("TTL") {
                    let _ = ttl(&text, Duration::from_secs(10));
                }
            }
        }
    }
}
