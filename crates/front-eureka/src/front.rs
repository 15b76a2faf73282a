//! The front-end as a service: from a request to a reply.
//!
//! [`Front::serve`] reads down the page: limits, the path taken apart, and one flat `match` in which
//! every operation has its line.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use muster_listen::{Limits, Peer};
use muster_model::Text;
use muster_registry::Door;
use muster_registry::operator::{Metric, MetricValue};

use crate::codec::read::Wish;
use crate::codec::{Notation, shapes};
use crate::documents::{Documents, Subject};
use crate::failure::Failure;
use crate::limits::{BODY_BYTES_MAX, ROLL_INTERVAL, TARGET_BYTES_MAX};
use crate::renew::Renewed;
use crate::reply::{self, Reply};
use crate::request::Request;
use crate::roll::Roll;
use crate::view::VipKind;
use crate::word::Word;

/// Gives the wall clock, as the time since the start of 1970.
pub type WallClock = Box<dyn Fn() -> Duration + Send + Sync>;

/// The front-end.
pub struct Front {
    door: Door,
    limits: Arc<Limits>,
    wall_clock: WallClock,
    roll: Roll,
    documents: Documents,
}

impl Front {
    /// A front-end over a door. `limits` bound how slowly a body may come.
    pub fn new(door: Door, limits: Arc<Limits>, wall_clock: WallClock) -> Arc<Front> {
        let roll = Roll::new(door.registry.clone());
        Arc::new(Front { door, limits, wall_clock, roll, documents: Documents::default() })
    }

    /// Keeps up with what changes until the front-end is gone, so that it misses nothing while
    /// nobody asks. Where nobody ever asked, nor wrote an instance that lives by a lease, there is
    /// nobody to miss anything, and nothing is kept.
    pub async fn keep_up(front: Weak<Front>) {
        let mut leases = None;
        while let Some(front) = front.upgrade() {
            if let Err(refusal) = front.roll.keep_up(&mut leases).await {
                tracing::debug!(%refusal, "the registry cannot be looked at now");
            }
            drop(front);
            tokio::time::sleep(ROLL_INTERVAL).await;
        }
    }

    /// The reply to a request.
    pub async fn serve<B>(self: Arc<Front>, request: http::Request<B>) -> Reply
    where
        B: http_body::Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let body = body.map_err(std::io::Error::other).boxed();
        let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
        if target > TARGET_BYTES_MAX {
            let text = format!("the address is too long; the limit is {TARGET_BYTES_MAX} bytes");
            return reply::failed(&Failure::new(StatusCode::URI_TOO_LONG, text));
        }
        let done = match Request::new(parts, body, self.limits.clone()) {
            Ok(request) => self.answer(request).await,
            Err(failure) => Err(failure),
        };
        done.unwrap_or_else(|failure| reply::failed(&failure))
    }

    /// Which operation is meant.
    async fn answer(&self, mut request: Request) -> Result<Reply, Failure> {
        let path = std::mem::take(&mut request.path);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let method = match &request.method {
            method if *method == Method::HEAD => Method::GET,
            method => method.clone(),
        };
        match (method.as_str(), &path[..]) {
            ("GET", []) => self.tell_people(&request).await,
            ("GET", ["apps"]) => self.list(&request, Subject::All).await,
            ("GET", ["apps", "delta"]) => self.list(&request, Subject::Delta).await,
            ("GET", ["apps", app]) => {
                self.list(&request, Subject::App(app.to_uppercase().into())).await
            }
            ("GET", ["vips", name]) => self.list(&request, vip(VipKind::Plain, name)).await,
            ("GET", ["svips", name]) => self.list(&request, vip(VipKind::Secure, name)).await,
            ("GET", ["apps", app, id]) => self.one(&request, Some(app), id).await,
            ("GET", ["instances", id]) => self.one(&request, None, id).await,
            ("POST", ["apps", app]) => self.take_registration(request, app).await,
            ("PUT", ["apps", app, id]) => self.take_renewal(&request, app, id).await,
            ("DELETE", ["apps", app, id]) => {
                self.cancel(&request.call(), app, id).await?;
                Ok(reply::bare(StatusCode::OK))
            }
            ("PUT", ["apps", app, id, "status"]) => self.take_word(&request, app, id).await,
            ("DELETE", ["apps", app, id, "status"]) => self.take_word_back(&request, app, id).await,
            ("PUT", ["apps", app, id, "metadata"]) => {
                self.add_metadata(&request.call(), app, id, request.parameters()).await?;
                Ok(reply::bare(StatusCode::OK))
            }
            ("POST", ["peerreplication", "batch"]) => self.take_batch(request).await,
            ("PUT", ["asg", _, "status"]) => {
                Err(Failure::bad_request("there are no auto-scaling groups here"))
            }
            ("GET", ["status"]) => self.tell_status(&request).await,
            ("GET", ["serverinfo", "statusoverrides"]) => self.tell_overrides(&request).await,
            (method, path) => Ok(nowhere(method, path)),
        }
    }

    /// The door.
    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    /// The roll.
    pub(crate) fn roll(&self) -> &Roll {
        &self.roll
    }

    /// The wall clock in milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from((self.wall_clock)().as_millis()).unwrap_or(u64::MAX)
    }

    /// Numbers of this front-end, for the agent's metrics.
    pub fn metrics(&self) -> Vec<Metric> {
        let (n_documents, n_bytes) = self.documents.size();
        let gauge = |name: &str, value: usize| Metric {
            name: name.into(),
            labels: Vec::new(),
            value: MetricValue::Gauge(value as f64),
        };
        vec![
            gauge("eureka.instances", self.roll.n_instances()),
            gauge("eureka.documents", n_documents),
            gauge("eureka.document_bytes", n_bytes),
        ]
    }
}

// ------------------------------------------------------------------------------------------------
// Reading
// ------------------------------------------------------------------------------------------------

impl Front {
    async fn list(&self, request: &Request, subject: Subject) -> Result<Reply, Failure> {
        let form = request.form()?;
        let view = self.roll.view(&request.call()).await?;
        let found = self.documents.find_or_make(&view, subject, form, self.now_ms()).await;
        Ok(reply::encoded(&*found.ok_or_else(Failure::not_found)?))
    }

    async fn one(&self, request: &Request, app: Option<&str>, id: &str) -> Result<Reply, Failure> {
        let notation = request.form()?.notation;
        let view = self.roll.view(&request.call()).await?;
        let found = match app {
            Some(app) => view.find(app, id),
            None => view.find_anywhere(id),
        };
        let info = found.ok_or_else(Failure::not_found)?.info();
        Ok(reply::document(StatusCode::OK, notation, shapes::one_instance(notation, &info)))
    }

    async fn tell_overrides(&self, request: &Request) -> Result<Reply, Failure> {
        let view = self.roll.view(&request.call()).await?;
        let all = view.overridden().map(|own| (own.id().clone(), own.overridden().as_str()));
        Ok(reply::document(StatusCode::OK, Notation::Json, shapes::overrides(all)))
    }
}

fn vip(kind: VipKind, name: &str) -> Subject {
    Subject::Vip(kind, Text::from(name))
}

// ------------------------------------------------------------------------------------------------
// Writing
// ------------------------------------------------------------------------------------------------

impl Front {
    async fn take_registration(&self, mut request: Request, app: &str) -> Result<Reply, Failure> {
        let call = request.call();
        let wish = request.document(BODY_BYTES_MAX, Wish::read).await?;
        self.register(&call, app, &wish).await?;
        Ok(reply::bare(StatusCode::NO_CONTENT))
    }

    async fn take_renewal(&self, request: &Request, app: &str, id: &str) -> Result<Reply, Failure> {
        let dirty_at = request.number("lastDirtyTimestamp")?;
        match self.renew(&request.call(), app, id, dirty_at).await? {
            Renewed::Newer(info) if request.is_replicated() => {
                let notation = request.form()?.notation;
                let body = shapes::one_instance(notation, &info);
                Ok(reply::document(StatusCode::CONFLICT, notation, body))
            }
            Renewed::Newer(_) | Renewed::Done => Ok(reply::bare(StatusCode::OK)),
        }
    }

    async fn take_word(&self, request: &Request, app: &str, id: &str) -> Result<Reply, Failure> {
        let word = word_of(request)?.ok_or_else(|| Failure::bad_request("value is missing"))?;
        let dirty_at = request.number("lastDirtyTimestamp")?;
        let call = request.call();
        self.overrule(&call, app, id, word, dirty_at).await?;
        self.renew_quietly(&call, app, id).await;
        Ok(reply::bare(StatusCode::OK))
    }

    async fn take_word_back(
        &self,
        request: &Request,
        app: &str,
        id: &str,
    ) -> Result<Reply, Failure> {
        let dirty_at = request.number("lastDirtyTimestamp")?;
        let call = request.call();
        self.take_back(&call, app, id, word_of(request)?, dirty_at).await?;
        self.renew_quietly(&call, app, id).await;
        Ok(reply::bare(StatusCode::OK))
    }

    /// Who speaks of an instance keeps it alive; that it cannot be kept is told to its client.
    async fn renew_quietly(&self, call: &muster_registry::Call, app: &str, id: &str) {
        if let Err(failure) = self.renew(call, app, id, None).await {
            tracing::debug!(app, id, status = %failure.status, "was not renewed with its status");
        }
    }
}

fn word_of(request: &Request) -> Result<Option<Word>, Failure> {
    let Some(text) = request.parameter("value") else { return Ok(None) };
    let known = Word::parse(text);
    known.map(Some).ok_or_else(|| Failure::bad_request(format!("value: {text:?} is no status")))
}

/// The reply to what nobody serves: which methods the path knows, or that there is nothing.
fn nowhere(method: &str, path: &[&str]) -> Reply {
    let allowed = match path {
        [] | ["apps"] | ["status"] | ["serverinfo", "statusoverrides"] => "GET,HEAD,OPTIONS",
        ["vips" | "svips" | "instances", _] => "GET,HEAD,OPTIONS",
        ["apps", _] => "GET,HEAD,OPTIONS,POST",
        ["apps", _, _] => "DELETE,GET,HEAD,OPTIONS,PUT",
        ["apps", _, _, "status"] => "DELETE,OPTIONS,PUT",
        ["apps", _, _, "metadata"] | ["asg", _, "status"] => "OPTIONS,PUT",
        ["peerreplication", "batch"] => "OPTIONS,POST",
        _ => return reply::bare(StatusCode::NOT_FOUND),
    };
    let mut reply = reply::other_method(allowed);
    if method == "OPTIONS" {
        *reply.status_mut() = StatusCode::OK;
    }
    reply
}

/// The front-end as what a listener hands requests to.
pub struct Service(pub Arc<Front>);

impl muster_listen::Handler for Service {
    type Answering = BoxFuture<'static, muster_listen::Response>;

    fn handle(&self, request: muster_listen::Request, _: Peer) -> Self::Answering {
        Box::pin(self.0.clone().serve(request))
    }
}
