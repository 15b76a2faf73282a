//! A listener over real loopback sockets, claim by claim.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use muster_world::{Address, Real, World as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::*;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const SLOW: Duration = Duration::from_millis(150);
/// More than sockets take that nobody reads from.
const LARGE: usize = 32 << 20;

/// Answers by path; tells when a parked request came and when it was dropped.
#[derive(Default)]
struct Echo {
    parked: Notify,
    dropped: Arc<Notify>,
    release: Notify,
    was_dropped: Arc<AtomicBool>,
    limits: Limits,
}

struct TellWhenDropped(Arc<Notify>, Arc<AtomicBool>);

impl Drop for TellWhenDropped {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
        self.0.notify_one();
    }
}

/// An answer of [`Echo`]: parked where its path says so.
struct Echoing {
    response: Pin<Box<dyn Future<Output = Response> + Send>>,
    is_parked: bool,
}

impl Future for Echoing {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        self.response.as_mut().poll(context)
    }
}

impl Answering for Echoing {
    fn is_parked(&self) -> bool {
        self.is_parked
    }
}

impl Handler for Arc<Echo> {
    type Answering = Echoing;

    fn handle(&self, request: Request, peer: Peer) -> Echoing {
        let is_parked = request.uri().path() == "/parked";
        Echoing { response: Box::pin(Arc::clone(self).echo(request, peer)), is_parked }
    }
}

impl Echo {
    async fn echo(self: Arc<Self>, request: Request, peer: Peer) -> Response {
        match request.uri().path() {
            "/peer" => Response::new(format!("{peer:?}").into()),
            "/parked" | "/held" => {
                let _tell =
                    TellWhenDropped(Arc::clone(&self.dropped), Arc::clone(&self.was_dropped));
                self.parked.notify_one();
                self.release.notified().await;
                Response::new("released".into())
            }
            "/large" => Response::new(vec![b'x'; LARGE].into()),
            "/stream" => {
                let (sender, body) = Body::stream(1);
                tokio::spawn(async move {
                    for piece in ["one ", "two ", "three"] {
                        sender.send(piece).await;
                    }
                });
                Response::new(body)
            }
            "/broken" => {
                let (sender, body) = Body::stream(1);
                tokio::spawn(async move {
                    sender.send("half").await;
                    sender.fail(std::io::Error::other("the other half is lost")).await;
                });
                Response::new(body)
            }
            _ => match read_body(request.into_body(), 100, &self.limits).await {
                Ok(body) => Response::new(body.into()),
                Err(error) => {
                    let mut response = Response::new(error.to_string().into());
                    *response.status_mut() = error.status();
                    response
                }
            },
        }
    }
}

struct Site {
    running: Running,
    echo: Arc<Echo>,
    census: Arc<Census>,
}

fn site_at(address: &Address, limits: Limits) -> Site {
    let listener = Real::new().listen(address).expect("a free address");
    let echo = Arc::new(Echo { limits: limits.clone(), ..Echo::default() });
    let census = Census::new(limits);
    let running =
        serve(listener, Arc::new(Arc::clone(&echo)), Arc::clone(&census)).expect("serves");
    Site { running, echo, census }
}

fn site(limits: Limits) -> Site {
    site_at(&Address::Inet(([127, 0, 0, 1], 0).into()), limits)
}

impl Site {
    async fn connect(&self) -> TcpStream {
        let Address::Inet(address) = self.running.address() else { panic!("not over TCP") };
        TcpStream::connect(address).await.expect("connects")
    }
}

/// A connection whose request waits.
async fn parked(site: &Site) -> TcpStream {
    let mut stream = site.connect().await;
    ask(&mut stream, "GET /parked HTTP/1.1\r\nHost: a\r\n\r\n").await;
    within(site.echo.parked.notified()).await;
    stream
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens in time")
}

/// All that is sent until the connection is closed.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.expect("a clean end");
    String::from_utf8(answer).expect("text")
}

async fn ask(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.expect("sent");
}

/// One whole answer with a known length, the connection staying open.
async fn answer(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = String::new();
    while !answer.ends_with(end) {
        let mut piece = [0; 1024];
        let count = within(stream.read(&mut piece)).await.expect("readable");
        assert!(count > 0, "closed after {answer:?}");
        answer += std::str::from_utf8(&piece[..count]).expect("text");
    }
    answer
}

/// What the text of a raw answer says about its length is true.
fn assert_whole(answer: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
    });
    assert_eq!(length, Some(body.len()), "{answer}");
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let site = site(Limits::default());
    let mut stream = site.connect().await;
    for word in ["one", "two", "three"] {
        ask(
            &mut stream,
            &format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{word}", word.len()),
        )
        .await;
        assert!(answer(&mut stream, word).await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    assert_eq!(site.census.counts().accepted.load(Ordering::Relaxed), 1);
    assert_eq!(site.census.counts().requests.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_handler_knows_its_peer() {
    let site = site(Limits::default());
    let mut stream = site.connect().await;
    let port = stream.local_addr().expect("an address").port();
    ask(&mut stream, "GET /peer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(rest(&mut stream).await.contains(&format!("Inet(127.0.0.1:{port})")));
}

#[tokio::test]
async fn a_slow_head_is_answered_408() {
    let site = site(Limits { head_timeout: SLOW, ..Limits::default() });
    for begin in ["GET / HT", "P", "PRI * HTTP/2", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let mut stream = site.connect().await;
        ask(&mut stream, begin).await;
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{begin}: {answer}");
        assert_whole(&answer);
    }
    assert_eq!(site.census.counts().slow_heads.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_slow_second_head_is_answered_408_too() {
    let site = site(Limits { head_timeout: SLOW, ..Limits::default() });
    let mut stream = site.connect().await;
    ask(&mut stream, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok").await;
    answer(&mut stream, "ok").await;
    ask(&mut stream, "GET /").await;
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
async fn a_parked_request_outlives_the_head_and_idle_timeouts() {
    let limits = Limits { head_timeout: SLOW / 3, idle_timeout: SLOW / 3, ..Limits::default() };
    let site = site(limits);
    let mut stream = parked(&site).await;
    let dropped = timeout(SLOW, site.echo.dropped.notified()).await;
    assert!(dropped.is_err(), "still parked");
    site.echo.release.notify_one();
    assert!(answer(&mut stream, "released").await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let site = site(Limits { idle_timeout: SLOW, ..Limits::default() });
    let mut silent = site.connect().await;
    assert_eq!(rest(&mut silent).await, "");
    let mut used = site.connect().await;
    ask(&mut used, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok").await;
    answer(&mut used, "ok").await;
    assert_eq!(rest(&mut used).await, "");
}

#[tokio::test]
async fn an_oversize_head_is_answered_431() {
    let site = site(Limits { head_bytes_max: 8_192, ..Limits::default() });
    let mut stream = site.connect().await;
    ask(&mut stream, &format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(9_000)))
        .await;
    let mut start = [0; 12];
    within(stream.read_exact(&mut start)).await.expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 431");
}

#[tokio::test]
async fn a_connection_too_many_of_a_client_is_answered_429() {
    let site = site(Limits { connections_per_client_max: 2, ..Limits::default() });
    let mut first = site.connect().await;
    let mut second = site.connect().await;
    for stream in [&mut first, &mut second] {
        ask(stream, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok").await;
        answer(stream, "ok").await;
    }
    let mut third = site.connect().await;
    ask(&mut third, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = rest(&mut third).await;
    assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer}");
    assert!(answer.contains("Your IP is issuing too many concurrent connections"));
    assert_whole(&answer);

    // Leaving makes room again.
    ask(&mut first, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    rest(&mut first).await;
    within(async {
        while site.census.counts().open.load(Ordering::Relaxed) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut fourth = site.connect().await;
    ask(&mut fourth, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(rest(&mut fourth).await.starts_with("HTTP/1.1 200 OK"));
    assert_eq!(site.census.counts().refused_client.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_connection_too_many_of_all_is_answered_429() {
    let site = site(Limits { connections_max: 0, ..Limits::default() });
    let mut stream = site.connect().await;
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert_whole(&answer);
    assert_eq!(site.census.counts().refused_full.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_answered_413_before_it_comes() {
    let site = site(Limits::default());
    let mut stream = site.connect().await;
    ask(&mut stream, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n").await;
    let answer = answer(&mut stream, "bytes.").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.ends_with("Request body too large, max size: 100 bytes."));
}

#[tokio::test]
async fn a_chunked_body_is_counted_as_it_comes() {
    let site = site(Limits::default());
    let mut stream = site.connect().await;
    ask(&mut stream, "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for _ in 0..3 {
        ask(&mut stream, &format!("28\r\n{}\r\n", "x".repeat(40))).await;
    }
    assert!(answer(&mut stream, "bytes.").await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn a_body_that_trickles_is_answered_408() {
    let site = site(Limits { body_timeout: SLOW, ..Limits::default() });
    let mut stream = site.connect().await;
    ask(&mut stream, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nab").await;
    let answer = answer(&mut stream, "slowly").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_streamed_answer_arrives_in_pieces_and_keeps_the_connection() {
    let site = site(Limits::default());
    let mut stream = site.connect().await;
    for _ in 0..2 {
        ask(&mut stream, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answer = answer(&mut stream, "0\r\n\r\n").await;
        assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
        assert!(answer.contains("one ") && answer.contains("three"), "{answer}");
    }
}

#[tokio::test]
async fn a_failed_stream_is_not_taken_for_complete() {
    let site = site(Limits::default());
    let mut stream = site.connect().await;
    ask(&mut stream, "GET /broken HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = rest(&mut stream).await;
    assert!(answer.contains("half") && !answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_handler_is_dropped_when_its_client_goes_away() {
    let site = site(Limits::default());
    let stream = parked(&site).await;
    assert!(!site.echo.was_dropped.load(Ordering::SeqCst));
    drop(stream);
    within(site.echo.dropped.notified()).await;
}

#[tokio::test]
async fn http2_without_tls_is_spoken_to_who_begins_with_it() {
    let site = site(Limits::default());
    let io = TokioIo::new(site.connect().await);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
    let driving = tokio::spawn(connection);
    for word in ["one", "two"] {
        let request = hyper::Request::put("http://a/").body(Full::new(Bytes::from(word)));
        let response = within(client.send_request(request.expect("a request"))).await;
        let response = response.expect("an answer");
        assert_eq!(response.version(), http::Version::HTTP_2);
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body, word);
    }
    assert_eq!(site.census.counts().accepted.load(Ordering::Relaxed), 1);
    driving.abort();
}

#[tokio::test]
async fn an_http2_handler_is_dropped_when_its_stream_is_reset() {
    let site = site(Limits::default());
    let io = TokioIo::new(site.connect().await);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
    let driving = tokio::spawn(connection);
    let request = hyper::Request::get("http://a/parked").body(Full::<Bytes>::default());
    let asking = tokio::spawn(client.send_request(request.expect("a request")));
    within(site.echo.parked.notified()).await;
    // Dropping the wish resets its stream; the connection stays.
    asking.abort();
    within(site.echo.dropped.notified()).await;
    assert!(!driving.is_finished());
    driving.abort();
}

#[tokio::test]
async fn an_idle_http2_connection_is_not_taken_for_a_slow_head() {
    let site = site(Limits { head_timeout: SLOW / 10, ..Limits::default() });
    let io = TokioIo::new(site.connect().await);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
    let mut driving = tokio::spawn(connection);
    within(client.ready()).await.expect("ready");
    // Settings have come and gone; the head timeout passes ten times over.
    assert!(timeout(SLOW, &mut driving).await.is_err(), "still open");
    let request = hyper::Request::get("http://a/").body(Full::<Bytes>::default());
    let response = within(client.send_request(request.expect("a request"))).await;
    assert_eq!(response.expect("an answer").status(), http::StatusCode::OK);
    driving.abort();
}

#[tokio::test]
async fn a_unix_socket_is_served_alike() {
    let folder = std::env::temp_dir().join(format!("muster-listen-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("http.sock");
    // The bound of one client does not touch those without an address.
    let limits = Limits { connections_per_client_max: 0, ..Limits::default() };
    let site = site_at(&Address::Unix(path.clone()), limits);
    let mut stream = UnixStream::connect(&path).await.expect("connects");
    ask(&mut stream, "GET /peer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(rest(&mut stream).await.ends_with("Unix"));
    site.running.stop(PATIENCE).await;
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[tokio::test]
async fn a_stop_lets_the_requests_at_hand_be_answered() {
    let site = site(Limits::default());
    let mut waiting = parked(&site).await;
    let mut idle = site.connect().await;
    ask(&mut idle, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok").await;
    answer(&mut idle, "ok").await;
    let Address::Inet(address) = *site.running.address() else { panic!("not over TCP") };

    let stopping = tokio::spawn(site.running.stop(PATIENCE));
    assert_eq!(rest(&mut idle).await, "", "idle connections are closed at once");
    assert!(TcpStream::connect(address).await.is_err(), "nothing more is accepted");
    site.echo.release.notify_one();
    assert!(rest(&mut waiting).await.ends_with("released"));
    assert_eq!(within(stopping).await.expect("stopped"), Drained::Whole);
    assert_eq!(site.census.counts().open.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_stop_closes_what_is_left_at_its_deadline() {
    let site = site(Limits::default());
    let _waiting = parked(&site).await;
    assert_eq!(within(site.running.stop(SLOW)).await, Drained::Cut);
    assert!(site.echo.was_dropped.load(Ordering::SeqCst));
    assert_eq!(site.census.counts().open.load(Ordering::Relaxed), 0);
}

/// What is sent, released once it is held, until the connection is closed; without the date.
async fn released(site: &Site, text: &str) -> String {
    let mut stream = site.connect().await;
    ask(&mut stream, text).await;
    within(site.echo.parked.notified()).await;
    site.echo.release.notify_one();
    let whole = rest(&mut stream).await;
    whole.lines().filter(|line| !line.starts_with("date: ")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn who_was_laid_aside_is_answered_as_who_was_held() {
    let site = site(Limits::default());
    let last = "GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let conversations = [
        "GET {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
        "GET {} HTTP/1.0\r\n\r\n".to_owned(),
        format!("GET {{}} HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n{last}"),
        format!("GET {{}} HTTP/1.1\r\nHost: a\r\n\r\n{last}"),
        format!("HEAD {{}} HTTP/1.1\r\nHost: a\r\n\r\n{last}"),
        format!("GET {{}} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok{last}"),
        format!("POST {{}} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n{last}"),
        "GET {} HTTP/1.1\r\nHost: a\r\n\r\nNONSENSE\r\n\r\n".to_owned(),
        "GET {} HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\n\r\n".to_owned(),
        "GET {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n"
            .to_owned(),
    ];
    for conversation in &conversations {
        let held = released(&site, &conversation.replace("{}", "/held")).await;
        let parked = released(&site, &conversation.replace("{}", "/parked")).await;
        assert_eq!(parked, held, "{conversation}");
        assert!(parked.starts_with("HTTP/1."), "{parked}");
    }
    let n_asked: usize = conversations.iter().map(|it| it.matches(" HTTP/1.").count()).sum();
    let counted = site.census.counts().requests.load(Ordering::Relaxed);
    assert_eq!(counted, 2 * n_asked as u64, "each request counts once");
}

#[tokio::test]
async fn a_connection_parks_many_times() {
    let site = site(Limits::default());
    let mut stream = site.connect().await;
    for _ in 0..3 {
        ask(&mut stream, "GET /parked HTTP/1.1\r\nHost: a\r\n\r\n").await;
        within(site.echo.parked.notified()).await;
        site.echo.release.notify_one();
        assert!(answer(&mut stream, "released").await.starts_with("HTTP/1.1 200 OK"));
        ask(&mut stream, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok").await;
        answer(&mut stream, "ok").await;
    }
}

/// A connection whose parked request has been answered.
async fn answered(site: &Site) -> TcpStream {
    let mut stream = parked(site).await;
    site.echo.release.notify_one();
    answer(&mut stream, "released").await;
    stream
}

#[tokio::test]
async fn after_a_parked_request_a_connection_has_the_usual_time() {
    let limits = Limits { head_timeout: SLOW / 3, idle_timeout: SLOW, ..Limits::default() };
    let site = site(limits);
    assert_eq!(rest(&mut answered(&site).await).await, "", "idle for too long");
    let mut slow = answered(&site).await;
    ask(&mut slow, "GET /").await;
    assert!(rest(&mut slow).await.starts_with("HTTP/1.1 408 "));
    let mut gone = answered(&site).await;
    gone.shutdown().await.expect("half of it");
    assert_eq!(rest(&mut gone).await, "");
    assert_eq!(site.census.counts().slow_heads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn after_a_parked_request_a_connection_is_closed_by_a_stop() {
    let site = site(Limits::default());
    let mut stream = answered(&site).await;
    assert_eq!(within(site.running.stop(PATIENCE)).await, Drained::Whole);
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn who_reads_slowly_gets_all_of_the_answer_before_the_parked_one() {
    let site = site(Limits::default());
    let mut stream = site.connect().await;
    ask(&mut stream, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let park = "GET /parked HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    ask(&mut stream, park).await;
    site.echo.release.notify_one();
    let whole = rest(&mut stream).await;
    assert_eq!(whole.bytes().filter(|byte| *byte == b'x').count(), LARGE);
    assert!(whole.ends_with("released"), "the second answer follows");
}

#[tokio::test]
async fn a_parked_handler_is_dropped_when_its_client_stops_sending() {
    let site = site(Limits::default());
    let mut stream = parked(&site).await;
    stream.shutdown().await.expect("half of it");
    within(site.echo.dropped.notified()).await;
    assert_eq!(rest(&mut stream).await, "");
}

/// Ten thousand parked watchers are ten thousand of these.
#[tokio::test]
async fn the_task_of_a_connection_is_small() {
    let site = site(Limits::default());
    let stream: muster_world::Stream = Box::new(site.connect().await);
    let (_stage, watching) = tokio::sync::watch::channel(crate::serve::Stage::Serving);
    let talk = crate::connection::converse(
        stream,
        Peer::Unix,
        Arc::new(Arc::clone(&site.echo)),
        Arc::clone(&site.census),
        watching,
    );
    let bytes = std::mem::size_of_val(&talk);
    println!("task bytes: {bytes}");
    assert!(bytes <= 1_024, "{bytes} bytes");
}
