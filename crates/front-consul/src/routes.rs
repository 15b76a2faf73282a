//! The route table: which methods and paths there are, what each is for, and who answers.
//!
//! Each URL area has a file with its own part of the table. From the whole come the handler of a
//! request, the `Allow` line of what is refused, and the check of `docs/consul-api.md`.
//!
//! A pattern is a fixed path, or one that ends in `:name` and leaves the rest of the path open,
//! slashes included. The longest pattern that fits wins, as in Go's own table.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use muster_registry::Pending;

use crate::failure::Failure;
use crate::front::Front;
use crate::reading::Reading;
use crate::reply::Reply;
use crate::request::Request;

/// One method of one path.
pub(crate) struct Route {
    /// The method.
    pub(crate) method: Method,
    /// A fixed path, or one that ends in `:name`.
    pub(crate) pattern: &'static str,
    /// What it is for, in one sentence.
    pub(crate) purpose: &'static str,
    /// Who answers.
    pub(crate) handler: Handler,
}

/// Who answers a request.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// One question to the registry, which may block until the answer changes.
    Read(fn(&Front, &Request) -> Result<Reading, Failure>),
    /// What is known at once.
    Now(fn(&Front, &Request) -> Result<Reply, Failure>),
    /// What has to be waited for.
    Later(fn(Arc<Front>, Request) -> Later),
}

/// A reply to be waited for.
pub(crate) type Later = Pending<'static, Result<Reply, Failure>>;

impl Route {
    /// A reading route.
    pub(crate) const fn read(
        pattern: &'static str,
        purpose: &'static str,
        handler: fn(&Front, &Request) -> Result<Reading, Failure>,
    ) -> Route {
        Route { method: Method::GET, pattern, purpose, handler: Handler::Read(handler) }
    }

    /// A route that answers at once.
    pub(crate) const fn now(
        method: Method,
        pattern: &'static str,
        purpose: &'static str,
        handler: fn(&Front, &Request) -> Result<Reply, Failure>,
    ) -> Route {
        Route { method, pattern, purpose, handler: Handler::Now(handler) }
    }

    /// A route that waits.
    pub(crate) const fn later(
        method: Method,
        pattern: &'static str,
        purpose: &'static str,
        handler: fn(Arc<Front>, Request) -> Later,
    ) -> Route {
        Route { method, pattern, purpose, handler: Handler::Later(handler) }
    }

    fn endpoint(&self) -> Endpoint {
        let method = match self.method {
            Method::GET => "GET",
            Method::PUT => "PUT",
            Method::POST => "POST",
            Method::DELETE => "DELETE",
            _ => "other",
        };
        Endpoint { pattern: self.pattern, method, purpose: self.purpose }
    }

    /// The fixed part of the pattern, and whether something open follows it.
    fn fixed(&self) -> (&'static str, bool) {
        match self.pattern.split_once(':') {
            Some((fixed, _)) => (fixed, true),
            None => (self.pattern, false),
        }
    }
}

/// Every route, area by area.
pub(crate) const AREAS: &[&[Route]] = &[
    crate::acl::ROUTES,
    crate::agent::checks::ROUTES,
    crate::agent::health::ROUTES,
    crate::agent::identity::ROUTES,
    crate::agent::members::ROUTES,
    crate::agent::metrics::ROUTES,
    crate::agent::monitor::ROUTES,
    crate::agent::operations::ROUTES,
    crate::agent::services::ROUTES,
    crate::catalog::ROUTES,
    crate::connect::ROUTES,
    crate::coordinate::ROUTES,
    crate::debug::ROUTES,
    crate::event::ROUTES,
    crate::health::ROUTES,
    crate::kv::ROUTES,
    crate::mesh::ROUTES,
    crate::operator::autopilot::ROUTES,
    crate::operator::keyring::ROUTES,
    crate::operator::raft::ROUTES,
    crate::operator::usage::ROUTES,
    crate::query::ROUTES,
    crate::session::ROUTES,
    crate::snapshot::ROUTES,
    crate::status::ROUTES,
    crate::times::ROUTES,
    crate::txn::ROUTES,
];

/// An endpoint, for documents and tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// A fixed path, or one that ends in `:name`.
    pub pattern: &'static str,
    /// The method.
    pub method: &'static str,
    /// What it is for, in one sentence.
    pub purpose: &'static str,
}

/// Every endpoint that is served, in the order of their paths.
pub fn endpoints() -> Vec<Endpoint> {
    let mut all: Vec<Endpoint> = AREAS.iter().copied().flatten().map(Route::endpoint).collect();
    all.sort();
    all
}

/// The table, ordered for finding.
pub(crate) struct Router {
    /// By the first word after `/v1/`.
    areas: BTreeMap<&'static str, Vec<Place>>,
}

/// All routes of one pattern.
struct Place {
    fixed: &'static str,
    is_open: bool,
    routes: Vec<&'static Route>,
    allowed: String,
}

/// What a path leads to.
pub(crate) enum Found<'a> {
    /// A handler, and where the open part of the path starts.
    Handler(Handler, usize),
    /// The path is there, but not with this method. The methods that it has.
    OtherMethods(&'a str),
    /// The path is there with a slash at its end.
    WithSlash,
    /// Nothing.
    Nothing,
}

impl Router {
    /// The table of [`AREAS`].
    pub(crate) fn new() -> Router {
        let mut areas: BTreeMap<&'static str, Vec<Place>> = BTreeMap::new();
        for route in AREAS.iter().copied().flatten() {
            let (fixed, is_open) = route.fixed();
            let places = areas.entry(area(fixed)).or_default();
            match places.iter_mut().find(|place| place.fixed == fixed) {
                Some(place) => place.add(route),
                None => {
                    let mut place =
                        Place { fixed, is_open, routes: vec![], allowed: "OPTIONS".to_owned() };
                    place.add(route);
                    places.push(place);
                }
            }
        }
        for places in areas.values_mut() {
            places.sort_by_key(|place| std::cmp::Reverse(place.fixed.len()));
        }
        Router { areas }
    }

    /// What a method of a decoded path leads to.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let Some(places) = self.areas.get(area(path)) else { return Found::Nothing };
        let fits = |place: &&Place| {
            if place.is_open { path.starts_with(place.fixed) } else { path == place.fixed }
        };
        if let Some(place) = places.iter().find(fits) {
            return match place.routes.iter().find(|route| route.method == *method) {
                Some(route) => Found::Handler(route.handler, place.fixed.len()),
                None => Found::OtherMethods(&place.allowed),
            };
        }
        let is_slashless = |place: &Place| {
            place.is_open && place.fixed.strip_suffix('/').is_some_and(|fixed| fixed == path)
        };
        if places.iter().any(is_slashless) { Found::WithSlash } else { Found::Nothing }
    }
}

impl Place {
    fn add(&mut self, route: &'static Route) {
        self.allowed.push(',');
        self.allowed.push_str(route.method.as_str());
        self.routes.push(route);
    }
}

/// The first word after `/v1/`.
fn area(path: &str) -> &str {
    let rest = path.strip_prefix("/v1/").unwrap_or("");
    rest.split('/').next().unwrap_or("")
}
