//! The watches of the configuration: handlers that run when what they look at changes.
//!
//! Each watch is a task: the loop of `muster watch` ([`Look`]) over the agent's own HTTP listener, so
//! that a handler is given what any client would see, and at its end a program (the JSON on its
//! standard input, the index in `CONSUL_INDEX`) or a URL (the JSON as the body, the index in
//! `X-Consul-Index`). One handler of a watch runs at a time; what changed meanwhile reaches the next
//! run as one answer. A handler that fails is told in the log and not run again for the same answer.
//! What a program prints goes where the agent prints.
//!
//! A reload stops all watches and starts those of the new configuration, so each handler then runs
//! once with the present answer. A stopped watch takes its program and all that it started along.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use muster_agent::tls::{Roots, TlsClient, Trust};
use muster_world::{Address, World, blocking};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::cli::child;
use crate::cli::client::{Client, ClientFlags, exchange};
use crate::cli::look::{Look, Seen};
use crate::config::definition::{HttpHandlerConfig, WatchDefinition};

/// How long a program may run; then it is killed with all that it started.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(600);

/// The running watches of an agent.
pub struct Watches {
    host: Arc<dyn World>,
    /// Where this agent serves HTTP.
    own_address: Option<Address>,
    running: Mutex<JoinSet<()>>,
}

impl Watches {
    /// No watch runs yet.
    pub fn new(host: Arc<dyn World>, own_address: Option<Address>) -> Watches {
        Watches { host, own_address, running: Mutex::default() }
    }

    /// Stops what runs and starts these.
    pub fn replace(&self, definitions: &[WatchDefinition]) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Dropping the set ends its tasks.
        *running = JoinSet::new();
        let Some(own_address) = &self.own_address else {
            if !definitions.is_empty() {
                warn!("no watch is started: watches need an HTTP listener, set ports.http");
            }
            return;
        };
        for definition in definitions {
            let flags = ClientFlags {
                token: Some(definition.token.reveal().to_string()).filter(|text| !text.is_empty()),
                datacenter: Some(definition.datacenter.clone()).filter(|name| !name.is_empty()),
                stale: definition.stale,
                ..ClientFlags::default()
            };
            let client = Client::bound(own_address, flags);
            running.spawn(watch(self.host.clone(), client, definition.clone()));
        }
    }

    /// Stops all watches.
    pub fn stop(&self) {
        self.replace(&[]);
    }
}

async fn watch(host: Arc<dyn World>, client: Client, definition: WatchDefinition) {
    let mut look = Look::new(client, definition.clone());
    loop {
        let seen = look.next().await;
        let kind = &definition.kind;
        debug!(%kind, index = %seen.mark, "a watch saw a change");
        let handed = match definition.handler_type.as_str() {
            "http" => post(&host, &definition.http_handler_config, &seen).await,
            _ => run(&definition, &seen).await,
        };
        if let Err(why) = handed {
            warn!(%kind, index = %seen.mark, %why, "the handler of a watch failed");
        }
    }
}

/// Runs a program with what was seen.
async fn run(definition: &WatchDefinition, seen: &Seen) -> Result<(), String> {
    let (args, is_shell) = match definition.handler.as_str() {
        // A single string is a command line.
        "" => (definition.args.clone(), definition.args.len() == 1),
        line => (vec![line.to_owned()], true),
    };
    let ended = timeout(SCRIPT_TIMEOUT, child::hand(&args, is_shell, seen)).await;
    let ended = ended.map_err(|_| {
        format!("{} ran longer than {} s and was killed", args.join(" "), SCRIPT_TIMEOUT.as_secs())
    })?;
    let status = ended.map_err(|failure| failure.to_string())?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{}: {status}", args.join(" "))),
    }
}

/// Posts what was seen to a URL.
async fn post(host: &Arc<dyn World>, to: &HttpHandlerConfig, seen: &Seen) -> Result<(), String> {
    let sent = async {
        let uri: Uri = to.path.parse().map_err(|error| format!("{}: {error}", to.path))?;
        let request = request(&uri, to, seen)?;
        let name = uri.host().ok_or_else(|| format!("{}: no host is named", to.path))?;
        let is_https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let target = format!("{name}:{port}");
        let addresses =
            host.resolve(&target).await.map_err(|error| format!("{target}: {error}"))?;
        let address = addresses.first().ok_or_else(|| format!("{target} has no address"))?;
        let connected = host.connect(&Address::Inet(*address)).await;
        let mut stream = connected.map_err(|error| format!("{target}: {error}"))?;
        if is_https {
            let client = tls(host, to.tls_skip_verify).await.map_err(|error| error.to_string())?;
            let bare = name.trim_start_matches('[').trim_end_matches(']');
            let secured = client.secure(stream, bare).await;
            stream = secured.map_err(|error| format!("{target}: {error}"))?;
        }
        let response = exchange(stream, request).await?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("{} answered {status}", to.path)),
        }
    };
    let late = |_| format!("{} did not answer within {:?}", to.path, to.timeout);
    timeout(to.timeout, sent).await.map_err(late)?
}

/// Trusts whom this machine trusts, or anyone.
async fn tls(host: &Arc<dyn World>, skip_verify: bool) -> std::io::Result<TlsClient> {
    let trust = match skip_verify {
        true => Trust::Anyone,
        false => {
            let world = host.clone();
            let read = blocking(&**host, move || Roots::of_system(world.files())).await;
            Trust::Roots(read.ok_or_else(|| std::io::Error::other("the agent is stopping"))?)
        }
    };
    TlsClient::new(trust, None, b"http/1.1")
}

fn request(uri: &Uri, to: &HttpHandlerConfig, seen: &Seen) -> Result<Request<Full<Bytes>>, String> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let unusable = |error: &dyn std::fmt::Display| format!("{}: {error}", to.path);
    let method: Method = to.method.parse().map_err(|error| unusable(&error))?;
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, "application/json")
        .header("X-Consul-Index", &seen.mark)
        .body(Full::new(Bytes::from(seen.value.to_string())))
        .map_err(|error| unusable(&error))?;
    for (name, values) in &to.header {
        let name: HeaderName = name.parse().map_err(|error| unusable(&error))?;
        for value in values {
            let value = HeaderValue::from_str(value).map_err(|error| unusable(&error))?;
            request.headers_mut().append(name.clone(), value);
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests;
