//! Commands as they are typed, against an agent of a few canned answers.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use clap::CommandFactory;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;
use crate::config::CalledAs;

mod cluster;

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn normalized(line: &str) -> String {
    let mut definition = CommandLine::command();
    definition.build();
    goflags::normalized(words(line), &definition).join(" ")
}

/// An agent that gives the next canned answer to whatever is asked, and remembers the questions.
struct Canned {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    async fn answering(answers: &[(u16, &str)]) -> Canned {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers: VecDeque<(u16, String)> =
            answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
        tokio::spawn(serve(listener, Arc::new(Mutex::new(answers)), asked.clone()));
        Canned { address, asked }
    }

    /// Runs a command line against it; gives its output, or its failure.
    async fn run(&self, line: &str) -> Result<String, Failure> {
        let line = format!("{line} -http-addr={}", self.address);
        let command = parsed(words(&line)).unwrap().command;
        let mut out = Vec::new();
        run(command, CalledAs::Muster, &mut out).await?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    listener: TcpListener,
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    asked: Arc<Mutex<Vec<String>>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (answers, asked) = (answers.clone(), asked.clone());
        let answer = move |request: Request<Incoming>| {
            let (answers, asked) = (answers.clone(), asked.clone());
            async move {
                let line = format!("{} {}", request.method(), request.uri());
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let line = format!("{line} {}", String::from_utf8_lossy(&body));
                asked.lock().unwrap().push(line.trim_end().to_owned());
                if line.contains("index=7") {
                    // Nothing ever changes after the index that every answer carries.
                    std::future::pending::<()>().await;
                }
                let next = answers.lock().unwrap().pop_front();
                let (status, body) = next.unwrap_or((500, "nothing left to say".into()));
                let answer = Response::builder().status(status).header("X-Consul-Index", "7");
                Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(body))).unwrap())
            }
        };
        let service = hyper::service::service_fn(answer);
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service),
        );
    }
}

#[test]
fn the_definition_is_sound_and_every_help_renders() {
    fn walk(command: &clap::Command, n_commands: &mut usize) {
        *n_commands += 1;
        assert!(!command.clone().render_long_help().to_string().is_empty());
        assert!(command.get_about().is_some(), "{} says nothing of itself", command.get_name());
        for inner in command.get_subcommands() {
            walk(inner, n_commands);
        }
    }
    CommandLine::command().debug_assert();
    let mut n_commands = 0;
    walk(&CommandLine::command(), &mut n_commands);
    assert!(n_commands > 50, "{n_commands}");
}

#[test]
fn long_flags_take_one_dash_or_two() {
    assert_eq!(
        normalized("consul agent -dev -http-port -1 -node=x --data-dir /tmp"),
        "consul agent --dev --http-port -1 --node=x --data-dir /tmp"
    );
    assert_eq!(
        normalized("consul kv put -cas -modify-index=3 k -5"),
        "consul kv put --cas --modify-index=3 k -5"
    );
    assert_eq!(normalized("consul kv get k -recurse"), "consul kv get k --recurse");
}

#[test]
fn an_agent_alone_takes_the_flags_that_it_takes_among_all_commands() {
    let line =
        "consul agent -dev -http-port -1 -node=x -hcl a=1 --config-dir /tmp -bootstrap-expect 3";
    let AgentAlone::Agent(alone) = parsed_as::<AgentLine>(words(line)).unwrap().command;
    let among_all = parsed_as::<CommandLine>(words(line)).unwrap().command;
    assert_eq!(format!("{:?}", Command::Agent(alone)), format!("{among_all:?}"));
    for wrong in ["muster agent -frob", "muster agent frob", "muster agent -h"] {
        let said = parsed(words(wrong)).unwrap_err().to_string();
        assert_eq!(said, parsed_as::<CommandLine>(words(wrong)).unwrap_err().to_string());
    }
}

#[test]
fn what_belongs_to_a_child_program_is_left_alone() {
    assert_eq!(
        normalized("consul lock -n 3 -name x p ls -la -name y"),
        "consul lock --n 3 --name x p ls -la -name y"
    );
    assert_eq!(
        normalized("consul watch -type key -key k cat -n"),
        "consul watch --type key --key k cat -n"
    );
}

#[test]
fn an_agent_flag_may_be_said_with_its_value_beside_it_or_not() {
    let line = words(
        "consul agent -server -ui=false -config-dir a -config-file b -retry-join x -retry-join y",
    );
    let Command::Agent(flags) = parsed(line).unwrap().command else { panic!("an agent") };
    assert_eq!(flags.paths, [PathBuf::from("a"), PathBuf::from("b")]);
    let given: Vec<String> =
        flags.given.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(given, ["server=true", "ui=false", "retry-join=x", "retry-join=y"]);
}

#[test]
fn an_unknown_flag_is_named_whole() {
    let told = parsed(words("muster agent -devv")).unwrap_err().to_string();
    assert!(told.contains("--devv"), "{told}");
    assert!(told.contains("--dev"), "{told}");
}

/// The commands of a page: the lines of its blocks of shell commands.
fn commands_of(page: &str) -> Vec<String> {
    let path = format!("{}/../../docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut commands = Vec::new();
    let mut is_shell = false;
    for line in text.lines().map(str::trim) {
        match line {
            "```sh" => is_shell = true,
            "```" => is_shell = false,
            command if is_shell => commands.push(command.to_owned()),
            _ => {}
        }
    }
    commands
}

#[test]
fn every_command_of_the_page_on_operations_can_be_typed() {
    let commands = commands_of("operations.md");
    assert!(commands.len() > 30, "{}", commands.len());
    for command in commands {
        assert!(command.starts_with("muster "), "{command}");
        let told = parsed(words(&command)).err().map(|error| error.to_string());
        assert_eq!(told, None, "{command}");
    }
}

#[test]
fn the_version_that_test_helpers_read_is_that_of_the_api() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let command = parsed(words("consul version -format=json")).unwrap().command;
    let mut out = Vec::new();
    runtime.block_on(run(command, CalledAs::Consul, &mut out)).unwrap();
    let said: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(said["Version"], "1.22.6");
    assert_eq!(said["Muster"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn completions_and_manual_pages_can_be_made() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for line in
        ["muster completion bash", "muster completion zsh", "muster man kv put", "muster man"]
    {
        let mut out = Vec::new();
        let command = parsed(words(line)).unwrap().command;
        runtime.block_on(run(command, CalledAs::Muster, &mut out)).unwrap();
        assert!(out.len() > 200, "{line}");
    }
}

#[tokio::test]
async fn kv_get_writes_the_value() {
    let pair = r#"[{"Key":"a b","Value":"aGVsbG8=","Flags":0}]"#;
    let agent = Canned::answering(&[(200, pair), (404, "")]).await;
    assert_eq!(agent.run("muster kv get a/b").await.unwrap(), "hello\n");
    let failure = agent.run("muster kv get nope").await.unwrap_err();
    assert_eq!(failure.to_string(), "Error! No key exists at: nope");
    assert_eq!(agent.asked(), ["GET /v1/kv/a/b", "GET /v1/kv/nope"]);
}

#[tokio::test]
async fn kv_get_detailed_looks_as_it_does_in_consul() {
    let pair =
        r#"[{"Key":"a","Value":"Yg==","Flags":3,"CreateIndex":30,"ModifyIndex":31,"LockIndex":0}]"#;
    let agent = Canned::answering(&[(200, pair)]).await;
    assert_eq!(
        agent.run("muster kv get -detailed a").await.unwrap(),
        "CreateIndex      30\nFlags            3\nKey              a\nLockIndex        0\n\
         ModifyIndex      31\nSession          -\nValue            b\n"
    );
}

#[tokio::test]
async fn kv_put_with_cas_that_fails_is_a_failure() {
    let agent = Canned::answering(&[(200, "true"), (200, "false")]).await;
    assert_eq!(
        agent.run("muster kv put -flags 3 k v").await.unwrap(),
        "Success! Data written to: k\n"
    );
    let failure = agent.run("muster kv put -cas -modify-index 9 k v").await.unwrap_err();
    assert_eq!(failure.to_string(), "Error! Did not write to k: CAS failed");
    assert_eq!(failure.code(), 1);
    assert_eq!(agent.asked(), ["PUT /v1/kv/k?flags=3 v", "PUT /v1/kv/k?cas=9 v"]);
}

#[tokio::test]
async fn what_kv_export_writes_is_what_consul_writes() {
    let pairs = r#"[{"Key":"a","Value":"Yg==","Flags":0},{"Key":"a/c","Value":"ZA==","Flags":3}]"#;
    let agent = Canned::answering(&[(200, pairs)]).await;
    let exported = agent.run("muster kv export").await.unwrap();
    assert_eq!(
        exported,
        "[\n\t{\n\t\t\"key\": \"a\",\n\t\t\"flags\": 0,\n\t\t\"value\": \"Yg==\"\n\t},\n\t{\n\
         \t\t\"key\": \"a/c\",\n\t\t\"flags\": 3,\n\t\t\"value\": \"ZA==\"\n\t}\n]\n"
    );
    assert_eq!(agent.asked(), ["GET /v1/kv/?recurse"]);
}

#[tokio::test]
async fn what_was_exported_can_be_imported_under_a_prefix() {
    let agent = Canned::answering(&[(200, "true")]).await;
    let line = r#"muster kv import -prefix=x/ [{"key":"a","flags":2,"value":"Yg=="}]"#;
    assert_eq!(agent.run(line).await.unwrap(), "Imported: x/a\n");
    assert_eq!(agent.asked(), ["PUT /v1/kv/x/a?flags=2 b"]);
}

#[tokio::test]
async fn a_service_is_registered_by_flags() {
    let agent = Canned::answering(&[(200, "")]).await;
    let line = "muster services register -name web -port=80 -tag a -meta k=v";
    assert_eq!(agent.run(line).await.unwrap(), "Registered service: web\n");
    let body = r#"{"Meta":{"k":"v"},"Name":"web","Port":80,"Tags":["a"]}"#;
    assert_eq!(agent.asked(), [format!("PUT /v1/agent/service/register {body}")]);
}

#[tokio::test]
async fn a_refusal_of_the_agent_is_told_with_its_code_and_text() {
    let agent = Canned::answering(&[(404, "Unknown service ID \"x\".")]).await;
    let failure = agent.run("muster services deregister -id x").await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "Error deregistering service \"x\": Unexpected response code: 404 (Unknown service ID \"x\".)"
    );
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_told_with_advice() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let line = format!("muster members -http-addr {address}");
    let mut out = Vec::new();
    let command = parsed(words(&line)).unwrap().command;
    let told = run(command, CalledAs::Muster, &mut out).await.unwrap_err().to_string();
    assert!(told.starts_with(&format!("no agent can be reached at {address}")), "{told}");
    assert!(told.contains("muster agent -dev"), "{told}");
}

#[tokio::test]
async fn explain_names_the_check_that_decides() {
    let found = r#"[{"Node":{"Node":"n1","Address":"10.0.0.1"},
        "Service":{"ID":"web1","Address":"","Port":80},
        "Checks":[{"CheckID":"serfHealth","Status":"passing"},
                  {"CheckID":"http","ServiceID":"web1","Type":"http","Status":"critical",
                   "Output":"connection refused\nmore","Interval":"10s","ModifyIndex":12}]}]"#;
    let agent = Canned::answering(&[(200, found)]).await;
    assert_eq!(
        agent.run("muster explain web").await.unwrap(),
        "web1 on n1 (10.0.0.1:80): DNS out, ?passing out\n    \
         its check http (http, every 10s) is critical since index 12: connection refused\n"
    );
}

#[tokio::test]
async fn explain_says_since_when_where_the_agent_knows() {
    let found = r#"[{"Node":{"Node":"n1","Address":"10.0.0.1"},
        "Service":{"ID":"web1","Address":"","Port":80},
        "Checks":[{"Node":"n1","CheckID":"serfHealth","Status":"passing","ModifyIndex":3},
                  {"Node":"n1","CheckID":"t","ServiceID":"web1","Type":"ttl","Status":"critical",
                   "Output":"no word","ModifyIndex":12}]},
        {"Node":{"Node":"n2","Address":"10.0.0.2"},
        "Service":{"ID":"web2","Address":"","Port":80},
        "Checks":[{"Node":"n2","CheckID":"u","ServiceID":"web2","Status":"passing","ModifyIndex":9}]}]"#;
    let times = r#"[{"Node":"n1","CheckID":"serfHealth"},
        {"Node":"n1","CheckID":"t","StatusForMs":65000,"HeardMsAgo":5000,"DeregistersInMs":600000},
        {"Node":"n2","CheckID":"u","ChangedMsAgo":7999,"ExpiresInMs":2000}]"#;
    let agent = Canned::answering(&[(200, found), (200, times)]).await;
    assert_eq!(
        agent.run("muster explain web").await.unwrap(),
        "web1 on n1 (10.0.0.1:80): DNS out, ?passing out\n    \
         its check t (ttl) is critical for 1m5s (since index 12) [last heard of 5s ago, \
         deregisters the instance in 10m0s if it stays so]: no word\n\
         web2 on n2 (10.0.0.2:80): DNS in, ?passing in\n    \
         all 1 checks of it and its node pass, since 7s ago (index 9)\n    \
         its check u holds 2s more unless it is renewed\n"
    );
}

#[tokio::test]
async fn a_watch_without_a_program_prints_once() {
    let agent = Canned::answering(&[(200, r#"[{"Key":"k","Value":"Yg=="}]"#)]).await;
    let printed = agent.run("muster watch -type key -key k").await.unwrap();
    let pair: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(pair["Key"], "k");
}

#[tokio::test]
async fn a_lock_is_acquired_held_by_the_program_and_released() {
    let held = r#"[{"Key":"p/.lock","Session":"s1","Flags":3304740253564472344}]"#;
    let agent = Canned::answering(&[
        (200, r#"{"ID":"s1"}"#),
        (200, "true"),
        (200, held),
        (200, "true"),
        (200, "true"),
        (200, "true"),
    ])
    .await;
    let folder = std::env::temp_dir().join(format!("muster-lock-{}", std::process::id()));
    let line = format!("muster lock -http-addr={} p touch {}", agent.address, folder.display());
    let command = parsed(words(&line)).unwrap().command;
    let mut out = Vec::new();
    run(command, CalledAs::Muster, &mut out).await.unwrap();
    assert!(folder.exists(), "the program ran");
    std::fs::remove_file(&folder).unwrap();
    let asked = agent.asked();
    assert!(asked[0].starts_with("PUT /v1/session/create"), "{asked:?}");
    assert_eq!(asked[1], "PUT /v1/kv/p/.lock?acquire=s1&flags=3304740253564472344");
    assert!(
        asked.iter().any(|line| line.starts_with("PUT /v1/kv/p/.lock?release=s1")),
        "{asked:?}"
    );
    assert_eq!(asked.last().unwrap(), "PUT /v1/session/destroy/s1");
}

#[test]
fn a_snapshot_with_a_flipped_bit_is_refused() {
    let folder = std::env::temp_dir().join(format!("muster-snapshot-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let whole = snapshot_file(b"state");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let inspect = |bytes: &[u8]| {
        let file = folder.join("x.snap");
        std::fs::write(&file, bytes).unwrap();
        let line = format!("muster snapshot inspect {}", file.display());
        let mut out = Vec::new();
        let command = parsed(words(&line)).unwrap().command;
        let result = runtime.block_on(run(command, CalledAs::Muster, &mut out));
        result.map(|()| String::from_utf8(out).unwrap())
    };
    assert!(inspect(&whole).unwrap().contains(" Index        42"));
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        assert!(inspect(&damaged).is_err(), "byte {at}");
    }
    assert!(inspect(&whole[..whole.len() / 2]).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}

fn snapshot_file(state: &'static [u8]) -> Vec<u8> {
    let header = muster_agent::backup::Header { index: 42, ..Default::default() };
    let state = std::iter::once(bytes::Bytes::from_static(state));
    muster_agent::backup::pieces(&header, state).flatten().collect()
}
