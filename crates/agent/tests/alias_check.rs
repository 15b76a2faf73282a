//! An alias check follows something on another node, as the catalog has it.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{House, scripts_allowed};
use muster_health::check::Observation;
use muster_model::Status;
use muster_model::command::{Command, Target};
use muster_model::definition::Rule;
use muster_testkit::catalog::{check, instance, node};
use muster_world::Real;

fn alias(instance_id: &str) -> Rule {
    Rule::Alias { node: "n2".into(), instance_id: instance_id.into() }
}

fn house() -> House {
    let house = House::new(Arc::new(Real::new()), scripts_allowed());
    house.bench.register_node(node("n2", "10.0.0.2"));
    house.bench.register("n2", instance("web", "web", 80), vec![]);
    house
}

fn assert_says(found: &Observation, status: Status, words: &str) {
    assert_eq!(found.status, status, "{}", found.output);
    assert!(found.output.contains(words), "{}", found.output);
}

#[tokio::test]
async fn it_has_the_worst_status_of_the_instance_and_its_node() {
    let mut house = house();
    house.run(alias("web"), Duration::ZERO);
    assert_says(&house.next().await, Status::Passing, "No checks found");
    house.bench.register_check("n2", check("own", "web", Status::Warning));
    assert_says(&house.next().await, Status::Warning, "\"own\" failing");
    house.bench.register_check("n2", check("alive", "", Status::Critical));
    assert_says(&house.next().await, Status::Critical, "\"alive\" failing");
    house.bench.update_check("n2", "alive", Status::Passing);
    assert_says(&house.next().await, Status::Warning, "\"own\" failing");
    house.bench.update_check("n2", "own", Status::Passing);
    assert_says(&house.next().await, Status::Passing, "All checks passing");
}

#[tokio::test]
async fn what_goes_or_was_never_there_is_critical() {
    let mut house = house();
    house.run(alias("web"), Duration::ZERO);
    assert_says(&house.next().await, Status::Passing, "No checks found");
    let gone = Target::Instance("web".into());
    house.bench.apply(Command::Deregister { node: "n2".into(), target: gone });
    assert_says(&house.next().await, Status::Critical, "Service web could not be found");
    house.run(alias("nothing"), Duration::ZERO);
    assert_says(&house.next().await, Status::Critical, "Service nothing could not be found");
}

#[tokio::test]
async fn without_an_instance_it_follows_the_node_alone() {
    let mut house = house();
    house.bench.register_check("n2", check("own", "web", Status::Critical));
    house.bench.register_check("n2", check("alive", "", Status::Passing));
    house.run(alias(""), Duration::ZERO);
    assert_says(&house.next().await, Status::Passing, "All checks passing");
    house.bench.update_check("n2", "alive", Status::Critical);
    assert_says(&house.next().await, Status::Critical, "\"alive\" failing");
}
