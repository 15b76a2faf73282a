//! Commands about a cluster, with the tables that Consul's have.

use super::*;

const MEMBERS: &str = r#"[
    {"Name":"c1","Addr":"10.0.0.9","Port":8301,"Status":3,
     "Tags":{"role":"node","dc":"dc1","build":"1.22.6:abc","vsn":"2"}},
    {"Name":"n2","Addr":"::1","Port":8301,"Status":4,
     "Tags":{"role":"consul","dc":"dc1","build":"1.22.6","vsn":"2","segment":""}},
    {"Name":"n1","Addr":"10.0.0.1","Port":8301,"Status":1,
     "Tags":{"role":"consul","dc":"dc1","vsn":"2"}}]"#;

#[tokio::test]
async fn members_are_listed_servers_first() {
    let agent = Canned::answering(&[(200, MEMBERS)]).await;
    assert_eq!(
        agent.run("muster members").await.unwrap(),
        "Node  Address        Status  Type    Build   Protocol  DC   Partition  Segment\n\
         n1    10.0.0.1:8301  alive   server  < 0.3   2         dc1  default    <all>\n\
         n2    [::1]:8301     failed  server  1.22.6  2         dc1  default    <all>\n\
         c1    10.0.0.9:8301  left    client  1.22.6  2         dc1  default    <default>\n"
    );
    assert_eq!(agent.asked(), ["GET /v1/agent/members?segment=%5Fall"]);
}

#[tokio::test]
async fn members_are_chosen_by_any_part_of_their_status() {
    let agent = Canned::answering(&[(200, MEMBERS), (200, MEMBERS)]).await;
    let line = "muster members -wan -detailed -status fail|x -filter Name==n2";
    assert_eq!(
        agent.run(line).await.unwrap(),
        "Node  Address     Status  Tags\n\
         n2    [::1]:8301  failed  ap=default,build=1.22.6,dc=dc1,role=consul,segment=<all>,vsn=2\n"
    );
    let asked = ["GET /v1/agent/members?segment=%5Fall&wan=1&filter=Name%3D%3Dn2"];
    assert_eq!(agent.asked(), asked);
    let none = agent.run("muster members -status nobody").await.unwrap_err();
    assert_eq!((none.code(), none.to_string().as_str()), (2, ""));
}

#[tokio::test]
async fn members_as_json_are_what_the_agent_said() {
    let agent = Canned::answering(&[(200, MEMBERS)]).await;
    let said = agent.run("muster members -status alive -format json").await.unwrap();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said[0]["Tags"], serde_json::json!({"role":"consul","dc":"dc1","vsn":"2"}));
    assert_eq!(said.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn joining_fails_only_if_nobody_could_be_joined() {
    let agent = Canned::answering(&[(500, "no"), (200, ""), (500, "no")]).await;
    let told = agent.run("muster join -wan a:1 b:2").await.unwrap();
    assert!(told.ends_with("Successfully joined cluster by contacting 1 nodes.\n"), "{told}");
    let failure = agent.run("muster join c").await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "Error joining address 'c': Unexpected response code: 500 (no)\n\
         Failed to join any nodes."
    );
    let asked =
        ["PUT /v1/agent/join/a:1?wan=1", "PUT /v1/agent/join/b:2?wan=1", "PUT /v1/agent/join/c"];
    assert_eq!(agent.asked(), asked);
}

#[tokio::test]
async fn a_member_is_made_to_leave_or_leaves_itself() {
    let agent = Canned::answering(&[(200, ""), (500, "nobody"), (200, "")]).await;
    assert_eq!(agent.run("muster force-leave -prune -wan n3.dc1").await.unwrap(), "");
    let failure = agent.run("muster force-leave n9").await.unwrap_err().to_string();
    assert_eq!(failure, "Error force leaving: Unexpected response code: 500 (nobody)");
    assert_eq!(agent.run("muster leave").await.unwrap(), "Graceful leave complete\n");
    let asked = [
        "PUT /v1/agent/force-leave/n3.dc1?prune&wan=1",
        "PUT /v1/agent/force-leave/n9",
        "PUT /v1/agent/leave",
    ];
    assert_eq!(agent.asked(), asked);
}

#[tokio::test]
async fn servers_are_listed_with_how_far_they_trail() {
    let group = r#"{"Index":9,"Servers":[
        {"ID":"a","Node":"n1","Address":"10.0.0.1:8300","Leader":true,"ProtocolVersion":"3",
         "Voter":true,"LastIndex":7},
        {"ID":"b","Node":"n2","Address":"10.0.0.2:8300","Leader":false,"ProtocolVersion":"3",
         "Voter":true,"LastIndex":6},
        {"ID":"c","Node":"(unknown)","Address":"10.0.0.3:8300","Leader":false,
         "ProtocolVersion":"unknown","Voter":false,"LastIndex":0}]}"#;
    let agent = Canned::answering(&[(200, group), (500, "No cluster leader")]).await;
    let lines = [
        "Node       ID  Address        State     Voter  RaftProtocol  Commit Index  Trails Leader By",
        "n1         a   10.0.0.1:8300  leader    true   3             7             -",
        "n2         b   10.0.0.2:8300  follower  true   3             6             1 commit",
        "(unknown)  c   10.0.0.3:8300  follower  false  unknown       0             7 commits",
    ];
    let shown = agent.run("muster operator raft list-peers -stale").await.unwrap();
    assert_eq!(shown, lines.join("\n") + "\n");
    let failure = agent.run("muster operator raft list-peers").await.unwrap_err().to_string();
    assert_eq!(failure, "Error getting peers: Unexpected response code: 500 (No cluster leader)");
    let asked =
        ["GET /v1/operator/raft/configuration?stale", "GET /v1/operator/raft/configuration"];
    assert_eq!(agent.asked(), asked);
}

#[tokio::test]
async fn a_server_is_removed_by_id_or_address_and_another_made_to_lead() {
    let agent = Canned::answering(&[(200, ""), (200, ""), (200, "{\"Success\":true}")]).await;
    let removed = agent.run("muster operator raft remove-peer -id x").await.unwrap();
    assert_eq!(removed, "Removed peer with id \"x\"\n");
    let removed = agent.run("muster operator raft remove-peer -address 10.0.0.3:8300").await;
    assert_eq!(removed.unwrap(), "Removed peer with address \"10.0.0.3:8300\"\n");
    let done = agent.run("muster operator raft transfer-leader -id y").await.unwrap();
    assert_eq!(done, "Success\n");
    let asked = [
        "DELETE /v1/operator/raft/peer?id=x",
        "DELETE /v1/operator/raft/peer?address=10%2E0%2E0%2E3%3A8300",
        "POST /v1/operator/raft/transfer-leader?id=y",
    ];
    assert_eq!(agent.asked(), asked);
    for misused in ["-id x -address y", ""] {
        let line = format!("muster operator raft remove-peer {misused}");
        assert!(parsed(words(line.trim_end())).is_err(), "{line}");
    }
}

const AUTOPILOT: &str = r#"{"CleanupDeadServers":true,"LastContactThreshold":"200ms",
    "MaxTrailingLogs":250,"MinQuorum":0,"ServerStabilizationTime":"10s","RedundancyZoneTag":"",
    "DisableUpgradeMigration":false,"UpgradeVersionTag":"","CreateIndex":3,"ModifyIndex":4}"#;

#[tokio::test]
async fn what_autopilot_is_told_is_shown_and_changed_by_compare_and_set() {
    let answers =
        [(200, AUTOPILOT), (200, AUTOPILOT), (200, "true"), (200, AUTOPILOT), (200, "false")];
    let agent = Canned::answering(&answers).await;
    assert_eq!(
        agent.run("muster operator autopilot get-config").await.unwrap(),
        "CleanupDeadServers = true\nLastContactThreshold = 200ms\nMaxTrailingLogs = 250\n\
         MinQuorum = 0\nServerStabilizationTime = 10s\nRedundancyZoneTag = \"\"\n\
         DisableUpgradeMigration = false\nUpgradeVersionTag = \"\"\n"
    );
    let line = "muster operator autopilot set-config -cleanup-dead-servers=false -min-quorum 3";
    assert_eq!(agent.run(line).await.unwrap(), "Configuration updated!\n");
    let put = &agent.asked()[2];
    assert!(put.starts_with("PUT /v1/operator/autopilot/configuration?cas=4 {"), "{put}");
    assert!(put.contains(r#""CleanupDeadServers":false"#) && put.contains(r#""MinQuorum":3"#));
    let line = "muster operator autopilot set-config -cleanup-dead-servers";
    let failure = agent.run(line).await.unwrap_err();
    assert_eq!(failure.code(), 1);
    assert!(failure.to_string().ends_with("please try again"), "{failure}");
}

#[tokio::test]
async fn how_autopilot_sees_the_servers_looks_as_it_does_in_consul() {
    let state = r#"{"Healthy":true,"FailureTolerance":1,"OptimisticFailureTolerance":0,
        "Leader":"a","Voters":["a"],"Servers":{"a":{"ID":"a","Name":"n1","Address":"10.0.0.1:8300",
        "NodeStatus":"alive","Version":"1.22.6","LastContact":"0s","LastTerm":2,"LastIndex":7,
        "Healthy":true,"StableSince":"2026-11-23T19:15:59Z","ReadReplica":false,"Status":"leader",
        "Meta":{"consul-version":"1.22.6"},"NodeType":"voter"}}}"#;
    let agent = Canned::answering(&[(200, state)]).await;
    assert_eq!(
        agent.run("muster operator autopilot state").await.unwrap(),
        "Healthy:                      true\n\
         Failure Tolerance:            1\n\
         Optimistic Failure Tolerance: 0\n\
         Leader:                       a\n\
         Voters:\n   a\n\
         Servers:\n   a\n      \
               Name:            n1\n      \
               Address:         10.0.0.1:8300\n      \
               Version:         1.22.6\n      \
               Status:          leader\n      \
               Node Type:       voter\n      \
               Node Status:     alive\n      \
               Healthy:         true\n      \
               Last Contact:    0s\n      \
               Last Term:       2\n      \
               Last Index:      7\n      \
               Meta\n         \
                  \"consul-version\": \"1.22.6\"\n"
    );
}

const KEYS: &str = r#"[
    {"WAN":true,"Datacenter":"dc1","Segment":"","Keys":{"a2V5":1},"PrimaryKeys":{},"NumNodes":1},
    {"WAN":false,"Datacenter":"dc1","Segment":"","Messages":{"n2":"slow"},
     "Keys":{"a2V5":2,"bmV3":1},"PrimaryKeys":{"a2V5":2},"NumNodes":2}]"#;

#[tokio::test]
async fn keys_are_listed_by_pool_with_how_many_have_them() {
    let agent = Canned::answering(&[(200, KEYS), (200, KEYS)]).await;
    assert_eq!(
        agent.run("muster keyring -list -local-only -relay-factor 2").await.unwrap(),
        "==> Gathering installed encryption keys...\n\nWAN:\n  a2V5 [1/1]\n\n\
         dc1 (LAN):\n  ===> n2: slow\n  a2V5 [2/2]\n  bmV3 [1/2]\n"
    );
    assert_eq!(
        agent.run("muster keyring -list-primary").await.unwrap(),
        "==> Gathering installed primary encryption keys...\n\nWAN:\n\n\
         dc1 (LAN):\n  ===> n2: slow\n  a2V5 [2/2]\n"
    );
    let asked =
        ["GET /v1/operator/keyring?relay%2Dfactor=2&local%2Donly=true", "GET /v1/operator/keyring"];
    assert_eq!(agent.asked(), asked);
}

#[tokio::test]
async fn a_key_is_installed_used_and_removed() {
    let agent = Canned::answering(&[(200, ""), (200, ""), (500, "n2: no")]).await;
    let told = agent.run("muster keyring -install bmV3").await.unwrap();
    assert_eq!(told, "==> Installing new gossip encryption key...\n");
    let told = agent.run("muster keyring -use bmV3 -relay-factor=1").await.unwrap();
    assert_eq!(told, "==> Changing primary gossip encryption key...\n");
    let failure = agent.run("muster keyring -remove a2V5").await.unwrap_err();
    assert_eq!(failure.to_string(), "error: Unexpected response code: 500 (n2: no)");
    let asked = [
        r#"POST /v1/operator/keyring {"Key":"bmV3"}"#,
        r#"PUT /v1/operator/keyring?relay%2Dfactor=1 {"Key":"bmV3"}"#,
        r#"DELETE /v1/operator/keyring {"Key":"a2V5"}"#,
    ];
    assert_eq!(agent.asked(), asked);
    for misused in ["", " -list -use x", " -list -relay-factor 6", " -list -relay-factor=-1"] {
        assert!(parsed(words(&format!("muster keyring{misused}"))).is_err(), "{misused}");
    }
    let failure = agent.run("muster keyring -install x -local-only").await.unwrap_err();
    assert!(failure.to_string().contains("can only be set for list requests"), "{failure}");
}

const PLACES: &str = r#"[
    {"Node":"n1","Segment":"","Coord":{"Vec":[0,0],"Height":0.001,"Adjustment":0}},
    {"Node":"N2","Segment":"","Coord":{"Vec":[0.003,0.004],"Height":0.001,"Adjustment":0}},
    {"Node":"n3","Segment":"s","Coord":{"Vec":[0,0],"Height":0.001,"Adjustment":0}}]"#;

#[tokio::test]
async fn the_round_trip_time_is_that_between_two_places_of_one_segment() {
    let agent = Canned::answering(&[(200, PLACES), (200, PLACES), (200, PLACES)]).await;
    let told = agent.run("muster rtt n1 n2").await.unwrap();
    assert_eq!(told, "Estimated n1 <-> n2 rtt: 7.000 ms (using LAN coordinates)\n");
    let failure = agent.run("muster rtt n9 n2").await.unwrap_err();
    assert_eq!(failure.to_string(), "Could not find a coordinate for node \"n9\"");
    assert!(agent.run("muster rtt n1 n3").await.is_err(), "two segments");
}

#[tokio::test]
async fn the_round_trip_time_to_another_datacenter_is_that_from_this_agent() {
    let about = r#"{"Config":{"NodeName":"n1","Datacenter":"dc1"},"Stats":{}}"#;
    let map = r#"[
        {"Datacenter":"dc1","AreaID":"wan","Coordinates":[
            {"Node":"n1","Segment":"","Coord":{"Vec":[0],"Height":0.001,"Adjustment":0}}]},
        {"Datacenter":"dc2","AreaID":"wan","Coordinates":[
            {"Node":"m1","Segment":"","Coord":{"Vec":[0.05],"Height":0.001,"Adjustment":0}}]}]"#;
    let agent = Canned::answering(&[(200, about), (200, map), (200, about), (200, map)]).await;
    let told = agent.run("muster rtt -wan m1.dc2").await.unwrap();
    assert_eq!(told, "Estimated m1.dc2 <-> n1.dc1 rtt: 52.000 ms (using WAN coordinates)\n");
    let failure = agent.run("muster rtt -wan m1").await.unwrap_err().to_string();
    assert!(failure.contains("<node name>.<datacenter>"), "{failure}");
}

#[tokio::test]
async fn info_and_events_are_shown() {
    let about = r#"{"Stats":{"raft":{"term":"3","state":"Follower"},"serf_lan":{"members":"4"}}}"#;
    let fired = r#"{"ID":"e1","Name":"deploy"}"#;
    let agent = Canned::answering(&[(200, about), (200, fired)]).await;
    assert_eq!(
        agent.run("muster info").await.unwrap(),
        "raft:\n\tstate = Follower\n\tterm = 3\nserf_lan:\n\tmembers = 4\n"
    );
    let told = agent.run("muster event -name deploy -service web -tag v2 now").await.unwrap();
    assert_eq!(told, "Event ID: e1\n");
    assert_eq!(agent.asked()[1], "PUT /v1/event/fire/deploy?service=web&tag=v2 now");
    assert!(parsed(words("muster event -name x -tag y")).is_err(), "a tag needs a service");
}
