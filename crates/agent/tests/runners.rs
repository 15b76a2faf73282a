//! Each kind of check against a real server on loopback: what it finds, and what it says.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use muster_model::definition::{Rule, TlsOptions};
use muster_model::{Status, Text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::timeout;

use common::{PATIENCE, first_result, result};

fn http(url: String) -> Rule {
    Rule::Http {
        url: url.into(),
        method: Text::default(),
        headers: vec![("X-Probe".into(), vec!["1".into()])],
        body: Text::default(),
        disable_redirects: false,
        tls: TlsOptions::default(),
    }
}

/// Answers each connection with what `answer` makes of the request.
async fn serve(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            let mut piece = [0; 1_024];
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read(&mut piece).await {
                    Ok(n_bytes) if n_bytes > 0 => request.extend(&piece[..n_bytes]),
                    _ => break,
                }
            }
            let answer = answer(&String::from_utf8_lossy(&request));
            // A client that has read enough hangs up.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

fn answer(status: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{more}\r\n{body}")
}

/// An address at which nobody listens.
async fn deserted() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
    listener.local_addr().expect("it is bound")
}

#[tokio::test]
async fn http_passes_on_2xx_warns_on_429_and_says_what_it_read() {
    let address = serve(|request| match request {
        _ if !request.contains("user-agent: Consul Health Check\r\n") => answer("400 Bad", "", ""),
        _ if !request.contains("x-probe: 1\r\n") => answer("400 Bad", "", ""),
        _ if request.starts_with("GET /busy ") => answer("429 Slow", "", "later"),
        _ if request.starts_with("GET /ill ") => answer("503 Ill", "", "no disk"),
        _ => answer("200 OK", "", "all well"),
    })
    .await;
    let found = result(http(format!("http://{address}/"))).await;
    assert_eq!(found.status, Status::Passing);
    assert_eq!(
        found.output,
        format!("HTTP GET http://{address}/: 200 OK Output: all well").as_str()
    );
    let found = result(http(format!("http://{address}/busy"))).await;
    assert_eq!(found.status, Status::Warning);
    let found = result(http(format!("http://{address}/ill"))).await;
    assert_eq!(found.status, Status::Critical);
    assert!(found.output.ends_with("503 Service Unavailable Output: no disk"), "{}", found.output);
}

#[tokio::test]
async fn http_follows_redirects_but_not_to_instance_metadata_and_not_for_ever() {
    let address = serve(|request| match request {
        _ if request.starts_with("GET /moved ") => answer("302 Found", "location: /new\r\n", ""),
        _ if request.starts_with("GET /new ") => answer("200 OK", "", "here"),
        _ if request.starts_with("GET /round ") => answer("307 Round", "location: /round\r\n", ""),
        _ => answer("302 Found", "location: http://169.254.169.254/secret\r\n", ""),
    })
    .await;
    let found = result(http(format!("http://{address}/moved"))).await;
    assert!(found.output.ends_with("200 OK Output: here"), "{}", found.output);
    let found = result(http(format!("http://{address}/round"))).await;
    assert_eq!(
        (found.status, found.output.as_str()),
        (Status::Critical, "stopped after 10 redirects")
    );
    let found = result(http(format!("http://{address}/lure"))).await;
    assert_eq!(found.status, Status::Critical);
    assert!(found.output.contains("not redirected"), "{}", found.output);
}

#[tokio::test]
async fn a_body_without_end_is_read_to_its_bound_and_its_tail_is_kept() {
    let address = serve(|_| {
        let body = "0123456789".repeat(200_000);
        answer("200 OK", "", &body)
    })
    .await;
    let found = result(http(format!("http://{address}/"))).await;
    assert_eq!(found.status, Status::Passing);
    assert!(found.output.len() <= 4_096 && found.output.contains("Captured"), "{}", found.output);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_critical_when_its_time_is_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
    let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
    let found = first_result(http(url), Duration::from_millis(200)).await;
    assert_eq!(found.status, Status::Critical);
    assert!(found.output.contains("200ms"), "{}", found.output);
}

#[tokio::test]
async fn tcp_passes_where_somebody_listens() {
    let tcp = |address: SocketAddr| Rule::Tcp {
        address: address.to_string().into(),
        use_tls: false,
        tls: TlsOptions::default(),
    };
    let address = serve(|_| String::new()).await;
    let found = result(tcp(address)).await;
    assert_eq!(found.output, format!("TCP connect {address}: Success").as_str());
    let found = result(tcp(deserted().await)).await;
    assert_eq!(found.status, Status::Critical);
    assert!(found.output.contains("refused"), "{}", found.output);
}

#[tokio::test]
async fn udp_passes_without_an_answer_and_is_critical_when_refused() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback is there");
    let address = socket.local_addr().expect("it is bound");
    let udp = || Rule::Udp { address: address.to_string().into() };
    let found = first_result(udp(), Duration::from_millis(200)).await;
    assert_eq!(found.status, Status::Passing);
    drop(socket);
    let found = result(udp()).await;
    assert_eq!(found.status, Status::Critical, "{}", found.output);
}

/// An HTTP/2 server whose health protocol answers with this status.
async fn serve_h2(status: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut connection) = h2::server::handshake(stream).await else { continue };
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                let head = http::Response::builder().header("content-type", "application/grpc");
                let head = head.body(()).expect("it is well formed");
                let mut body = respond.send_response(head, false).expect("the client is there");
                let frame = bytes::Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]);
                body.send_data(frame, false).expect("the client is there");
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
                body.send_trailers(trailers).expect("the client is there");
            }
        }
    });
    address
}

#[tokio::test]
async fn grpc_passes_while_serving() {
    for (status, expected) in [(1, Status::Passing), (2, Status::Critical)] {
        let target = format!("{}/web", serve_h2(status).await);
        let (use_tls, tls) = (false, TlsOptions::default());
        let found = result(Rule::Grpc { target: target.clone().into(), use_tls, tls }).await;
        assert_eq!(found.status, expected, "{}", found.output);
        assert!(found.output.contains(&target), "{}", found.output);
    }
}

#[tokio::test]
async fn h2ping_passes_when_the_ping_is_acknowledged() {
    let h2ping = |address: SocketAddr| Rule::H2ping {
        address: address.to_string().into(),
        use_tls: false,
        tls: TlsOptions::default(),
    };
    let found = result(h2ping(serve_h2(1).await)).await;
    assert_eq!(
        (found.status, found.output.as_str()),
        (Status::Passing, "HTTP2 ping was successful")
    );
    let found = result(h2ping(serve(|_| "no".into()).await)).await;
    assert_eq!(found.status, Status::Critical);
}

fn script(line: &str) -> Rule {
    Rule::Script { args: ["sh", "-c", line].map(Text::from).to_vec() }
}

#[tokio::test]
async fn a_script_passes_warns_or_fails_by_its_exit_code() {
    let found = result(script("echo out; echo err >&2; exit 0")).await;
    assert_eq!(found.status, Status::Passing);
    assert!(found.output.contains("out\n") && found.output.contains("err\n"));
    assert_eq!(result(script("exit 1")).await.status, Status::Warning);
    assert_eq!(result(script("exit 2")).await.status, Status::Critical);
    let missing = Rule::Script { args: vec!["/no/such/program".into()] };
    let found = result(missing).await;
    assert!(found.output.starts_with("/no/such/program: "), "{}", found.output);
}

#[tokio::test]
async fn a_script_that_takes_too_long_ends_with_everything_it_started() {
    // Both the shell and what it started hold the far end; it closes when the last of them is gone.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
    let port = listener.local_addr().expect("it is bound").port();
    let line = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; sleep 600 & sleep 600");
    let rule = Rule::Script { args: ["bash", "-c", &line].map(Text::from).to_vec() };
    let running = tokio::spawn(first_result(rule, Duration::from_millis(500)));
    let (mut stream, _) =
        timeout(PATIENCE, listener.accept()).await.expect("it starts").expect("it connects");
    let found = running.await.expect("it does not panic");
    assert_eq!(found.status, Status::Critical);
    let closed = timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("all are gone");
    assert!(matches!(closed, Ok(0) | Err(_)));
}

#[tokio::test]
async fn docker_that_is_not_there_is_critical_and_says_where_it_was_looked_for() {
    let rule = Rule::Docker {
        container_id: "web".into(),
        shell: Text::default(),
        args: vec!["true".into()],
    };
    let found = result(rule).await;
    assert_eq!(found.status, Status::Critical);
    assert!(found.output.starts_with("Docker at "), "{}", found.output);
}
