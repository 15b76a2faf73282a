//! A request over HTTP: 2xx passes, 429 warns, anything else is critical.
//!
//! Each run opens a connection of its own, as a client of the service would. Redirects are followed
//! up to ten, with what a browser would send along, but not to addresses that only this machine can
//! reach ([`Allowed::may_redirect_to`]).

use std::io;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, COOKIE, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use muster_health::capture::Capture;
use muster_health::check::Observation;
use muster_model::definition::TlsOptions;
use muster_model::{Status, Text};
use muster_world::Stream;

use super::dial::{Dial, Tls, host_of};
use super::{Allowed, found};

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 10;
/// Bytes of a body that are read; its tail is kept of those.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes that the head of an answer may take, and so the buffer of a connection.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What is asked.
pub(super) struct Ask<'a> {
    pub(super) url: &'a Text,
    pub(super) method: &'a Text,
    pub(super) headers: &'a [(Text, Vec<Text>)],
    pub(super) body: &'a Text,
    pub(super) disable_redirects: bool,
    pub(super) tls: &'a TlsOptions,
}

/// One request on its way, as redirects alter it.
struct Hop {
    uri: Uri,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    n_redirects: usize,
}

pub(super) async fn run(
    dial: &Dial,
    allowed: &Allowed,
    ask: &Ask<'_>,
    output_bytes_max: usize,
) -> io::Result<Observation> {
    let method = if ask.method.is_empty() { "GET" } else { ask.method };
    let mut hop = Hop {
        uri: ask.url.parse().map_err(io::Error::other)?,
        method: method.parse().map_err(io::Error::other)?,
        headers: headers_of(ask)?,
        body: Bytes::copy_from_slice(ask.body.as_bytes()),
        n_redirects: 0,
    };
    let mut printed = Capture::new(output_bytes_max);
    let status = loop {
        let stream = open(dial, allowed, &hop, ask.tls).await?;
        let (status, location) = exchange(stream, &hop, &mut printed).await?;
        match location.filter(|_| is_redirect(status) && !ask.disable_redirects) {
            None => break status,
            Some(location) => hop.redirect(status, &location)?,
        }
        printed = Capture::new(output_bytes_max);
    };
    let reason = status.canonical_reason().unwrap_or_default();
    let head = format!("HTTP {method} {}: {} {reason} Output: ", ask.url, status.as_u16());
    Ok(found(status_of(status), printed.text(&head)))
}

fn status_of(status: StatusCode) -> Status {
    match status {
        StatusCode::TOO_MANY_REQUESTS => Status::Warning,
        status if status.is_success() => Status::Passing,
        _ => Status::Critical,
    }
}

fn headers_of(ask: &Ask<'_>) -> io::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, values) in ask.headers {
        let name: HeaderName = name.parse().map_err(io::Error::other)?;
        for value in values {
            let value = HeaderValue::from_str(value).map_err(io::Error::other)?;
            headers.append(name.clone(), value);
        }
    }
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static("Consul Health Check"));
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("text/plain, text/*, */*"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(headers)
}

/// A stream to where the request goes.
async fn open(dial: &Dial, allowed: &Allowed, hop: &Hop, tls: &TlsOptions) -> io::Result<Stream> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    let is_secure = match hop.uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(invalid(format!("{}: not an http or https URL", hop.uri))),
    };
    let host = hop.uri.host().ok_or_else(|| invalid(format!("{}: no host", hop.uri)))?;
    let port = hop.uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let target = format!("{host}:{port}");
    let mut addresses = dial.resolve(&target).await?;
    if hop.n_redirects > 0 {
        addresses.retain(|address| allowed.may_redirect_to(address.ip()));
        if addresses.is_empty() {
            return Err(invalid(format!(
                "not redirected to {}: it is on the local link or serves instance metadata",
                hop.uri
            )));
        }
    }
    let stream = dial.connect(&addresses).await?;
    match is_secure {
        true => dial.secure(stream, host_of(&target), Tls { options: tls, protocol: b"" }).await,
        false => Ok(stream),
    }
}

/// Sends the request and reads the answer; gives its status, and where it points.
async fn exchange(
    stream: Stream,
    hop: &Hop,
    printed: &mut Capture,
) -> io::Result<(StatusCode, Option<String>)> {
    let request = hop.request()?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let talk = async move {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let (status, location) = (response.status(), location.map(str::to_owned));
        read(response.into_body(), printed).await?;
        Ok((status, location))
    };
    let mut talk = std::pin::pin!(talk);
    tokio::select! {
        said = &mut talk => said,
        _ = connection => talk.await,
    }
}

async fn read(mut body: Incoming, printed: &mut Capture) -> io::Result<()> {
    let mut n_bytes = 0;
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(io::Error::other)?.into_data() else { continue };
        printed.push(&piece);
        n_bytes += piece.len();
        if n_bytes >= BODY_BYTES_MAX {
            break;
        }
    }
    Ok(())
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

impl Hop {
    fn request(&self) -> io::Result<Request<Full<Bytes>>> {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(path)
            .body(Full::new(self.body.clone()))
            .map_err(io::Error::other)?;
        *request.headers_mut() = self.headers.clone();
        if !request.headers().contains_key(HOST) {
            let host = HeaderValue::from_str(host).map_err(io::Error::other)?;
            request.headers_mut().insert(HOST, host);
        }
        Ok(request)
    }

    /// Turns to where an answer points. What is secret is not shown to another host.
    fn redirect(&mut self, status: StatusCode, location: &str) -> io::Result<()> {
        self.n_redirects += 1;
        if self.n_redirects > REDIRECTS_MAX {
            return Err(io::Error::other(format!("stopped after {REDIRECTS_MAX} redirects")));
        }
        let uri = resolve(&self.uri, location)?;
        if uri.authority() != self.uri.authority() {
            for secret in [AUTHORIZATION, COOKIE, HOST] {
                self.headers.remove(secret);
            }
        }
        if status.as_u16() <= 303 {
            self.body = Bytes::new();
            if self.method != Method::HEAD {
                self.method = Method::GET;
            }
        }
        self.uri = uri;
        Ok(())
    }
}

/// What a reference means, seen from a URL.
fn resolve(base: &Uri, reference: &str) -> io::Result<Uri> {
    let reference = reference.split('#').next().unwrap_or_default();
    let scheme = base.scheme_str().unwrap_or("http");
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let whole = if reference.contains("://") {
        reference.to_owned()
    } else if reference.starts_with("//") {
        format!("{scheme}:{reference}")
    } else if reference.starts_with('/') {
        format!("{scheme}://{authority}{reference}")
    } else if reference.starts_with('?') || reference.is_empty() {
        format!("{scheme}://{authority}{}{reference}", base.path())
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{reference}")
    };
    whole.parse().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_means_what_it_means_from_its_page() {
        let base: Uri = "http://a:1/b/c?d".parse().unwrap();
        for (reference, whole) in [
            ("https://z/y", "https://z/y"),
            ("//z/y", "http://z/y"),
            ("/y?x#w", "http://a:1/y?x"),
            ("y", "http://a:1/b/y"),
            ("?y", "http://a:1/b/c?y"),
        ] {
            assert_eq!(resolve(&base, reference).unwrap().to_string(), whole, "{reference}");
        }
    }
}
