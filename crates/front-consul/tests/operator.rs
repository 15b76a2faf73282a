//! What the people who run a cluster ask for over HTTP reaches the operator's door as they meant it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use muster_front_consul::{Front, Settings};
use muster_registry::cluster::{KeyringReport, Pool};
use muster_testkit::{Agent, Bench};

/// A front before an agent, and the agent.
struct Scene {
    front: Arc<Front>,
    agent: Arc<Agent>,
}

impl Scene {
    fn of(agent: Arc<Agent>) -> Scene {
        let front = Front::new(agent.clone().into_door(), Settings::default(), 1);
        Scene { front, agent }
    }

    async fn send(&self, method: &str, target: &str, body: &'static str) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(target);
        let request = request.body(Full::from(Bytes::from_static(body.as_bytes()))).unwrap();
        let reply = self.front.serve(request, None).await;
        let status = reply.status();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// What one request has the operator do.
    async fn asked(&self, method: &str, target: &str, body: &'static str) -> Vec<String> {
        let n_before = self.agent.asked().len();
        let (status, text) = self.send(method, target, body).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        self.agent.asked().split_off(n_before)
    }
}

#[tokio::test]
async fn a_failed_member_is_sought_in_both_pools_under_its_name_in_each() {
    let scene = Scene::of(Agent::follower(&Bench::new()));
    let both = ["force-leave n3 prune=false Lan", "force-leave n3.dc1 prune=false Wan"];
    assert_eq!(scene.asked("PUT", "/v1/agent/force-leave/n3", "").await, both);
    let whole = scene.asked("PUT", "/v1/agent/force-leave/n3.dc1?prune", "").await;
    assert_eq!(whole, ["force-leave n3.dc1 prune=true Wan"]);
    let wan = scene.asked("PUT", "/v1/agent/force-leave/n3.dc1?wan", "").await;
    assert_eq!(wan, ["force-leave n3.dc1 prune=false Wan"]);
}

#[tokio::test]
async fn an_agent_that_is_no_server_seeks_a_failed_member_in_its_own_pool() {
    let scene = Scene::of(Agent::client(&Bench::new()));
    let lan = scene.asked("PUT", "/v1/agent/force-leave/n3", "").await;
    assert_eq!(lan, ["force-leave n3 prune=false Lan"]);
}

#[tokio::test]
async fn joining_leaving_removing_and_transferring_are_asked_for() {
    let scene = Scene::of(Agent::follower(&Bench::new()));
    for (method, target, wish) in [
        ("PUT", "/v1/agent/join/10.0.0.9", "join 10.0.0.9 Lan"),
        ("PUT", "/v1/agent/join/10.0.0.9:8302?wan=1", "join 10.0.0.9:8302 Wan"),
        ("PUT", "/v1/agent/leave", "leave"),
        (
            "DELETE",
            "/v1/operator/raft/peer?address=127.0.0.3:8300",
            "remove 33333333-2222-3333-4444-555555555555",
        ),
        ("POST", "/v1/operator/raft/transfer-leader", "transfer to anybody"),
        (
            "POST",
            "/v1/operator/raft/transfer-leader?id=11111111-2222-3333-4444-555555555555",
            "transfer to n1",
        ),
    ] {
        assert_eq!(scene.asked(method, target, "").await, [wish], "{method} {target}");
    }
}

#[tokio::test]
async fn a_key_is_asked_for_with_its_reach() {
    let scene = Scene::of(Agent::follower(&Bench::new()));
    let reach = |relays: u8, is_local: bool| {
        format!("KeyringReach {{ relay_factor: {relays}, is_local_only: {is_local} }}")
    };
    let keyring = "/v1/operator/keyring";
    let local = format!("{keyring}?local-only=1");
    assert_eq!(scene.asked("GET", &local, "").await, [format!("list  {}", reach(0, true))]);
    let key = r#"{"Key":"a2V5"}"#;
    for (method, wish) in [("POST", "install"), ("PUT", "use"), ("DELETE", "remove")] {
        let target = format!("{keyring}?relay-factor=3");
        let asked = scene.asked(method, &target, key).await;
        assert_eq!(asked, [format!("{wish} a2V5 {}", reach(3, false))]);
    }
}

#[tokio::test]
async fn a_key_that_a_member_refuses_is_a_failure_that_names_it() {
    let scene = Scene::of(Agent::follower(&Bench::new()));
    scene.agent.cluster().keyring = vec![KeyringReport {
        datacenter: "dc1".into(),
        pool: Pool::Lan,
        n_members: 3,
        n_answers: 3,
        n_errors: 1,
        messages: vec![("n3".into(), "the key is in use".into())],
        keys: Vec::new(),
    }];
    let (status, text) = scene.send("DELETE", "/v1/operator/keyring", r#"{"Key":"a2V5"}"#).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        text,
        "2 errors occurred:\n\t* dc1 (LAN) error: 1/3 nodes reported failure\n\
         \t* n3: the key is in use\n\n"
    );
}

#[tokio::test]
async fn without_a_leader_stale_questions_are_answered_and_others_are_not() {
    let scene = Scene::of(Agent::follower(&Bench::new()));
    scene.agent.cluster().leader_address = None;
    let (status, text) = scene.send("GET", "/v1/operator/raft/configuration", "").await;
    assert_eq!((status.as_u16(), text.as_str()), (500, "No cluster leader"));
    let (status, text) = scene.send("GET", "/v1/operator/raft/configuration?stale", "").await;
    assert!(status.is_success() && text.contains("127.0.0.2:8300"), "{text}");
    let (status, text) = scene.send("GET", "/v1/status/leader", "").await;
    assert_eq!((status.as_u16(), text.as_str()), (200, "\"\""));
}
