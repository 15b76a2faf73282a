//! `/v1/health`: checks, and the instances of a service with what decides their status.

use muster_model::answer::{self, CheckDetail};
use muster_model::query::{CheckFilter, CheckSubject, Health};
use muster_model::{Query, Status};

use crate::catalog::instances_asked_for;
use crate::failure::Failure;
use crate::front::Front;
use crate::reading::{Form, Reading, Shaping, mismatch};
use crate::reply::Encoded;
use crate::request::Request;
use crate::routes::Route;
use crate::shapes::check::CheckShape;
use crate::shapes::instance::EntryShape;

pub(crate) const ROUTES: &[Route] = &[
    Route::read(
        "/v1/health/service/:service",
        "The instances of a service with their nodes and checks.",
        service,
    ),
    Route::read("/v1/health/node/:node", "The checks of a node and its instances.", node),
    Route::read("/v1/health/checks/:service", "The checks of a service's instances.", checks),
    Route::read("/v1/health/state/:state", "The checks with a status, or all of them.", state),
];

const CHECKS: Form = Form { name: "health/checks", make: shape_checks };

fn service(front: &Front, request: &Request) -> Result<Reading, Failure> {
    const FORM: Form = Form { name: "health/service", make: shape_service };
    let mut filter = instances_asked_for(front, request)?;
    if request.parameters.flag("passing")? {
        filter.health = Health::Passing;
    }
    Ok(Reading::new(front, request, Query::Instances(filter), &FORM)?.relaxed(front, request))
}

fn shape_service(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Instances(details) = body else { return Err(mismatch()) };
    shaping.list(details.iter().map(|detail| EntryShape::new(detail, shaping.datacenter)))
}

fn node(front: &Front, request: &Request) -> Result<Reading, Failure> {
    checks_of(front, request, CheckSubject::Node(request.required_name("node name")?))
}

fn checks(front: &Front, request: &Request) -> Result<Reading, Failure> {
    let service = request.required_name("service name")?;
    checks_of(front, request, CheckSubject::Service(service.folded()))
}

/// A word that is none of ours may be the status of a check in the catalog: it stands there as a
/// warning, with its word beside it.
fn state(front: &Front, request: &Request) -> Result<Reading, Failure> {
    const WORDED: Form = Form { name: "health/state by word", make: shape_worded };
    let word = request.required_name("check state")?;
    if &*word == "any" {
        return checks_of(front, request, CheckSubject::All);
    }
    let status = word.parse().unwrap_or(Status::Warning);
    let reading = checks_of(front, request, CheckSubject::WithStatus(status))?;
    Ok(if status == Status::Warning { reading.formed(&WORDED).about(&word) } else { reading })
}

fn checks_of(front: &Front, request: &Request, subject: CheckSubject) -> Result<Reading, Failure> {
    let filter = CheckFilter {
        subject,
        node_meta: request.parameters.node_meta(),
        near: request.parameters.near(&front.door().local.identity().node),
    };
    let query = Query::Checks(filter);
    Ok(Reading::new(front, request, query, &CHECKS)?.relaxed(front, request).uncached())
}

fn shape_checks(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Checks(details) = body else { return Err(mismatch()) };
    shaping.list(details.iter().map(check_shape))
}

/// Those whose status has the word that is asked for.
fn shape_worded(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Checks(details) = body else { return Err(mismatch()) };
    let worded = details.iter().filter(|own| own.check.status_word() == shaping.subject);
    shaping.list(worded.map(check_shape))
}

fn check_shape(detail: &CheckDetail) -> CheckShape<'_> {
    let instance = detail.instance.as_deref().map(|row| &row.value);
    CheckShape::new(&detail.node.name, &detail.check, instance)
}
