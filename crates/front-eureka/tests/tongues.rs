//! Any tongue in, any tongue out: what Eureka's clients write, as the catalog has it, and what stands
//! in the catalog, as Eureka's clients see it. Each row of the table in `docs/eureka.md`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::time::Duration;

use muster_model::answer::{Body, InstanceDetail};
use muster_model::command::Target;
use muster_model::instance::Extras;
use muster_model::node::Origin;
use muster_model::query::{Health, InstanceFilter};
use muster_model::{Check, Command, Instance, Node, Query, Status};
use muster_testkit::catalog;
use serde_json::json;
use support::House;

fn found(house: &House, service: &str, health: Health) -> Vec<InstanceDetail> {
    let filter = InstanceFilter { service: service.into(), health, ..InstanceFilter::default() };
    let answered = house.bench.answer(&Query::Instances(filter));
    let Body::Instances(found) = &answered.answer.body else { panic!("instances were asked for") };
    found.clone()
}

/// Ids of what DNS would hand out.
fn handed_out(house: &House, service: &str) -> Vec<String> {
    let found = found(house, service, Health::NotCritical);
    found.iter().map(|own| own.instance.id.to_string()).collect()
}

// ------------------------------------------------------------------------------------------------
// From Eureka
// ------------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_instance_is_found_as_one_of_a_service_on_a_node_of_its_host() {
    let house = House::new();
    let more = json!({"metadata": {"zone": "b", "management.port": "81"}, "leaseInfo":
        {"durationInSecs": 15}, "securePort": {"$": 8443, "@enabled": true}});
    assert_eq!(house.register("FOO", "h1:foo:8080", more).await.status, 204);
    let all = found(&house, "foo", Health::Passing);
    let [own] = &all[..] else { panic!("{all:?}") };
    assert_eq!((&*own.node.name, &*own.node.address), ("h1", "10.0.0.1"));
    assert_eq!(own.node.origin, Origin::Lease);
    assert!(!own.checks.iter().any(|check| check.is_about_node()), "nobody vouches for it");
    let instance = &own.instance;
    assert_eq!((&*instance.id, &*instance.address), ("h1:foo:8080", "10.0.0.1"));
    assert_eq!((instance.port, instance.lease_ttl()), (8080, Some(Duration::from_secs(15))));
    assert_eq!(instance.meta.find("management.port").unwrap(), "81");
    assert_eq!(&*instance.extras().locality.as_ref().unwrap().zone, "b");
    assert_eq!(instance.tagged_address("secure").unwrap().port, 8443);
}

#[tokio::test]
async fn statuses_decide_what_is_handed_out() {
    let house = House::new();
    for (word, is_handed_out) in [
        ("UP", true),
        ("DOWN", false),
        ("STARTING", false),
        ("OUT_OF_SERVICE", false),
        ("UNKNOWN", false),
    ] {
        house.register("FOO", "h1:foo:1", json!({ "status": word })).await;
        assert_eq!(handed_out(&house, "foo").len(), usize::from(is_handed_out), "{word}");
        let maintained =
            found(&house, "foo", Health::Any)[0].checks.iter().any(|c| c.is_maintenance());
        assert_eq!(maintained, word == "OUT_OF_SERVICE", "{word}");
        assert_eq!(house.instance("FOO", "h1:foo:1").await["status"], word);
    }
}

#[tokio::test]
async fn an_operators_word_outlives_registrations_and_is_a_maintenance() {
    let house = House::new();
    house.register("FOO", "h1:foo:1", json!({})).await;
    let path = "/eureka/apps/FOO/h1:foo:1/status";
    assert_eq!(house.ask("PUT", &format!("{path}?value=OUT_OF_SERVICE")).await.status, 200);
    assert!(handed_out(&house, "foo").is_empty());
    house.register("FOO", "h1:foo:1", json!({"lastDirtyTimestamp": 9_999_999_999_999_u64})).await;
    let shown = house.instance("FOO", "h1:foo:1").await;
    assert_eq!(
        (&shown["status"], &shown["overriddenStatus"]),
        (&json!("OUT_OF_SERVICE"), &json!("OUT_OF_SERVICE"))
    );
    assert_eq!(
        house.json("/serverinfo/statusoverrides").await,
        json!({"h1:foo:1": "OUT_OF_SERVICE"})
    );
    assert_eq!(house.ask("DELETE", &format!("{path}?value=UP")).await.status, 200);
    assert_eq!(handed_out(&house, "foo"), ["h1:foo:1"]);
    assert_eq!(house.ask("PUT", &format!("{path}?value=WEIRD")).await.status, 400);
    assert_eq!(house.ask("PUT", path).await.status, 400);
}

#[tokio::test]
async fn a_client_that_reported_itself_out_of_service_comes_back_by_itself() {
    let house = House::new();
    house.register("FOO", "h1:foo:1", json!({"status": "OUT_OF_SERVICE"})).await;
    assert!(handed_out(&house, "foo").is_empty());
    house.register("FOO", "h1:foo:1", json!({"status": "UP"})).await;
    assert_eq!(handed_out(&house, "foo").len(), 1);
}

#[tokio::test]
async fn a_maintenance_removed_in_another_tongue_puts_the_instance_back() {
    let house = House::new();
    house.register("FOO", "h1:foo:1", json!({})).await;
    house.ask("PUT", "/eureka/apps/FOO/h1:foo:1/status?value=OUT_OF_SERVICE").await;
    let target = Target::Check("_service_maintenance:h1:foo:1".into());
    house.bench.apply(Command::Deregister { node: "h1".into(), target });
    let shown = house.instance("FOO", "h1:foo:1").await;
    assert_eq!((&shown["status"], &shown["overriddenStatus"]), (&json!("UP"), &json!("UNKNOWN")));
    // And one begun there takes it out, survives its registrations, and ends where it is taken back.
    let check = catalog::check("_service_maintenance:h1:foo:1", "h1:foo:1", Status::Critical);
    house.bench.register_check("h1", check);
    assert_eq!(house.instance("FOO", "h1:foo:1").await["status"], "OUT_OF_SERVICE");
    house.register("FOO", "h1:foo:1", json!({})).await;
    assert_eq!(house.instance("FOO", "h1:foo:1").await["status"], "OUT_OF_SERVICE");
    house.ask("DELETE", "/eureka/apps/FOO/h1:foo:1/status").await;
    assert_eq!(house.instance("FOO", "h1:foo:1").await["status"], "UP");
    assert_eq!(handed_out(&house, "foo").len(), 1);
}

#[tokio::test]
async fn cancelled_or_expired_it_is_gone_with_its_node_in_the_same_index() {
    let house = House::new();
    house.register("FOO", "h1:foo:1", json!({})).await;
    house.register("BAR", "h1:bar:1", json!({})).await;
    assert_eq!(house.ask("DELETE", "/eureka/apps/FOO/h1:foo:1").await.status, 200);
    assert!(found(&house, "foo", Health::Any).is_empty());
    house.bench.advance(Duration::from_secs(89));
    assert_eq!(house.ask("PUT", "/eureka/apps/BAR/h1:bar:1").await.status, 200);
    let index = house.bench.state().index();
    house.bench.advance(Duration::from_secs(89));
    assert_eq!(house.bench.state().index(), index, "a renewal costs no write, and holds");
    house.bench.advance(Duration::from_secs(1));
    assert_eq!(house.bench.state().index(), index + 1);
    assert!(house.bench.state().node_detail(&"h1".into()).is_none());
    assert_eq!(house.ask("PUT", "/eureka/apps/BAR/h1:bar:1").await.status, 404);
    assert_eq!(house.json("/eureka/apps").await["applications"]["application"], json!([]));
}

#[tokio::test]
async fn one_id_in_two_applications_is_two_instances() {
    let house = House::new();
    for app in ["FOO", "BAR"] {
        assert_eq!(house.register(app, "h1", json!({})).await.status, 204);
    }
    assert_eq!(handed_out(&house, "foo"), ["foo/h1"]);
    assert_eq!(handed_out(&house, "bar"), ["bar/h1"]);
    assert_eq!(house.ask("DELETE", "/eureka/apps/FOO/h1").await.status, 200);
    assert_eq!(house.instance("BAR", "h1").await["instanceId"], "h1");
}

#[tokio::test]
async fn an_instance_that_moves_to_another_host_is_not_there_twice() {
    let house = House::new();
    house.register("FOO", "i-1", json!({})).await;
    house.register("FOO", "i-1", json!({"hostName": "h2", "ipAddr": "10.0.0.2"})).await;
    let all = found(&house, "foo", Health::Any);
    assert_eq!(all.iter().map(|own| &*own.node.name).collect::<Vec<_>>(), ["h2"]);
    assert!(house.bench.state().node_detail(&"h1".into()).is_none());
    assert_eq!(house.instance("FOO", "i-1").await["ipAddr"], "10.0.0.2");
}

#[tokio::test]
async fn everything_a_client_wrote_is_given_back() {
    let house = House::new();
    let long = "x".repeat(5_000);
    let more = json!({
        "sid": "s", "countryId": 49, "appGroupName": "G", "homePageUrl": "http://h", "statusPageUrl": "http://s",
        "healthCheckUrl": "http://c", "secureHealthCheckUrl": "https://c", "vipAddress": "a,b",
        "secureVipAddress": "c", "isCoordinatingDiscoveryServer": "true", "asgName": "asg",
        "lastDirtyTimestamp": "17", "metadata": {"": "odd", "long": long, "plain": "p"},
        "port": {"$": 1, "@enabled": "false"}, "securePort": {"$": 2, "@enabled": "true"},
        "dataCenterInfo": {"@class": "com.netflix.appinfo.AmazonInfo", "name": "Amazon",
            "metadata": {"instance-id": "i"}},
        "leaseInfo": {"renewalIntervalInSecs": 7, "durationInSecs": 21},
    });
    assert_eq!(house.register("FOO", "i-1", more.clone()).await.status, 204);
    let shown = house.instance("FOO", "i-1").await;
    for (name, value) in more.as_object().unwrap() {
        if name == "leaseInfo" {
            assert_eq!(shown[name]["renewalIntervalInSecs"], 7);
            assert_eq!(shown[name]["durationInSecs"], 21);
        } else {
            assert_eq!(&shown[name], value, "{name}");
        }
    }
    let own = &found(&house, "foo", Health::Any)[0].instance;
    assert_eq!(own.port, 2, "where one port alone is open, it is the port");
    assert_eq!(own.meta.len(), 1, "what no fact can be is kept beside");
    let more = json!({"metadata": {"long": "x".repeat(20_000)}});
    assert_eq!(house.register("FOO", "i-2", more).await.status, 400);
}

#[tokio::test]
async fn a_check_that_cannot_be_run_is_refused_and_nothing_is_stored() {
    let house = House::new();
    for (seconds, url) in [("often", "http://h1/health"), ("10", ""), ("10", "file:///etc/passwd")]
    {
        let more = json!({
            "healthCheckUrl": url, "metadata": {"healthCheckIntervalInSecs": seconds},
        });
        let reply = house.register("FOO", "i-1", more).await;
        assert_eq!(reply.status, 400, "{seconds} {url}");
    }
    assert!(found(&house, "foo", Health::Any).is_empty());
}

// ------------------------------------------------------------------------------------------------
// To Eureka
// ------------------------------------------------------------------------------------------------

fn vouched(house: &House, checks: Vec<Check>) {
    let node = Node {
        address: "10.0.0.7".into(),
        origin: Origin::Agent,
        ..catalog::node("n1", "10.0.0.7")
    };
    house.bench.register_node(node);
    let instance = Instance {
        tags: ["v1".into(), "blue".into()].into(),
        meta: [("color", "blue")].into_iter().collect(),
        origin: Origin::Agent,
        ..catalog::instance("web-1", "web", 80)
    };
    house.bench.register("n1", instance.with_extras(Extras::default()), checks);
}

#[tokio::test]
async fn what_an_agent_vouches_for_is_seen_with_what_a_client_needs() {
    let house = House::new();
    vouched(&house, vec![catalog::check("alive", "web-1", Status::Passing)]);
    let shown = house.instance("WEB", "n1:web-1").await;
    assert_eq!(shown["app"], "WEB");
    assert_eq!((&shown["hostName"], &shown["ipAddr"]), (&json!("10.0.0.7"), &json!("10.0.0.7")));
    assert_eq!(shown["port"], json!({"$": 80, "@enabled": "true"}));
    assert_eq!(shown["securePort"]["@enabled"], "false");
    assert_eq!((&shown["vipAddress"], &shown["status"]), (&json!("web"), &json!("UP")));
    assert_eq!(shown["metadata"], json!({"color": "blue", "tags": "v1,blue"}));
    assert_eq!(shown["leaseInfo"]["durationInSecs"], 90);
    assert_eq!(shown["dataCenterInfo"]["name"], "MyOwn");
    let vip = house.json("/eureka/vips/web").await;
    assert_eq!(vip["applications"]["apps__hashcode"], "UP_1_");
}

#[tokio::test]
async fn checks_and_maintenance_are_words() {
    let house = House::new();
    vouched(&house, vec![catalog::check("alive", "web-1", Status::Warning)]);
    assert_eq!(house.instance("WEB", "n1:web-1").await["status"], "UP");
    house.bench.update_check("n1", "alive", Status::Critical);
    assert_eq!(house.instance("WEB", "n1:web-1").await["status"], "DOWN");
    house.bench.register_check("n1", catalog::check("_node_maintenance", "", Status::Critical));
    assert_eq!(house.instance("WEB", "n1:web-1").await["status"], "OUT_OF_SERVICE");
}

#[tokio::test]
async fn what_others_registered_is_not_altered_through_eureka() {
    let house = House::new();
    vouched(&house, Vec::new());
    let before = house.bench.state().hash();
    let path = "/eureka/apps/WEB/n1:web-1";
    for (method, target) in [
        ("PUT", path.to_owned()),
        ("DELETE", path.to_owned()),
        ("PUT", format!("{path}/metadata?a=b")),
    ] {
        assert_eq!(house.ask(method, &target).await.status, 404, "{method} {target}");
    }
    assert_eq!(house.register("WEB", "n1:web-1", json!({})).await.status, 400, "no doubles");
    assert_eq!(house.bench.state().hash(), before);
    // A client on the same host is a guest there.
    let more = json!({"hostName": "n1", "ipAddr": "10.1.1.1"});
    assert_eq!(house.register("WEB", "n1:web:9", more).await.status, 204);
    let node = house.bench.state().node_detail(&"n1".into()).unwrap().node;
    assert_eq!((&*node.address, node.origin), ("10.0.0.7", Origin::Agent));
    house.ask("DELETE", "/eureka/apps/WEB/n1:web:9").await;
    assert!(house.bench.state().node_detail(&"n1".into()).is_some());
}

#[tokio::test]
async fn an_operator_switches_off_what_another_tongue_registered_and_on_again() {
    let house = House::new();
    vouched(&house, vec![catalog::check("alive", "web-1", Status::Passing)]);
    let path = "/eureka/apps/WEB/n1:web-1/status";
    assert_eq!(house.ask("PUT", &format!("{path}?value=OUT_OF_SERVICE")).await.status, 200);
    assert!(handed_out(&house, "web").is_empty());
    let shown = house.instance("WEB", "n1:web-1").await;
    assert_eq!(
        (&shown["status"], &shown["overriddenStatus"]),
        (&json!("OUT_OF_SERVICE"), &json!("OUT_OF_SERVICE"))
    );
    let index = house.bench.state().index();
    assert_eq!(house.ask("PUT", &format!("{path}?value=OUT_OF_SERVICE")).await.status, 200);
    assert_eq!(house.ask("PUT", &format!("{path}?value=DOWN")).await.status, 400);
    assert_eq!(house.bench.state().index(), index);
    for back in ["DELETE", "PUT"] {
        house.ask("PUT", &format!("{path}?value=OUT_OF_SERVICE")).await;
        assert_eq!(house.ask(back, &format!("{path}?value=UP")).await.status, 200);
        assert_eq!(handed_out(&house, "web"), ["web-1"]);
        assert_eq!(house.instance("WEB", "n1:web-1").await["overriddenStatus"], "UNKNOWN");
    }
    assert_eq!(house.ask("DELETE", path).await.status, 200, "nothing to take back");
    // What its agent switched off is the agent's to switch on.
    let own = Check {
        origin: Origin::Agent,
        ..catalog::check("_service_maintenance:web-1", "web-1", Status::Critical)
    };
    house.bench.register_check("n1", own);
    assert_eq!(house.ask("DELETE", path).await.status, 400);
    assert!(handed_out(&house, "web").is_empty());
}

#[tokio::test]
async fn proxies_and_the_registrys_own_servers_are_no_applications() {
    let house = House::new();
    house.bench.register_node(catalog::node("n1", "10.0.0.7"));
    house.bench.register("n1", catalog::instance("consul", "consul", 8300), Vec::new());
    let extras = Extras { kind: "connect-proxy".into(), ..Extras::default() };
    let proxy = catalog::instance("p", "web-proxy", 1).with_extras(extras);
    house.bench.register("n1", proxy, Vec::new());
    let all = house.json("/eureka/apps").await;
    assert_eq!(all["applications"]["application"], json!([]));
}

#[tokio::test]
async fn people_see_the_applications_and_nothing_that_a_client_wrote_as_markup() {
    let house = House::new();
    house.register("FOO", "<script>", json!({})).await;
    house.register("FOO", "i-2", json!({"status": "DOWN"})).await;
    let page = house.ask("GET", "/").await;
    assert_eq!((page.status, &*page.kind), (200, "text/html; charset=utf-8"));
    assert!(page.body.contains("<td>FOO</td><td>UP (1): &lt;script&gt;<br>DOWN (1): i-2<br>"));
}
