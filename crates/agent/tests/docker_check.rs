//! A Docker check against a server that speaks the part of the Docker Engine API that it needs: an exec
//! is created, started, and asked for its exit code.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::{House, scripts_allowed};
use muster_agent::checks::Allowed;
use muster_health::check::Observation;
use muster_model::definition::Rule;
use muster_model::{Status, Text};
use muster_world::Real;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// A folder of this test, empty.
fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("muster-docker-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// An engine with one container, `web`, in which `sh -c 'exit N'` and `tool --exit N` end with N.
fn serve(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
}

async fn answer(mut stream: UnixStream) {
    let mut request = Vec::new();
    let mut piece = [0; 1_024];
    let body_at = loop {
        let n_bytes = stream.read(&mut piece).await.unwrap();
        request.extend(&piece[..n_bytes]);
        if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8(request[..body_at].to_vec()).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    while request.len() < body_at + length {
        let n_bytes = stream.read(&mut piece).await.unwrap();
        request.extend(&piece[..n_bytes]);
    }
    let reply = reply(head.lines().next().unwrap(), &request[body_at..]);
    stream.write_all(&reply).await.unwrap();
}

/// What the engine says. The exit code travels in the exec's id.
fn reply(line: &str, body: &[u8]) -> Vec<u8> {
    let json = |status: &str, body: String| {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n");
        format!("{head}content-length: {length}\r\n\r\n{body}").into_bytes()
    };
    match line.split(' ').collect::<Vec<_>>()[..] {
        ["post", "/containers/web/exec", _] => {
            let wish: Value = serde_json::from_slice(body).unwrap();
            assert_eq!((&wish["AttachStdout"], &wish["Tty"]), (&true.into(), &false.into()));
            let words: Vec<&str> =
                wish["Cmd"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
            let code = match words[..] {
                ["/bin/sh", "-c", line] => line.strip_prefix("exit ").unwrap(),
                ["tool", "--exit", code] => code,
                _ => panic!("{words:?}"),
            };
            json("201 Created", format!(r#"{{"Id":"exec{code}"}}"#))
        }
        ["post", "/exec/exec7/start", _] => Vec::new(),
        ["post", path, _] if path.starts_with("/exec/") && path.ends_with("/start") => {
            // Without a length: the stream ends with the connection.
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.docker.raw-stream\r\n\r\n";
            let mut reply = head.as_bytes().to_vec();
            for (kind, text) in [(1, "out\n"), (2, "err\n")] {
                reply.extend([kind, 0, 0, 0]);
                reply.extend((text.len() as u32).to_be_bytes());
                reply.extend(text.as_bytes());
            }
            reply
        }
        ["get", path, _] => {
            let code = path.trim_start_matches("/exec/exec").trim_end_matches("/json");
            json("200 OK", format!(r#"{{"Running":false,"ExitCode":{code}}}"#))
        }
        _ => {
            let why = r#"{"message":"No such container: nope"}"#;
            json("404 Not Found", why.to_owned())
        }
    }
}

fn docker(container_id: &str, shell: &str, args: &[&str]) -> Rule {
    Rule::Docker {
        container_id: container_id.into(),
        shell: shell.into(),
        args: args.iter().map(|word| Text::from(*word)).collect(),
    }
}

async fn found(socket: &Path, rule: Rule) -> Observation {
    let allowed = Allowed { docker_socket: Some(socket.to_owned()), ..scripts_allowed() };
    let mut house = House::new(Arc::new(Real::new()), allowed);
    house.run(rule, Duration::from_secs(5));
    house.next().await
}

#[tokio::test]
async fn the_exit_code_in_the_container_decides_and_both_outputs_are_kept() {
    let socket = scratch("exit").join("docker.sock");
    serve(&socket);
    for (code, status) in [("0", Status::Passing), ("1", Status::Warning), ("2", Status::Critical)]
    {
        let found = found(&socket, docker("web", "", &["tool", "--exit", code])).await;
        assert_eq!((found.status, found.output.as_str()), (status, "out\nerr\n"), "{code}");
    }
}

#[tokio::test]
async fn a_shell_is_given_the_arguments_as_one_line() {
    let socket = scratch("shell").join("docker.sock");
    serve(&socket);
    let found = found(&socket, docker("web", "/bin/sh", &["exit", "1"])).await;
    assert_eq!(found.status, Status::Warning, "{}", found.output);
}

#[tokio::test]
async fn what_goes_wrong_is_critical_in_the_engines_words() {
    let socket = scratch("wrong").join("docker.sock");
    serve(&socket);
    let missing = found(&socket, docker("nope", "", &["tool"])).await;
    assert_eq!(missing.status, Status::Critical);
    assert!(missing.output.contains("404 Not Found"), "{}", missing.output);
    assert!(missing.output.contains("No such container: nope"), "{}", missing.output);
    let cut = found(&socket, docker("web", "", &["tool", "--exit", "7"])).await;
    assert_eq!(cut.status, Status::Critical, "{}", cut.output);
    let odd = found(&socket, docker("../info", "", &["tool"])).await;
    assert!(odd.output.contains("is not the name or id of a container"), "{}", odd.output);
}

#[tokio::test]
async fn a_check_that_may_no_longer_run_says_so_at_its_next_run() {
    let socket = scratch("forbidden").join("docker.sock");
    serve(&socket);
    let allowed = Allowed { docker_socket: Some(socket), ..Allowed::default() };
    let mut house = House::new(Arc::new(Real::new()), allowed);
    house.run(docker("web", "", &["tool", "--exit", "0"]), Duration::from_secs(5));
    let found = house.next().await;
    assert_eq!(found.status, Status::Critical);
    assert!(found.output.contains("Scripts are disabled"), "{}", found.output);
}
