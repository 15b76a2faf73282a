//! Real scripts and a real listener, fed by an agent that answers from a list.

use std::path::PathBuf;
use std::process::Stdio;

use muster_world::{Files, Memory, Real};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(30);

/// An agent that gives one answer a connection, the next only when told to, and none after that.
struct Canned {
    address: Address,
    next: mpsc::Sender<(u64, &'static str)>,
}

impl Canned {
    async fn start() -> Canned {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Inet(listener.local_addr().unwrap());
        let (next, mut answers) = mpsc::channel::<(u64, &str)>(16);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                head(&mut stream).await;
                let Some((index, body)) = answers.recv().await else { return };
                let length = body.len();
                let text = format!(
                    "HTTP/1.1 200 OK\r\nX-Consul-Index: {index}\r\nContent-Length: {length}\r\n\r\n{body}"
                );
                // A watch that was stopped reads no more.
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        Canned { address, next }
    }

    async fn answer(&self, index: u64, body: &'static str) {
        self.next.send((index, body)).await.unwrap();
    }
}

/// Reads to the end of a request's head; gives all that came.
async fn head(stream: &mut TcpStream) -> String {
    let mut came = Vec::new();
    while !came.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut piece = [0; 4096];
        let n_bytes = stream.read(&mut piece).await.unwrap();
        assert!(n_bytes > 0, "the request breaks off");
        came.extend_from_slice(&piece[..n_bytes]);
    }
    String::from_utf8(came).unwrap()
}

/// A folder of a test's own with a named pipe, through which a script tells what it was given.
struct Pipe(PathBuf);

impl Pipe {
    fn make(name: &str) -> Pipe {
        let folder = std::env::temp_dir().join(format!("watches-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let made = std::process::Command::new("mkfifo").arg(folder.join("pipe")).status().unwrap();
        assert!(made.success());
        Pipe(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join("pipe")
    }

    /// What comes through the pipe, until nobody holds its other end.
    fn reader(&self) -> Child {
        let mut cat = Command::new("cat");
        cat.arg(self.path()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
    }

    /// All that one run of a script writes.
    async fn read(&self) -> String {
        let read = self.reader().wait_with_output();
        let output = timeout(DEADLINE, read).await.expect("the script runs").unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn services(args: &[&str]) -> WatchDefinition {
    WatchDefinition {
        kind: "services".into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        ..WatchDefinition::default()
    }
}

fn watches(agent: &Canned) -> Watches {
    Watches::new(Arc::new(Real::new()), Some(agent.address.clone()))
}

#[tokio::test]
async fn a_script_gets_the_answer_and_its_index_once_for_each_change() {
    let (agent, pipe) = (Canned::start().await, Pipe::make("script"));
    let watches = watches(&agent);
    let line = format!("(echo $CONSUL_INDEX; cat) > {}", pipe.path().display());
    watches.replace(&[services(&["sh", "-c", &line])]);
    agent.answer(5, r#"{"web":[]}"#).await;
    assert_eq!(pipe.read().await, "5\n{\"web\":[]}\n");
    // The same under another index is no change: the run after it tells the one that follows.
    agent.answer(6, r#"{"web":[]}"#).await;
    agent.answer(7, r#"{"web":["a"]}"#).await;
    assert_eq!(pipe.read().await, "7\n{\"web\":[\"a\"]}\n");
}

#[tokio::test]
async fn a_handler_that_fails_is_run_again_at_the_next_change() {
    let (agent, pipe) = (Canned::start().await, Pipe::make("fails"));
    let watches = watches(&agent);
    watches.replace(&[services(&[&format!("cat > {}; exit 3", pipe.path().display())])]);
    agent.answer(5, "{}").await;
    assert_eq!(pipe.read().await, "{}\n");
    agent.answer(6, r#"{"a":[]}"#).await;
    assert_eq!(pipe.read().await, "{\"a\":[]}\n");
}

#[tokio::test]
async fn a_reload_ends_a_running_program_with_all_that_it_started() {
    let (agent, pipe) = (Canned::start().await, Pipe::make("reload"));
    let watches = watches(&agent);
    // The grandchild holds the pipe open for as long as it lives.
    let line = format!("(echo begun; sleep 3600) > {} & wait", pipe.path().display());
    watches.replace(&[services(&["sh", "-c", &line])]);
    agent.answer(5, "{}").await;
    let mut reader = pipe.reader();
    let mut out = reader.stdout.take().unwrap();
    let mut begun = [0; 6];
    timeout(DEADLINE, out.read_exact(&mut begun)).await.expect("the program starts").unwrap();
    assert_eq!(&begun, b"begun\n");
    watches.replace(&[]);
    let mut rest = Vec::new();
    timeout(DEADLINE, out.read_to_end(&mut rest)).await.expect("nobody holds the pipe").unwrap();
    assert_eq!(rest, b"");
}

/// Reads the rest of a request to the end of its body.
async fn whole(stream: &mut (impl AsyncRead + Unpin), body: &str) -> String {
    let mut came = String::new();
    while !came.ends_with(body) {
        let mut piece = [0; 4096];
        let n_bytes = stream.read(&mut piece).await.unwrap();
        assert!(n_bytes > 0, "{came}");
        came.push_str(std::str::from_utf8(&piece[..n_bytes]).unwrap());
    }
    came.to_lowercase()
}

#[tokio::test]
async fn an_https_handler_is_told_if_its_certificate_is_trusted_or_nobody_looks() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let disk = Memory::new();
    let bundle = std::path::Path::new("/etc/ssl/certs/ca-certificates.crt");
    let files: &dyn Files = &disk;
    files.create_folder(bundle.parent().unwrap()).unwrap();
    files.replace(bundle, made.cert.pem().as_bytes()).unwrap();
    let trusting: Arc<dyn World> = Arc::new(Real::with_files(Arc::new(disk)));
    for (host, tls_skip_verify, is_told) in [
        (Arc::new(Real::new()) as Arc<dyn World>, false, false),
        (Arc::new(Real::new()), true, true),
        (trusting, false, true),
    ] {
        let agent = Canned::start().await;
        let watches = Watches::new(host, Some(agent.address.clone()));
        let path = format!("https://{}/hook", listener.local_addr().unwrap());
        let handler = HttpHandlerConfig { path, tls_skip_verify, ..HttpHandlerConfig::default() };
        watches.replace(&[WatchDefinition {
            handler_type: "http".into(),
            http_handler_config: handler,
            ..services(&[])
        }]);
        agent.answer(9, r#"{"web":[]}"#).await;
        let (stream, _) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
        let secured = timeout(DEADLINE, acceptor.accept(stream)).await.unwrap();
        assert_eq!(secured.is_ok(), is_told, "{secured:?}");
        let Ok(mut stream) = secured else { continue };
        let came = whole(&mut stream, r#"{"web":[]}"#).await;
        assert!(came.starts_with("post /hook http/1.1\r\n"), "{came}");
    }
}

#[tokio::test]
async fn an_http_handler_gets_the_answer_as_the_body_of_a_post() {
    let agent = Canned::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let watches = watches(&agent);
    let handler = HttpHandlerConfig {
        path: format!("http://{}/hook?a=b", listener.local_addr().unwrap()),
        header: [("X-Foo".to_owned(), vec!["bar".to_owned()])].into(),
        ..HttpHandlerConfig::default()
    };
    let definition = WatchDefinition {
        handler_type: "http".into(),
        http_handler_config: handler,
        ..services(&[])
    };
    watches.replace(&[definition]);
    agent.answer(9, r#"{"web":[]}"#).await;
    let (mut stream, _) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
    let came = whole(&mut stream, r#"{"web":[]}"#).await;
    assert!(came.starts_with("post /hook?a=b http/1.1\r\n"), "{came}");
    for line in ["x-consul-index: 9\r\n", "x-foo: bar\r\n", "content-type: application/json\r\n"] {
        assert!(came.contains(line), "{line:?} is missing: {came}");
    }
}
