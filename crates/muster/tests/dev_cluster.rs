//! `muster dev-cluster` with the real program: it tells how agents are reached, ends with Ctrl-C,
//! and does not outlive one of its agents.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use muster::cli::client::{Ask, Client, ClientFlags};
use muster_world::Address;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks at what is waited for.
const GLANCE: Duration = Duration::from_millis(20);

/// A running cluster.
struct Cluster {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    folder: PathBuf,
}

impl Cluster {
    fn start(name: &str, size: &[&str]) -> Cluster {
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_muster"))
            .arg("dev-cluster")
            .args(size)
            .args(["-format", "json", "-base-dir"])
            .arg(folder.join("base"))
            .arg("-ready-file")
            .arg(folder.join("ready.json"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Cluster { process, lines, folder }
    }

    /// What it tells of itself, once a server leads.
    async fn told(&mut self) -> Value {
        let told = async {
            loop {
                let line =
                    self.lines.next_line().await.unwrap().expect("it goes on until it tells");
                if let Ok(told) = serde_json::from_str(&line) {
                    return told;
                }
            }
        };
        timeout(DEADLINE, told).await.expect("a cluster is led in time")
    }

    /// How it ends: whether well, and what it says of it.
    async fn end(mut self) -> (bool, String) {
        let drain = async { while let Ok(Some(_)) = self.lines.next_line().await {} };
        timeout(DEADLINE, drain).await.unwrap();
        let output = timeout(DEADLINE, self.process.wait_with_output()).await.unwrap().unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    }
}

fn process_of(agent: &Value) -> Pid {
    let id = i32::try_from(agent["pid"].as_i64().unwrap()).unwrap();
    Pid::from_raw(id).unwrap()
}

#[tokio::test]
async fn a_cluster_is_reached_as_told_and_ends_when_interrupted() {
    let mut cluster = Cluster::start("muster-dev-cluster-told", &["-servers", "1"]);
    let told = cluster.told().await;
    let ready = std::fs::read_to_string(cluster.folder.join("ready.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&ready).unwrap(), told);
    let server = &told["agents"][0];
    assert_eq!((&server["name"], &server["is_server"]), (&"server-1".into(), &true.into()));
    let http = Address::Inet(server["http"].as_str().unwrap().parse().unwrap());
    let client = Client::bound(&http, ClientFlags::default());
    let leader = client.json(Ask::get("/v1/status/leader")).await.unwrap();
    assert_eq!(leader, told["leader"]);
    let node = client.json(Ask::get("/v1/agent/self")).await.unwrap();
    assert_eq!(node["Config"]["NodeName"], "server-1");
    let itself = Pid::from_raw(cluster.process.id().unwrap().cast_signed()).unwrap();
    kill_process(itself, Signal::INT).unwrap();
    let (is_well, error) = cluster.end().await;
    assert!(is_well, "{error}");
    assert!(test_kill_process(process_of(server)).is_err(), "the agent is gone too");
}

/// The HTTP API of an agent.
fn client_of(agent: &Value) -> Client {
    let http = Address::Inet(agent["http"].as_str().unwrap().parse().unwrap());
    Client::bound(&http, ClientFlags::default())
}

/// What an agent answers, once it answers as wished: agents hear of each other, and of what one of
/// them was told, a moment later.
async fn until(agent: &Client, path: &'static str, is_wished: impl Fn(&Value) -> bool) -> Value {
    let asking = async {
        loop {
            let answer = agent.json(Ask::get(path)).await.unwrap();
            if is_wished(&answer) {
                return answer;
            }
            sleep(GLANCE).await;
        }
    };
    timeout(DEADLINE, asking).await.unwrap_or_else(|_| panic!("{path} is never as wished"))
}

#[tokio::test]
async fn a_service_registered_at_a_client_is_found_at_every_agent_and_goes_with_it() {
    let size = ["-servers", "1", "-clients", "2"];
    let mut cluster = Cluster::start("muster-dev-cluster-clients", &size);
    let told = cluster.told().await;
    let [server, first, second] = [0, 1, 2].map(|n| client_of(&told["agents"][n]));
    let path = "/v1/agent/service/register";
    first.done(Ask::put(path).body(br#"{"Name": "web", "Port": 80}"#.to_vec())).await.unwrap();
    for agent in [&server, &first, &second] {
        let found = until(agent, "/v1/health/service/web", |found| !found[0].is_null()).await;
        assert_eq!((&found[0]["Node"]["Node"], &found[1]), (&"client-1".into(), &Value::Null));
    }
    let node = second.json(Ask::get("/v1/agent/self")).await.unwrap();
    assert_eq!(node["Config"]["Server"], false);
    let are_all = |members: &Value| members.as_array().is_some_and(|all| all.len() == 3);
    let members = until(&second, "/v1/agent/members", are_all).await;
    let roles: Vec<&Value> =
        members.as_array().unwrap().iter().map(|member| &member["Tags"]["role"]).collect();
    assert_eq!(roles, ["node", "node", "consul"]);
    let leader = second.json(Ask::get("/v1/status/leader")).await.unwrap();
    assert_eq!(leader, told["leader"]);
    first.done(Ask::put("/v1/agent/leave")).await.unwrap();
    let (is_well, error) = cluster.end().await;
    assert!(!is_well && error.starts_with("client-1 ended by itself (exit status: 0)"), "{error}");
}

#[tokio::test]
async fn a_cluster_ends_with_its_first_agent_that_dies_and_names_it() {
    let mut cluster = Cluster::start("muster-dev-cluster-dies", &["-servers", "1"]);
    let told = cluster.told().await;
    kill_process(process_of(&told["agents"][0]), Signal::KILL).unwrap();
    let (is_well, error) = cluster.end().await;
    assert!(!is_well);
    assert!(error.starts_with("server-1 ended by itself (signal: 9 (SIGKILL))"), "{error}");
}

#[tokio::test]
async fn a_folder_that_holds_something_is_left_alone() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let refused = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["dev-cluster", "-base-dir"])
        .arg(folder)
        .output()
        .await
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("is not empty: name a new or an empty folder"), "{error}");
}
