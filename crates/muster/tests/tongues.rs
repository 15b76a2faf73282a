//! Any tongue in, any tongue out, with the real program: `docs/eureka.md`'s table, both ways. What
//! Eureka's clients write is looked for in DNS, in Consul's API and in `muster explain`; what comes
//! through Consul's API, in what Eureka's clients read.
//!
//! The fields one by one are tested in `front-eureka`; this is about who is handed out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(120);

/// A running server, and how it is spoken to.
struct House {
    http: String,
    dns: String,
    folder: PathBuf,
    _process: Child,
}

impl Drop for House {
    fn drop(&mut self) {
        // The system clears away what is left of a failed test.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl House {
    async fn start(name: &str) -> House {
        let folder = std::env::temp_dir().join(format!("muster-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let ready = folder.join("ready.json");
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command.args(["agent", "-dev", "-node", "own", "-ready-file"]).arg(&ready);
        for flag in ["http", "dns", "grpc", "grpc-tls", "server", "serf-lan", "serf-wan", "eureka"]
        {
            command.arg(format!("-{flag}-port=0"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let process = command.spawn().unwrap();
        let deadline = Instant::now() + DEADLINE;
        let told = loop {
            assert!(Instant::now() < deadline, "the server is not ready in time");
            let text = std::fs::read(&ready).unwrap_or_default();
            if let Ok(told) = serde_json::from_slice::<Value>(&text) {
                break told;
            }
            tokio::task::yield_now().await;
        };
        let address = |name: &str| told[name].as_str().unwrap().to_owned();
        let (http, dns) = (address("http"), address("dns"));
        House { http, dns, folder, _process: process }
    }

    /// Speaks HTTP, of all tongues that use it; gives the status, Consul's index and the document.
    async fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, u64, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} {path} HTTP/1.0\r\nhost: test\r\naccept: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let exchange = async {
            let mut stream = TcpStream::connect(&self.http).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).await.unwrap();
            reply
        };
        let reply = timeout(DEADLINE, exchange).await.unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        let head = head.to_lowercase();
        let index = head.lines().find_map(|line| line.strip_prefix("x-consul-index: "));
        let index = index.map_or(0, |index| index.parse().unwrap());
        (head[9..12].parse().unwrap(), index, serde_json::from_str(body).unwrap_or_default())
    }

    /// Writes, in any tongue, what must be taken.
    async fn write(&self, method: &str, path: &str, body: Value) {
        let (status, _, said) = self.ask(method, path, &body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {said}");
    }

    async fn read(&self, path: &str) -> Value {
        self.ask("GET", path, &Value::Null).await.2
    }

    async fn register(&self, more: Value) {
        let mut instance = json!({
            "instanceId": "h1:shop:8080", "hostName": "h1", "app": "SHOP", "ipAddr": "10.0.0.1",
            "status": "UP", "port": {"$": 8080, "@enabled": "true"},
            "dataCenterInfo": {"name": "MyOwn"},
        });
        for (name, value) in more.as_object().unwrap() {
            instance[name] = value.clone();
        }
        self.write("POST", "/eureka/apps/SHOP", json!({ "instance": instance })).await;
    }

    /// Waits until Consul's API answers as it must.
    async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) {
        let mut index = 0;
        let wait = async {
            loop {
                let path = format!("{path}?wait=5s&index={index}");
                let (_, now, found) = self.ask("GET", &path, &Value::Null).await;
                if is_so(&found) {
                    return;
                }
                index = now;
            }
        };
        timeout(DEADLINE, wait).await.expect(path);
    }

    /// The ports that each tongue hands out of a service: DNS, Consul's API, and `explain` of both.
    async fn handed_out(&self, service: &str) -> [Vec<u16>; 4] {
        let path = format!("/v1/health/service/{service}");
        let passing = self.read(&format!("{path}?passing")).await;
        let all = self.read(&path).await;
        let port = |entry: &Value| entry["Service"]["Port"].as_u64().unwrap() as u16;
        let ports = |found: &Value| found.as_array().unwrap().iter().map(port).collect::<Vec<_>>();
        let verdicts = self.explain(service).await;
        let explained = |by: &str| {
            let pairs = verdicts.as_array().unwrap().iter().zip(ports(&all));
            pairs.filter(|(own, _)| own[by] == "in").map(|(_, port)| port).collect::<Vec<u16>>()
        };
        [self.srv(service).await, ports(&passing), explained("dns"), explained("passing")]
    }

    async fn is_handed_out(&self, service: &str) -> bool {
        let handed_out = self.handed_out(service).await;
        assert!(handed_out.iter().all(|own| *own == handed_out[0]), "{handed_out:?}");
        !handed_out[0].is_empty()
    }

    async fn explain(&self, service: &str) -> Value {
        let program = Command::new(env!("CARGO_BIN_EXE_muster"))
            .args(["explain", "-format", "json", "-http-addr", &self.http, service])
            .output();
        let output = timeout(DEADLINE, program).await.unwrap().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The ports of `SERVICE.service.consul SRV`.
    async fn srv(&self, service: &str) -> Vec<u16> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in [service, "service", "consul"] {
            question.push(u8::try_from(label.len()).unwrap());
            question.extend_from_slice(label.as_bytes());
        }
        question.extend([0, 0, 33, 0, 1]);
        socket.send_to(&question, &self.dns).await.unwrap();
        let mut answer = [0; 2_048];
        let length = timeout(DEADLINE, socket.recv(&mut answer)).await.unwrap().unwrap();
        ports_in(&answer[..length], question.len())
    }

    /// The word and the port with which Eureka's clients see an instance; nothing where they do not.
    async fn seen(&self, app: &str, id: &str) -> Option<(String, u64)> {
        let path = format!("/eureka/apps/{app}/{id}");
        let (status, _, found) = self.ask("GET", &path, &Value::Null).await;
        let found = &found["instance"];
        (status == 200).then(|| {
            (found["status"].as_str().unwrap().to_owned(), found["port"]["$"].as_u64().unwrap())
        })
    }
}

/// The ports of the SRV records among the answers of a message, whose question ends at `at`.
fn ports_in(message: &[u8], mut at: usize) -> Vec<u16> {
    let number = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let mut ports = Vec::new();
    for _ in 0..number(6) {
        while message[at] != 0 && message[at] < 0xc0 {
            at += usize::from(message[at]) + 1;
        }
        at += if message[at] == 0 { 1 } else { 2 };
        let (kind, length) = (number(at), number(at + 8));
        at += 10;
        if kind == 33 {
            ports.push(number(at + 4));
        }
        at += usize::from(length);
    }
    ports
}

// ------------------------------------------------------------------------------------------------
// From Eureka
// ------------------------------------------------------------------------------------------------

#[tokio::test]
async fn what_eurekas_clients_say_is_so_in_every_tongue() {
    let house = House::start("from-eureka").await;
    for (word, is_in) in [
        ("UP", true),
        ("DOWN", false),
        ("STARTING", false),
        ("OUT_OF_SERVICE", false),
        ("UNKNOWN", false),
        ("UP", true),
    ] {
        house.register(json!({ "status": word })).await;
        assert_eq!(house.is_handed_out("shop").await, is_in, "{word}");
    }
    assert_eq!(house.srv("shop").await, [8080]);
    // The port is the one that is open.
    house
        .register(json!({"port": {"$": 80, "@enabled": "false"},
        "securePort": {"$": 8443, "@enabled": "true"}}))
        .await;
    assert_eq!(house.srv("shop").await, [8443]);

    let all = house.read("/v1/health/service/shop").await;
    let (node, service) = (&all[0]["Node"], &all[0]["Service"]);
    assert_eq!((&node["Node"], &node["Address"]), (&json!("h1"), &json!("10.0.0.1")));
    assert_eq!((&service["ID"], &service["Address"]), (&json!("h1:shop:8080"), &json!("10.0.0.1")));

    // An operator's word, and what is left when it is taken back.
    let status = "/eureka/apps/SHOP/h1:shop:8080/status";
    house.write("PUT", &format!("{status}?value=OUT_OF_SERVICE"), json!(null)).await;
    assert!(!house.is_handed_out("shop").await);
    let because = house.explain("shop").await[0]["because"].to_string();
    assert!(because.contains("an operator switched it off"), "{because}");
    house.write("DELETE", &format!("{status}?value=UP"), json!(null)).await;
    assert!(house.is_handed_out("shop").await);

    // Deregistered, it is gone in every tongue, and its node with it.
    house.write("DELETE", "/eureka/apps/SHOP/h1:shop:8080", json!(null)).await;
    assert!(house.srv("shop").await.is_empty());
    assert_eq!(house.read("/v1/catalog/node/h1").await, json!(null));

    // So it is when it falls silent.
    house.register(json!({"leaseInfo": {"durationInSecs": 1}})).await;
    house.until("/v1/health/service/shop", |found| found == &json!([])).await;
    assert!(house.srv("shop").await.is_empty());
    assert_eq!(house.seen("SHOP", "h1:shop:8080").await, None);
}

/// The health URL of an application that answers with the status it is told.
async fn application(status: Arc<AtomicU16>) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/actuator/health", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let status = status.load(Ordering::Relaxed);
            let reply = format!("HTTP/1.1 {status} So\r\ncontent-length: 2\r\n\r\nso");
            // Who asks may have gone.
            let _ = stream.read(&mut [0; 1_024]).await;
            let _ = stream.write_all(reply.as_bytes()).await;
        }
    });
    url
}

#[tokio::test]
async fn a_health_url_is_called_for_who_asks_for_it() {
    let house = House::start("health-url").await;
    let status = Arc::new(AtomicU16::new(200));
    let url = application(status.clone()).await;
    let asking = json!({"healthCheckUrl": url, "metadata": {"healthCheckIntervalInSecs": "5"}});
    house.register(asking.clone()).await;
    let path = "/v1/health/checks/shop";
    let called = |found: &Value, status: &str| {
        let checks = found.as_array().unwrap().iter();
        let mut own = checks.filter(|check| check["CheckID"] == "eureka-http:h1:shop:8080");
        own.next().is_some_and(|check| check["Status"] == status && check["Type"] == "http")
    };
    house.until(path, |found| called(found, "passing")).await;
    assert!(house.is_handed_out("shop").await);

    // It fails, while the client goes on saying that it is up.
    status.store(503, Ordering::Relaxed);
    house.until(path, |found| called(found, "critical")).await;
    assert!(!house.is_handed_out("shop").await);
    let (word, _) = house.seen("SHOP", "h1:shop:8080").await.unwrap();
    assert_eq!(word, "DOWN");
    // Registering again does not make it well, nor unknown.
    house.register(asking.clone()).await;
    assert!(!house.is_handed_out("shop").await);
    status.store(200, Ordering::Relaxed);
    house.until(path, |found| called(found, "passing")).await;
    assert!(house.is_handed_out("shop").await);

    // Asked for at another place, it says what it finds there, also if that is as bad as nothing.
    status.store(500, Ordering::Relaxed);
    let other = json!({ "healthCheckUrl": format!("{url}?other"), "metadata": asking["metadata"] });
    house.register(other).await;
    house
        .until(path, |found| {
            let mut checks = found.as_array().unwrap().iter();
            checks.any(|check| check["Output"].as_str().unwrap().contains("?other: 500"))
        })
        .await;

    // Without the wish there is no such check.
    house.register(json!({ "healthCheckUrl": url })).await;
    assert!(!called(&house.read(path).await, "passing"));
    assert!(house.is_handed_out("shop").await);
}

// ------------------------------------------------------------------------------------------------
// To Eureka
// ------------------------------------------------------------------------------------------------

#[tokio::test]
async fn what_an_agent_vouches_for_is_so_for_eurekas_clients() {
    let house = House::start("to-eureka").await;
    let service = json!({"ID": "web-1", "Name": "web", "Port": 80, "Address": "10.0.0.7",
        "Check": {"CheckID": "web-check", "TTL": "1h", "Status": "passing"}});
    house.write("PUT", "/v1/agent/service/register", service).await;
    let path = "/v1/health/service/web";
    let checks = |found: &Value, status: &str| {
        let all = found[0]["Checks"].as_array().cloned().unwrap_or_default();
        let worst = ["critical", "warning", "passing"]
            .into_iter()
            .find(|word| all.iter().any(|check| check["Status"] == *word));
        worst == Some(status)
    };
    house.until(path, |found| checks(found, "passing")).await;
    for (written, status, word, is_in) in [
        ("check/pass/web-check", "passing", "UP", true),
        ("check/warn/web-check", "warning", "UP", true),
        ("check/fail/web-check", "critical", "DOWN", false),
        ("service/maintenance/web-1?enable=true", "critical", "OUT_OF_SERVICE", false),
        ("check/pass/web-check", "critical", "OUT_OF_SERVICE", false),
        ("service/maintenance/web-1?enable=false", "passing", "UP", true),
        ("maintenance?enable=true", "critical", "OUT_OF_SERVICE", false),
        ("maintenance?enable=false", "passing", "UP", true),
    ] {
        house.write("PUT", &format!("/v1/agent/{written}"), json!(null)).await;
        house.until(path, |found| checks(found, status)).await;
        assert_eq!(house.seen("WEB", "own:web-1").await, Some((word.into(), 80)), "{written}");
        assert_eq!(!house.srv("web").await.is_empty(), is_in, "{written}");
    }
    house.write("PUT", "/v1/agent/service/deregister/web-1", json!(null)).await;
    house.until(path, |found| found == &json!([])).await;
    assert_eq!(house.seen("WEB", "own:web-1").await, None);
}

#[tokio::test]
async fn what_stands_in_the_catalog_is_so_for_eurekas_clients() {
    let house = House::start("catalog-to-eureka").await;
    let mut entry = json!({"Node": "db-1", "Address": "10.0.0.9",
        "Service": {"ID": "pg", "Service": "postgres", "Port": 5432},
        "Check": {"CheckID": "alive", "Name": "alive", "ServiceID": "pg", "Status": "passing"}});
    for (status, word) in [("passing", "UP"), ("critical", "DOWN"), ("warning", "UP")] {
        entry["Check"]["Status"] = json!(status);
        house.write("PUT", "/v1/catalog/register", entry.clone()).await;
        assert_eq!(house.seen("POSTGRES", "db-1:pg").await, Some((word.into(), 5432)), "{status}");
    }
    house.write("PUT", "/v1/catalog/deregister", json!({"Node": "db-1", "ServiceID": "pg"})).await;
    assert_eq!(house.seen("POSTGRES", "db-1:pg").await, None);
}
