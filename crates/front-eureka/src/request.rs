//! A request as the operations see it: path taken apart, parameters decoded, body still unread.

use std::io::Read;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::combinators::BoxBody;
use muster_listen::{Limits, read_body};
use muster_model::Text;
use muster_registry::{Call, Caller};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::codec::shapes::Detail;
use crate::codec::write::Document;
use crate::codec::{self, Notation, Senseless};
use crate::documents::Form;
use crate::failure::Failure;
use crate::limits::PARAMETERS_MAX;

/// A request.
pub(crate) struct Request {
    pub(crate) method: Method,
    /// The parts of the path after the prefix, decoded; a slash at the end counts for nothing.
    pub(crate) path: Vec<String>,
    parameters: Vec<(String, String)>,
    headers: HeaderMap,
    body: BoxBody<Bytes, std::io::Error>,
    limits: Arc<Limits>,
}

impl Request {
    /// Takes a request apart.
    ///
    /// # Errors
    /// Where path or parameters cannot be decoded.
    pub(crate) fn new(
        parts: http::request::Parts,
        body: BoxBody<Bytes, std::io::Error>,
        limits: Arc<Limits>,
    ) -> Result<Request, Failure> {
        let path = path_of(parts.uri.path())?;
        let parameters = parameters_of(parts.uri.query().unwrap_or(""))?;
        let (method, headers) = (parts.method, parts.headers);
        Ok(Request { method, path, parameters, headers, body, limits })
    }

    /// The value of a parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// All parameters.
    pub(crate) fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// A parameter that is a number.
    ///
    /// # Errors
    /// Where it is none.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.parameter(name) else { return Ok(None) };
        let number = text.parse();
        number.map(Some).map_err(|_| Failure::bad_request(format!("{name}: {text:?} is no number")))
    }

    /// Whether an Eureka server sent it on.
    pub(crate) fn is_replicated(&self) -> bool {
        self.header("x-netflix-discovery-replication") == Some("true")
    }

    /// Who asks: the password of basic authentication, as clients send it that have one in the
    /// address of their server, or a bearer token, is the token.
    pub(crate) fn call(&self) -> Call {
        let token = self.header(AUTHORIZATION.as_str()).and_then(token).unwrap_or_default();
        Call { caller: Caller { token: Text::from(token).into() }, ..Call::default() }
    }

    /// How the reply shall be written: XML unless JSON is named.
    ///
    /// # Errors
    /// Where the client takes neither.
    pub(crate) fn form(&self) -> Result<Form, Failure> {
        let accepted = self.header(ACCEPT.as_str()).unwrap_or("*/*");
        let notation = if accepted.contains("json") {
            Notation::Json
        } else if accepted.contains("xml") || accepted.contains("*/*") {
            Notation::Xml
        } else {
            let text = "only application/json and application/xml are served";
            return Err(Failure::new(StatusCode::NOT_ACCEPTABLE, text));
        };
        let is_compact =
            self.header("x-eureka-accept").is_some_and(|word| word.eq_ignore_ascii_case("compact"));
        let detail = if is_compact { Detail::Compact } else { Detail::Full };
        let codings = self.header(ACCEPT_ENCODING.as_str()).unwrap_or("");
        let takes_gzip = |coding: &str| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            name.trim() == "gzip" && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00")
        };
        let is_gzip = codings.split(',').any(takes_gzip);
        Ok(Form { notation, detail, is_gzip })
    }

    /// What `read` makes of the tree of the body.
    ///
    /// # Errors
    /// Where it is too large, comes too slowly or makes no sense.
    pub(crate) async fn document<T>(
        &mut self,
        n_bytes_max: usize,
        read: impl FnOnce(&Value) -> Result<T, Senseless>,
    ) -> Result<T, Failure> {
        let body = std::mem::take(&mut self.body);
        let body = read_body(body, n_bytes_max, &self.limits)
            .await
            .map_err(|error| Failure::new(error.status(), error.to_string()))?;
        let body = self.decompressed(body, n_bytes_max)?;
        let notation = self.notation(&body);
        let tree = codec::parse(&body, notation);
        tree.and_then(|tree| read(&tree)).map_err(|why| senseless(&why, notation))
    }

    fn decompressed(&self, body: Bytes, n_bytes_max: usize) -> Result<Bytes, Failure> {
        match self.header(CONTENT_ENCODING.as_str()) {
            None | Some("identity" | "") => Ok(body),
            Some("gzip") => {
                let mut plain = Vec::new();
                let mut reader = GzDecoder::new(&body[..]).take(n_bytes_max as u64 + 1);
                reader
                    .read_to_end(&mut plain)
                    .map_err(|_| Failure::bad_request("the body is not gzip"))?;
                if plain.len() > n_bytes_max {
                    let text = format!("Request body too large, max size: {n_bytes_max} bytes.");
                    return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text));
                }
                Ok(plain.into())
            }
            Some(other) => {
                let text = format!("content encoding {other:?} is not known; send gzip or none");
                Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
            }
        }
    }

    /// The notation of the body: what its type says, else what it looks like.
    fn notation(&self, body: &[u8]) -> Notation {
        let kind = self.header(CONTENT_TYPE.as_str()).unwrap_or("");
        let looks_like_xml = || body.trim_ascii_start().first() == Some(&b'<');
        if kind.contains("xml") || (!kind.contains("json") && looks_like_xml()) {
            Notation::Xml
        } else {
            Notation::Json
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What the original says of a body that it cannot read, with our reason beside it.
fn senseless(why: &Senseless, notation: Notation) -> Failure {
    if notation == Notation::Xml {
        let mut document = Document::new(notation, false);
        document.open("error");
        document.text("message", "cannot parse request body");
        document.text("reason", &why.0);
        document.close("error");
        return Failure::bad_request(String::from_utf8_lossy(&document.take()).into_owned());
    }
    let document = serde_json::json!({ "error": "cannot parse request body", "reason": why.0 });
    Failure::bad_request(document.to_string())
}

/// The parts of a path after `/eureka` and the version, both of which may be left out.
fn path_of(path: &str) -> Result<Vec<String>, Failure> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    let mut parts = parts.map(decoded).collect::<Result<Vec<String>, Failure>>()?;
    for names in [&["eureka"][..], &["v1", "v2"]] {
        if parts.first().is_some_and(|first| names.contains(&first.as_str())) {
            parts.remove(0);
        }
    }
    Ok(parts)
}

fn decoded(text: &str) -> Result<String, Failure> {
    let text = percent_decode_str(text).decode_utf8();
    Ok(text.map_err(|_| Failure::bad_request("the address is not UTF-8"))?.into_owned())
}

fn parameters_of(query: &str) -> Result<Vec<(String, String)>, Failure> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let decode = |text: &str| decoded(&text.replace('+', " "));
    let decoded = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(name)?, decode(value)?))
    });
    let all = decoded.collect::<Result<Vec<_>, Failure>>()?;
    if all.len() > PARAMETERS_MAX {
        return Err(Failure::bad_request(format!("at most {PARAMETERS_MAX} parameters are read")));
    }
    Ok(all)
}

fn token(header: &str) -> Option<String> {
    let (scheme, credentials) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.trim().into());
    }
    let bytes = BASE64_STANDARD.decode(credentials.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let password = text.split_once(':')?.1.to_owned();
    scheme.eq_ignore_ascii_case("basic").then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_leads_to_the_same_place() {
        let parts = ["apps", "FOO", "h:1"];
        for path in [
            "/eureka/apps/FOO/h:1",
            "/eureka/v2/apps/FOO/h%3A1/",
            "/eureka/v1//apps/FOO/h:1",
            "/v2/apps/FOO/h:1",
        ] {
            assert_eq!(path_of(path).unwrap(), parts, "{path}");
        }
        assert!(path_of("/eureka/%ff").is_err());
    }

    #[test]
    fn a_password_in_the_address_is_the_token() {
        assert_eq!(token("Basic dXNlcjpwYTpzcw==").as_deref(), Some("pa:ss"));
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("Basic ???"), None);
    }
}
