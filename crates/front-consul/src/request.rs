//! A request as handlers see it: path decoded and matched, parameters split, body still unread.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH};
use http_body_util::combinators::BoxBody;
use muster_listen::{Limits, read_body};
use muster_model::Text;
use muster_registry::{Call, Caller};

use crate::failure::Failure;
use crate::front::Front;
use crate::limits::BODY_BYTES_MAX;
use crate::parameters::Parameters;

/// The unread body of a request.
pub(crate) type Unread = BoxBody<Bytes, std::io::Error>;

/// A request.
pub(crate) struct Request {
    /// The path, decoded.
    pub(crate) path: Path,
    /// The parameters of the query string.
    pub(crate) parameters: Parameters,
    /// The header lines.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Unread,
    /// How slowly the body may come.
    pub(crate) limits: Arc<Limits>,
    /// How the reply shall be written.
    pub(crate) style: Style,
    /// Where it came from; nothing: over a unix socket.
    pub(crate) peer: Option<IpAddr>,
}

/// A decoded path, and which part of it the route left open.
pub(crate) struct Path {
    pub(crate) characters: Text,
    pub(crate) open: Range<usize>,
}

/// How a reply shall be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Style {
    /// Indented.
    pub(crate) is_pretty: bool,
    /// Compressed, where it is worth it.
    pub(crate) is_gzip: bool,
}

impl Request {
    /// The part of the path that the route left open: a name, an id, a key.
    pub(crate) fn name(&self) -> &str {
        &self.path.characters[self.path.open.clone()]
    }

    /// The open part of the path, or a failure that says what is missing.
    pub(crate) fn required_name(&self, what: &'static str) -> Result<Text, Failure> {
        match self.name() {
            "" => Err(Failure::bad_request(format!("Missing {what}"))),
            name => Ok(name.into()),
        }
    }

    /// Who asks, and of which datacenter.
    pub(crate) fn call(&self, front: &Front) -> Call {
        let datacenter = self.parameters.text("datacenter").or(self.parameters.text("dc"));
        Call {
            caller: Caller { token: Text::from(self.token()).into() },
            datacenter: datacenter.filter(|name| *name != &**front.datacenter()).map(Text::from),
            deadline: None,
        }
    }

    /// The token shown: as a parameter, in its own header, or as a bearer token.
    fn token(&self) -> &str {
        let header = |name| self.headers.get(name).and_then(|value| value.to_str().ok());
        let own = || header("x-consul-token").filter(|token| !token.is_empty());
        let bearer = || {
            let (scheme, token) = header(AUTHORIZATION.as_str())?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        };
        self.parameters.text("token").or_else(own).or_else(bearer).unwrap_or("")
    }

    /// The address of who asks: the one that a proxy speaks for, else the one it came from.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        let spoken_for = || {
            let list = self.headers.get("x-forwarded-for")?.to_str().ok()?;
            list.split(',').next()?.trim().parse().ok()
        };
        spoken_for().or(self.peer).map(|address| address.to_canonical())
    }

    /// The whole body, if it is not larger than usual.
    pub(crate) async fn body(&mut self) -> Result<Bytes, Failure> {
        self.body_up_to(BODY_BYTES_MAX).await
    }

    /// The whole body, if it has no more than `n_bytes_max`.
    pub(crate) async fn body_up_to(&mut self, n_bytes_max: usize) -> Result<Bytes, Failure> {
        let body = std::mem::take(&mut self.body);
        read_body(body, n_bytes_max, &self.limits)
            .await
            .map_err(|error| Failure::new(error.status(), error.to_string()))
    }

    /// How many bytes the client says that the body has, if it says so.
    pub(crate) fn promised_bytes(&self) -> Option<u64> {
        self.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// Whether the client takes gzip.
    pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
        headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).is_some_and(|value| {
            value.split(',').any(|coding| {
                let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
                let is_refused = matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
                name.trim() == "gzip" && !is_refused
            })
        })
    }
}

/// Undoes the percent-encoding of a path.
pub(crate) fn decode_path(raw: &str) -> Option<Cow<'_, str>> {
    if raw.contains('%') { crate::parameters::decode(raw) } else { Some(Cow::Borrowed(raw)) }
}

/// Whether every character of a path can be printed: others are refused, because logs and
/// terminals obey them.
pub(crate) fn is_printable(path: &str) -> bool {
    path.chars().all(|character| {
        !character.is_control()
            && !matches!(character, '\u{ad}' | '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
                | '\u{e000}'..='\u{f8ff}')
            && (character == ' ' || !character.is_whitespace())
    })
}
