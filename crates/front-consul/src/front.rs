//! The front-end as a service: from a request to a reply.
//!
//! [`Front::serve`] reads down the page: limits, what the operator forbids, the route, the
//! handler, and the header lines that every reply carries.

use std::future::Future;
use std::hash::RandomState;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{Method, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use muster_listen::{Answering, Body, Closing, Limits, Peer};
use muster_model::Text;
use muster_model::limits::PAIR_VALUE_BYTES_MAX;
use muster_registry::Door;

use crate::caching::Asked;
use crate::failure::Failure;
use crate::limits::{SESSION_TTL_MIN, TARGET_BYTES_MAX, WAIT_DEFAULT, WAIT_MAX};
use crate::parameters::Parameters;
use crate::reply::{self, Reply};
use crate::request::{self, Path, Request, Style};
use crate::routes::{Found, Handler, Later, Router};

/// What an operator may choose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The version of Consul's API that is served. Tools compare it.
    pub api_version: Text,
    /// Whether every reply is indented: for people, in dev mode.
    pub is_pretty: bool,
    /// How long a blocking query waits where the client does not say.
    pub wait_default: Duration,
    /// How long a blocking query waits at most.
    pub wait_max: Duration,
    /// Answers of the catalog may be this old where the client does not say; zero: not at all.
    pub discovery_max_stale: Duration,
    /// Whether `?cached` is obeyed.
    pub use_cache: bool,
    /// Header lines added to every reply.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
    /// Starts of paths that are refused.
    pub block_endpoints: Vec<String>,
    /// Networks from which anything but reading is allowed; empty: from everywhere.
    pub allow_write_http_from: Vec<Network>,
    /// Whether paths may contain characters that cannot be printed.
    pub allows_unprintable_paths: bool,
    /// Whether metrics are given in the notation of Prometheus.
    pub serves_prometheus: bool,
    /// Whether the built-in certificate authority is shown.
    pub is_connect_enabled: bool,
    /// Whether checks may run programs that a client of this API names.
    pub allows_remote_scripts: bool,
    /// How slowly a body may come.
    pub limits: Arc<Limits>,
    /// Bytes of a value in the store, at most.
    pub value_bytes_max: usize,
    /// Bytes of the body of a transaction, at most; never below `value_bytes_max`.
    pub transaction_bytes_max: usize,
    /// Whether keys are refused that lead elsewhere when somebody takes them for a path.
    pub checks_keys: bool,
    /// The shortest lease a session may have.
    pub session_ttl_min: Duration,
    /// Whether `/debug/pprof` is served.
    pub serves_profiles: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            api_version: "1.22.6".into(),
            is_pretty: false,
            wait_default: WAIT_DEFAULT,
            wait_max: WAIT_MAX,
            discovery_max_stale: Duration::ZERO,
            use_cache: true,
            response_headers: Vec::new(),
            block_endpoints: Vec::new(),
            allow_write_http_from: Vec::new(),
            allows_unprintable_paths: false,
            serves_prometheus: true,
            is_connect_enabled: true,
            allows_remote_scripts: false,
            limits: Arc::default(),
            value_bytes_max: PAIR_VALUE_BYTES_MAX,
            transaction_bytes_max: PAIR_VALUE_BYTES_MAX,
            checks_keys: true,
            session_ttl_min: SESSION_TTL_MIN,
            serves_profiles: false,
        }
    }
}

/// A network: an address and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address.
    pub address: IpAddr,
    /// How many of its first bits count.
    pub prefix: u8,
}

impl Network {
    /// Whether `address` is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        };
        let ((own, own_width), (other, other_width)) = (bits(self.address), bits(address));
        let prefix = u32::from(self.prefix).min(own_width);
        own_width == other_width && (prefix == 0 || (own ^ other) >> (128 - prefix) == 0)
    }
}

/// The front-end.
pub struct Front {
    door: Door,
    settings: ArcSwap<Settings>,
    router: Router,
    datacenter: Text,
    hashing: RandomState,
    chance: Chance,
    asked: Asked,
    closing: Closing,
}

impl Front {
    /// A front-end over a door. `seed` decides by how much waits are lengthened.
    pub fn new(door: Door, settings: Settings, seed: u64) -> Arc<Front> {
        let datacenter = door.local.identity().datacenter.clone();
        Arc::new(Front {
            door,
            settings: ArcSwap::from_pointee(settings),
            router: Router::new(),
            datacenter,
            hashing: RandomState::new(),
            chance: Chance::new(seed),
            asked: Asked::default(),
            closing: Closing::default(),
        })
    }

    /// The reply to a request that came from `peer` (nothing: over a unix socket).
    pub fn serve<B>(self: &Arc<Front>, request: http::Request<B>, peer: Option<IpAddr>) -> Serving
    where
        B: http_body::Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let mut serving = match self.admit(parts, peer) {
            Err(reply) => Serving::ready(*reply),
            Ok((handler, mut request)) => match handler {
                Handler::Read(read) => match read(self, &request) {
                    Ok(reading) => self.serve_reading(reading),
                    Err(failure) => Serving::ready(reply::failed(&failure)),
                },
                Handler::Now(now) => Serving::ready(settled(now(self, &request))),
                Handler::Later(later) => {
                    request.body = body.map_err(std::io::Error::other).boxed();
                    Serving::of(later(self.clone(), request))
                }
            },
        };
        serving.finish_with(self);
        serving
    }

    /// Takes other settings into use. Requests under way may still meet those before.
    pub fn reload(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// Lets go whoever is kept waiting: long polls are answered with what there is, streams end.
    /// For when the listeners are about to stop.
    pub fn close(&self) {
        self.closing.begin();
    }

    /// A request that may be served, with who answers it; or the reply that it gets at once.
    fn admit(
        &self,
        parts: http::request::Parts,
        peer: Option<IpAddr>,
    ) -> Result<(Handler, Request), Box<Reply>> {
        let refuse = |failure: Failure| Box::new(reply::failed(&failure));
        if parts.uri.path_and_query().is_some_and(|target| target.as_str().len() > TARGET_BYTES_MAX)
        {
            let text = format!("Request URI too long; the limit is {TARGET_BYTES_MAX} bytes");
            return Err(refuse(Failure::new(StatusCode::URI_TOO_LONG, text)));
        }
        let Some(path) = request::decode_path(parts.uri.path()) else {
            return Err(refuse(Failure::bad_request("400 Bad Request")));
        };
        if !self.settings().allows_unprintable_paths && !request::is_printable(&path) {
            return Err(Box::new(reply::bare(StatusCode::BAD_REQUEST)));
        }
        self.guard(&parts.method, &path, peer).map_err(refuse)?;
        let (handler, open_at) = self.route(&parts.method, &parts.uri, &path)?;
        let query = parts.uri.query().unwrap_or("");
        let parameters = Parameters::parse(query).map_err(refuse)?;
        refuse_foreign(&parameters).map_err(refuse)?;
        let style = Style {
            is_pretty: self.settings().is_pretty || parameters.has("pretty"),
            is_gzip: Request::takes_gzip(&parts.headers),
        };
        let characters = Text::from(&*path);
        let path = Path { open: open_at..characters.len(), characters };
        let headers = parts.headers;
        let body = request::Unread::default();
        let limits = self.settings().limits.clone();
        Ok((handler, Request { path, parameters, headers, body, limits, style, peer }))
    }

    /// What the operator forbids.
    fn guard(&self, method: &Method, path: &str, peer: Option<IpAddr>) -> Result<(), Failure> {
        if self.settings().block_endpoints.iter().any(|start| path.starts_with(start.as_str())) {
            return Err(Failure::forbidden("Endpoint is blocked by agent configuration"));
        }
        let networks = &self.settings().allow_write_http_from;
        let is_write = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if is_write
            && !networks.is_empty()
            && let Some(peer) = peer
            && !networks.iter().any(|network| network.contains(peer))
        {
            return Err(Failure::forbidden("Access is restricted"));
        }
        Ok(())
    }

    /// Who answers, and where the open part of the path starts; or the reply of a path that has
    /// nobody.
    fn route(
        &self,
        method: &Method,
        uri: &Uri,
        path: &str,
    ) -> Result<(Handler, usize), Box<Reply>> {
        if let Some(cleaned) = cleaned(uri.path()) {
            return Err(Box::new(redirect(cleaned, uri.query())));
        }
        match self.router.find(method, path) {
            Found::Handler(handler, open_at) => Ok((handler, open_at)),
            Found::OtherMethods(allowed) => {
                let refused = (*method != Method::OPTIONS).then_some(method);
                Err(Box::new(reply::allow(allowed, refused)))
            }
            Found::WithSlash => Err(Box::new(redirect(format!("{}/", uri.path()), uri.query()))),
            Found::Nothing => Err(Box::new(nowhere(path))),
        }
    }

    /// The door.
    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    /// What the operator chose, now.
    pub(crate) fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// The agent's own datacenter.
    pub(crate) fn datacenter(&self) -> &Text {
        &self.datacenter
    }

    /// Keys the hashes of what clients choose.
    pub(crate) fn hashing(&self) -> &RandomState {
        &self.hashing
    }

    /// Which questions were asked with `?cached` before.
    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Tells those who wait that this front-end closes.
    pub(crate) fn closing(&self) -> &Closing {
        &self.closing
    }

    /// Where chance comes from.
    pub(crate) fn chance(&self) -> &Chance {
        &self.chance
    }
}

/// The front-end as what a listener hands requests to.
pub struct Service(pub Arc<Front>);

impl muster_listen::Handler for Service {
    type Answering = Serving;

    fn handle(&self, request: muster_listen::Request, peer: Peer) -> Serving {
        self.0.serve(request, peer.ip())
    }
}

/// Names of things that only Consul's enterprise edition has, or that are left out here: ignoring
/// them would give an answer to another question.
fn refuse_foreign(parameters: &Parameters) -> Result<(), Failure> {
    for (key, what) in [("ns", "Namespaces"), ("partition", "Partitions")] {
        if parameters.text(key).is_some() {
            return Err(Failure::bad_request(format!(
                "Invalid query parameter: {key:?} - {what} are a Consul Enterprise feature"
            )));
        }
    }
    if parameters.text("peer").is_some() {
        return Err(Failure::bad_request(
            "Invalid query parameter: \"peer\" - there is no peering",
        ));
    }
    Ok(())
}

/// A path, as it was sent, without doubled slashes, `.` and `..`; nothing where it has none.
fn cleaned(path: &str) -> Option<String> {
    let inner = path.trim_start_matches('/');
    let is_odd = |part: &str| matches!(part, "" | "." | "..");
    let named = inner.strip_suffix('/').unwrap_or(inner);
    if path.len() - inner.len() <= 1 && (named.is_empty() || !named.split('/').any(is_odd)) {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in inner.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let end = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    Some(format!("/{}{end}", parts.join("/")))
}

/// Sends the client to another path, both as they are sent.
fn redirect(path: String, query: Option<&str>) -> Reply {
    let target = query.map_or(path.clone(), |query| format!("{path}?{query}"));
    let shown = target.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let shown = shown.replace('"', "&#34;").replace('\'', "&#39;");
    let page = format!("<a href=\"{shown}\">Temporary Redirect</a>.\n\n");
    let mut reply = reply::text_reply(StatusCode::TEMPORARY_REDIRECT, page);
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, html);
    if let Ok(target) = HeaderValue::from_str(&target) {
        reply.headers_mut().insert(LOCATION, target);
    }
    reply
}

fn nowhere(path: &str) -> Reply {
    let text = match path {
        "/" => {
            let text = "Consul Agent: UI disabled. To enable, set ui_config.enabled=true in the \
                        agent configuration and restart.";
            return reply::text_reply(StatusCode::OK, text);
        }
        path if path.starts_with("/v1/") => {
            "Invalid URL path: not a recognized HTTP API endpoint\n"
        }
        _ => {
            "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"
        }
    };
    reply::text_reply(StatusCode::NOT_FOUND, text)
}

fn settled(result: Result<Reply, Failure>) -> Reply {
    result.unwrap_or_else(|failure| reply::failed(&failure))
}

/// A reply that is there, or will be. Small, because a parked one costs its size.
pub enum Serving {
    /// There already.
    Ready(Option<Reply>),
    /// To be waited for.
    #[doc(hidden)]
    Later {
        /// What makes it.
        reply: LaterReply,
        /// Who adds the header lines that every reply carries.
        front: Option<Arc<Front>>,
        /// Whether it is a blocking query that waits.
        is_parked: bool,
    },
}

/// A reply to be waited for.
pub struct LaterReply(Later);

impl Serving {
    /// A reply that is there.
    pub(crate) fn ready(reply: Reply) -> Serving {
        Serving::Ready(Some(reply))
    }

    /// A reply to be waited for.
    pub(crate) fn later(
        reply: impl Future<Output = Result<Reply, Failure>> + Send + 'static,
    ) -> Serving {
        Serving::of(Box::pin(reply))
    }

    fn of(reply: Later) -> Serving {
        Serving::Later { reply: LaterReply(reply), front: None, is_parked: false }
    }

    /// The same reply; as long as it is not there the request counts as parked, if so.
    pub(crate) fn parked(mut self, if_so: bool) -> Serving {
        if let Serving::Later { is_parked, .. } = &mut self {
            *is_parked = if_so;
        }
        self
    }

    fn finish_with(&mut self, front: &Arc<Front>) {
        match self {
            Serving::Ready(reply) => {
                if let Some(reply) = reply {
                    reply::add_common(reply.headers_mut(), &front.settings().response_headers);
                }
            }
            Serving::Later { front: finisher, .. } => *finisher = Some(front.clone()),
        }
    }
}

impl Future for Serving {
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reply> {
        match &mut *self {
            Serving::Ready(reply) => {
                Poll::Ready(reply.take().expect("a finished future is not polled again"))
            }
            Serving::Later { reply, front, .. } => reply.0.as_mut().poll(context).map(|result| {
                let mut reply = settled(result);
                if let Some(front) = front {
                    reply::add_common(reply.headers_mut(), &front.settings().response_headers);
                }
                reply
            }),
        }
    }
}

impl Answering for Serving {
    fn is_parked(&self) -> bool {
        matches!(self, Serving::Later { is_parked: true, .. })
    }
}

/// Numbers that look like chance, from a seed (Steele, Lea, Flood: SplitMix64).
pub(crate) struct Chance(AtomicU64);

impl Chance {
    /// Chance from a seed.
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(AtomicU64::new(seed))
    }

    /// The next number.
    pub(crate) fn next(&self) -> u64 {
        let step = 0x9E37_79B9_7F4A_7C15;
        let mut mixed = self.0.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A random UUID in its usual text form.
    pub(crate) fn uuid(&self) -> Text {
        /// Version 4, and the variant that has versions.
        const MARKS: (u64, u64) = (0x4000, 0x8000_0000_0000_0000);
        let high = self.next() & !0xF000 | MARKS.0;
        let low = self.next() & !0xC000_0000_0000_0000 | MARKS.1;
        let digits = format!("{high:016x}{low:016x}");
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        parts.join("-").into()
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A duration below `most`.
    pub(crate) fn up_to(&self, most: Duration) -> Duration {
        let nanos = most.as_nanos().min(u128::from(u64::MAX)) as u64;
        Duration::from_nanos(if nanos == 0 { 0 } else { self.next() % nanos })
    }
}
