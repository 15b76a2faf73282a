//! A program inside a container: Docker's API over its unix socket, exit codes as of a script.

use std::io;
use std::path::Path;

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use muster_health::capture::Capture;
use muster_health::check::Observation;
use muster_model::Text;
use muster_world::{Address, World};
use serde_json::{Value, json};

use super::script::status_of;
use super::{Allowed, found};

/// Where Docker listens unless configured otherwise.
const USUAL_SOCKET: &str = "/var/run/docker.sock";
/// Bytes of an answer that are read: what the program prints is one.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What is run, and where.
pub(super) struct Program<'a> {
    pub(super) container_id: &'a Text,
    pub(super) shell: &'a Text,
    pub(super) args: &'a [Text],
}

pub(super) async fn run(
    world: &dyn World,
    allowed: &Allowed,
    program: &Program<'_>,
    output_bytes_max: usize,
) -> io::Result<Observation> {
    let socket = allowed.docker_socket.as_deref().unwrap_or(Path::new(USUAL_SOCKET));
    let docker = Docker { world, socket };
    let container = path_segment(program.container_id)?;
    let creating = json!({
        "AttachStdout": true, "AttachStderr": true, "Tty": false, "Cmd": program.command(),
    });
    let created = docker.post(&format!("/containers/{container}/exec"), &creating).await?;
    let created: Value = serde_json::from_slice(&created).map_err(io::Error::other)?;
    let exec = created["Id"].as_str().ok_or_else(|| io::Error::other("Docker gave no exec id"))?;
    let exec = path_segment(exec)?;
    let starting = json!({"Detach": false, "Tty": false});
    let printed = docker.post(&format!("/exec/{exec}/start"), &starting).await?;
    let inspected = docker.ask(Method::GET, &format!("/exec/{exec}/json"), Bytes::new()).await?;
    let inspected: Value = serde_json::from_slice(&inspected).map_err(io::Error::other)?;
    let code = inspected["ExitCode"].as_i64().and_then(|code| i32::try_from(code).ok());
    let mut capture = Capture::new(output_bytes_max);
    unwrap_stream(printed, &mut capture);
    Ok(found(status_of(code), capture.text("")))
}

impl Program<'_> {
    /// With a shell, the arguments are one line for it.
    fn command(&self) -> Vec<String> {
        let args: Vec<String> = self.args.iter().map(ToString::to_string).collect();
        match self.shell.is_empty() {
            true => args,
            false => vec![self.shell.to_string(), "-c".into(), args.join(" ")],
        }
    }
}

struct Docker<'a> {
    world: &'a dyn World,
    socket: &'a Path,
}

impl Docker<'_> {
    async fn post(&self, path: &str, body: &Value) -> io::Result<Bytes> {
        self.ask(Method::POST, path, body.to_string().into()).await
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> io::Result<Bytes> {
        let whose = |error: io::Error| {
            io::Error::new(error.kind(), format!("Docker at {}: {error}", self.socket.display()))
        };
        let address = Address::Unix(self.socket.to_owned());
        let stream = self.world.connect(&address).await.map_err(whose)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "docker")
            .header("content-type", "application/json")
            .header("connection", "close")
            .body(Full::new(body))
            .map_err(io::Error::other)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let talk = async move {
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok((status, body.map_err(io::Error::other)?.to_bytes()))
        };
        let mut talk = std::pin::pin!(talk);
        let said: io::Result<_> = tokio::select! {
            said = &mut talk => said,
            _ = connection => talk.await,
        };
        let (status, body) = said.map_err(whose)?;
        match status.is_success() {
            true => Ok(body),
            false => Err(whose(io::Error::other(format!(
                "{status}: {}",
                String::from_utf8_lossy(&body)
            )))),
        }
    }
}

/// Takes the frames of Docker's stream apart: kind, three zeros, length, content.
fn unwrap_stream(printed: Bytes, capture: &mut Capture) {
    let mut rest = BytesMut::from(&printed[..]);
    while rest.len() >= 8 {
        rest.advance(4);
        let length = (rest.get_u32() as usize).min(rest.len());
        capture.push(&rest.split_to(length));
    }
}

/// An id as part of a path: whoever registers a check names a container, not a path.
fn path_segment(id: &str) -> io::Result<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    match !id.is_empty() && id.bytes().all(is_plain) {
        true => Ok(id),
        false => Err(io::Error::other(format!("{id:?} is not the name or id of a container"))),
    }
}
