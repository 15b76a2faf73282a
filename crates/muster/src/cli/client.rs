//! A thin HTTP client: one request, one connection, an error that says what to do.
//!
//! It speaks HTTP/1.1 over TCP, TLS or a unix socket, as the commands need it: bodies are bounded, a
//! token goes along, and an agent that cannot be reached or refuses becomes a [`Failure`] with advice.
//! There is no pool and no retry: a command makes few requests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use muster_world::Stream;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::https::{self, Https};
use super::{Failure, files};

/// The longest answer that is kept in memory; snapshots go straight to a file.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The longest token file.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;
/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What stands unescaped in a path: keys keep their slashes.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');

/// How an agent is reached: the flags that every command has which talks to one.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "How the agent is reached")]
pub struct ClientFlags {
    /// The agent's address: host:port, http://host:port, https://host:port or unix:///path
    /// [MUSTER_HTTP_ADDR, CONSUL_HTTP_ADDR].
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub http_addr: Option<String>,
    /// The token [MUSTER_HTTP_TOKEN, CONSUL_HTTP_TOKEN].
    #[arg(long, global = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// A file that holds the token [MUSTER_HTTP_TOKEN_FILE, CONSUL_HTTP_TOKEN_FILE].
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<String>,
    /// The datacenter that shall answer.
    #[arg(long, global = true, value_name = "NAME")]
    pub datacenter: Option<String>,
    /// Let any server answer, possibly behind.
    #[arg(long, global = true)]
    pub stale: bool,
    /// Trusted roots, for https, or `CONSUL_CACERT`.
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<String>,
    /// A folder of trusted roots, for https, or `CONSUL_CAPATH`.
    #[arg(long, global = true, value_name = "DIR")]
    pub ca_path: Option<String>,
    /// The client's certificate, for https, or `CONSUL_CLIENT_CERT`.
    #[arg(long, global = true, value_name = "FILE")]
    pub client_cert: Option<String>,
    /// Its key, for https, or `CONSUL_CLIENT_KEY`.
    #[arg(long, global = true, value_name = "FILE")]
    pub client_key: Option<String>,
    /// The name expected in the agent's certificate, for https, or `CONSUL_TLS_SERVER_NAME`.
    #[arg(long, global = true, value_name = "NAME")]
    pub tls_server_name: Option<String>,
}

/// Something of the environment, under muster's name or else Consul's.
pub fn environment(name: &str) -> Option<String> {
    let read = |prefix: &str| std::env::var(format!("{prefix}_{name}")).ok();
    read("MUSTER").or_else(|| read("CONSUL")).filter(|value| !value.is_empty())
}

#[derive(Debug, Clone)]
enum Address {
    Tcp(String),
    Unix(String),
}

/// Talks to one agent.
#[derive(Debug, Clone)]
pub struct Client {
    address: Address,
    https: Option<Https>,
    shown: String,
    token: Option<String>,
    basic: Option<String>,
    common: Vec<(String, String)>,
}

/// What an agent answered.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A request before it is sent.
#[derive(Debug, Clone)]
pub struct Ask {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    body: Bytes,
}

impl Ask {
    /// A read of a path, e.g. `/v1/kv/a b`; it is escaped here.
    pub fn get(path: impl AsRef<str>) -> Ask {
        Ask::new(Method::GET, path.as_ref())
    }

    /// A write.
    pub fn put(path: impl AsRef<str>) -> Ask {
        Ask::new(Method::PUT, path.as_ref())
    }

    /// A request of any method.
    pub fn new(method: Method, path: &str) -> Ask {
        let path = utf8_percent_encode(path, PATH).to_string();
        Ask { method, path, query: Vec::new(), body: Bytes::new() }
    }

    /// Adds a parameter.
    pub fn with(mut self, key: &str, value: impl ToString) -> Ask {
        self.query.push((key.to_owned(), value.to_string()));
        self
    }

    /// Adds a parameter if there is something to say.
    pub fn with_some<T: ToString>(self, key: &str, value: Option<T>) -> Ask {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds a parameter without value if it holds.
    pub fn flag(self, key: &str, holds: bool) -> Ask {
        if holds { self.with(key, "") } else { self }
    }

    /// Gives the request a body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Ask {
        self.body = body.into();
        self
    }
}

impl Client {
    /// The agent that flags and environment name.
    pub fn new(flags: &ClientFlags) -> Result<Client, Failure> {
        let named = flags.http_addr.clone().or_else(|| environment("HTTP_ADDR"));
        let shown = named.unwrap_or_else(|| "127.0.0.1:8500".into());
        let (address, https) = match shown.strip_prefix("unix://") {
            Some(path) => (Address::Unix(path.to_owned()), None),
            None => {
                let is_https = https::is_wanted(&shown)?;
                let target = target(&shown, if is_https { 8501 } else { 8500 });
                let host = target.rsplit_once(':').map_or(&*target, |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let https = is_https.then(|| Https::new(flags, host)).transpose()?;
                (Address::Tcp(target), https)
            }
        };
        let common = common(flags);
        let token = token(flags)?;
        Ok(Client { address, https, shown, token, basic: environment("HTTP_AUTH"), common })
    }

    /// The agent on this host, whatever flags and environment say.
    pub fn local() -> Client {
        let shown = "127.0.0.1:8500".to_owned();
        let address = Address::Tcp(shown.clone());
        Client { address, https: None, shown, token: None, basic: None, common: Vec::new() }
    }

    /// The agent at an address that it bound itself, whatever flags and environment say.
    pub fn bound(at: &muster_world::Address, flags: ClientFlags) -> Client {
        let address = match at {
            muster_world::Address::Unix(path) => Address::Unix(path.display().to_string()),
            muster_world::Address::Inet(at) => Address::Tcp(reachable(*at).to_string()),
        };
        let common = common(&flags);
        let (shown, token) = (at.to_string(), flags.token);
        Client { address, https: None, shown, token, basic: None, common }
    }

    /// The address as the person wrote it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub async fn send(&self, ask: Ask) -> Result<Reply, Failure> {
        let (parts, body) = self.open(ask).await?.into_parts();
        let limited = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = limited.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Failure::new(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes"))
            } else {
                Failure::new(format!("the agent at {} broke off its answer: {error}", self.shown))
            }
        })?;
        Ok(Reply { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }

    /// Sends a request that must succeed.
    pub async fn done(&self, ask: Ask) -> Result<Reply, Failure> {
        let reply = self.send(ask).await?;
        if reply.status.is_success() { Ok(reply) } else { Err(self.refused(&reply)) }
    }

    /// Sends a request that must succeed, and reads the JSON of its answer.
    pub async fn json(&self, ask: Ask) -> Result<Value, Failure> {
        self.done(ask).await?.json()
    }

    /// Sends a request that must succeed, and gives its answer as it comes.
    pub async fn stream(&self, ask: Ask) -> Result<Incoming, Failure> {
        let response = self.open(ask).await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        let status = response.status();
        let body = Limited::new(response.into_body(), 64 * 1024).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        Err(self.refused(&Reply { status, headers: http::HeaderMap::new(), body }))
    }

    /// Why an answer is a refusal, in Consul's words.
    pub fn refused(&self, reply: &Reply) -> Failure {
        let text = reply.text();
        Failure::new(format!(
            "Unexpected response code: {} ({})",
            reply.status.as_u16(),
            text.trim()
        ))
    }

    async fn open(&self, ask: Ask) -> Result<http::Response<Incoming>, Failure> {
        let request = self.request(ask)?;
        let connected: std::io::Result<Stream> = match &self.address {
            Address::Tcp(address) => TcpStream::connect(address).await.map(|s| Box::new(s) as _),
            Address::Unix(path) => UnixStream::connect(path).await.map(|s| Box::new(s) as _),
        };
        let mut stream = connected.map_err(|error| self.unreachable(&error.to_string()))?;
        if let Some(https) = &self.https {
            let secured = timeout(CONNECT_TIMEOUT, https.secure(stream)).await;
            let secured = secured.map_err(|_| self.unreachable("it does not answer"))?;
            stream = secured.map_err(|error| self.distrusted(&error))?;
        }
        exchange(stream, request).await.map_err(|why| self.unreachable(&why))
    }

    fn distrusted(&self, why: &std::io::Error) -> Failure {
        Failure::new(format!(
            "no secure connection to the agent at {}: {why}\n\
             Say whom to trust with -ca-file or CONSUL_CACERT, the name in its certificate with \
             -tls-server-name, and show a certificate with -client-cert and -client-key if it asks for \
             one.",
            self.shown
        ))
    }

    fn request(&self, ask: Ask) -> Result<Request<Full<Bytes>>, Failure> {
        let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs: Vec<String> = self
            .common
            .iter()
            .chain(&ask.query)
            .map(|(key, value)| match value.as_str() {
                "" => escape(key),
                value => format!("{}={}", escape(key), escape(value)),
            })
            .collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        let host = match &self.address {
            Address::Tcp(address) => address.as_str(),
            Address::Unix(_) => "localhost",
        };
        let mut request = Request::builder()
            .method(ask.method)
            .uri(format!("{}{mark}{}", ask.path, pairs.join("&")))
            .header(header::HOST, host);
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(token)
                .map_err(|_| Failure::new("the token holds characters that no header may have"))?;
            value.set_sensitive(true);
            request = request.header("X-Consul-Token", value);
        }
        if let Some(pair) = &self.basic {
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
            request = request.header(header::AUTHORIZATION, format!("Basic {encoded}"));
        }
        request
            .body(Full::new(ask.body))
            .map_err(|error| Failure::new(format!("this cannot be asked over HTTP: {error}")))
    }

    fn unreachable(&self, why: &str) -> Failure {
        Failure::new(format!(
            "no agent can be reached at {}: {why}\n\
             Start one with `muster agent -dev`, or say where one is with -http-addr or \
             CONSUL_HTTP_ADDR.",
            self.shown
        ))
    }
}

/// `host:port` of an address, with a port of its own or the usual one.
fn target(address: &str, port: u16) -> String {
    let bare = address.split_once("://").map_or(address, |(_, bare)| bare).trim_end_matches('/');
    let has_port = bare.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { bare.to_owned() } else { format!("{bare}:{port}") }
}

/// The parameters that all requests have.
fn common(flags: &ClientFlags) -> Vec<(String, String)> {
    let datacenter = flags.datacenter.iter().map(|name| ("dc".to_owned(), name.clone()));
    let stale = flags.stale.then(|| ("stale".to_owned(), String::new()));
    datacenter.chain(stale).collect()
}

/// Where a listener is reached from its own host: one of all interfaces, through the loopback.
fn reachable(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, at.port())
}

/// Sends one request over a connection of its own.
pub async fn exchange(
    stream: Stream,
    request: Request<Full<Bytes>>,
) -> Result<http::Response<Incoming>, String> {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = timeout(CONNECT_TIMEOUT, handshake)
        .await
        .map_err(|_| "it does not answer".to_owned())?
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(|error| format!("it does not speak HTTP: {error}"))
}

fn token(flags: &ClientFlags) -> Result<Option<String>, Failure> {
    if let Some(token) = &flags.token {
        return Ok(Some(token.clone()));
    }
    let file = flags.token_file.clone().or_else(|| environment("HTTP_TOKEN_FILE"));
    match file {
        Some(file) => {
            let text = files::read(Path::new(&file), TOKEN_BYTES_MAX)?;
            Ok(Some(String::from_utf8_lossy(text.trim_ascii()).into_owned()))
        }
        None => Ok(environment("HTTP_TOKEN")),
    }
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::new(format!("the agent's answer is not JSON: {error}")))
    }

    /// The index to wait beyond; 0 if there is none.
    pub fn index(&self) -> u64 {
        let text = self.headers.get("X-Consul-Index").and_then(|value| value.to_str().ok());
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}
