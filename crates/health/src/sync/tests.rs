//! Against a small catalog: what the agent sends must make both agree, and touch nothing else.

use muster_model::definition::{CheckDefinition, Source};
use muster_model::{Outcome, Status};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;
use crate::Moment;
use crate::check::{Observation, Settings};
use crate::local::{CheckDeclaration, InstanceDeclaration};

/// A catalog that knows one node: enough to see that what the agent sends makes both agree.
#[derive(Default)]
struct Catalog {
    node: Option<Node>,
    instances: Vec<Instance>,
    checks: Vec<Check>,
}

impl Catalog {
    fn apply(&mut self, command: &Command) -> Outcome {
        match command {
            Command::Register(registration) => {
                if self.node.is_none() || !registration.keep_node {
                    self.node = Some(registration.node.clone());
                }
                if let Some(instance) = &registration.instance {
                    self.instances.retain(|own| own.id != instance.id);
                    self.instances.push(instance.clone());
                }
                for check in &registration.checks {
                    let has_subject = check.is_about_node()
                        || self.instances.iter().any(|own| own.id == check.instance_id);
                    assert!(has_subject, "{} came before its instance", check.id);
                    self.checks.retain(|own| own.id != check.id);
                    self.checks.push(check.clone());
                }
            }
            Command::Deregister { target: Target::Instance(id), .. } => {
                self.instances.retain(|own| own.id != *id);
                self.checks.retain(|own| own.instance_id != *id);
            }
            Command::Deregister { target: Target::Check(id), .. } => {
                self.checks.retain(|own| own.id != *id);
            }
            Command::UpdateCheck { id, status, output, .. } => {
                let own = self.checks.iter_mut().find(|own| own.id == *id).unwrap();
                (own.status, own.output) = (*status, output.clone());
            }
            other => panic!("an agent has no reason to send {other:?}"),
        }
        Outcome::Done
    }

    fn view(&self) -> CatalogView<'_> {
        CatalogView {
            node: self.node.as_ref(),
            instances: self.instances.iter().collect(),
            checks: self.checks.iter().collect(),
        }
    }
}

fn node() -> Node {
    Node { name: "n1".into(), address: "127.0.0.1".into(), ..Node::default() }
}

fn push(local: &mut Local, catalog: &mut Catalog) -> usize {
    let mut n_commands = 0;
    while let Some(wish) = local.next_wish(&node()) {
        catalog.apply(&wish.command);
        local.settle(&wish.told, Settlement::Granted);
        n_commands += 1;
    }
    n_commands
}

fn local_with_web() -> Local {
    let mut local = Local::new(Settings::default(), SmallRng::seed_from_u64(1));
    let rule = Rule::Tcp { address: "a:1".into(), use_tls: false, tls: Default::default() };
    let definition = CheckDefinition { rule, ..CheckDefinition::default() };
    let check = CheckDeclaration {
        check: Check { id: "c".into(), ..Check::default() },
        definition,
        source: Source::Client,
    };
    let instance =
        Instance { service: "web".into(), tags: ["a".into()].into(), ..Default::default() };
    let declaration = InstanceDeclaration { instance, checks: vec![check], ..Default::default() };
    local.declare_instance(declaration, Moment::default()).unwrap();
    local
}

fn observe(local: &mut Local, status: Status) {
    let observation = Observation { status, output: "".into() };
    local.observe(&"c".into(), observation, Moment::default());
}

#[test]
fn an_instance_and_its_checks_are_one_command_and_a_new_status_is_a_small_one() {
    let (mut local, mut catalog) = (local_with_web(), Catalog::default());
    assert_eq!(push(&mut local, &mut catalog), 1);
    assert_eq!((catalog.instances.len(), catalog.checks.len()), (1, 1));
    assert_eq!(catalog.instances[0].origin, Origin::Agent);
    observe(&mut local, Status::Passing);
    let wish = local.next_wish(&node()).unwrap();
    assert!(matches!(wish.command, Command::UpdateCheck { status: Status::Passing, .. }));
    local.settle(&wish.told, Settlement::Undecided);
    assert!(!local.is_in_sync(), "what may not have got through is told again");
    let wish = local.next_wish(&node()).unwrap();
    assert!(matches!(wish.command, Command::Register(_)), "and then in full");
}

#[test]
fn after_a_comparison_the_catalog_is_repaired() {
    let (mut local, mut catalog) = (local_with_web(), Catalog::default());
    observe(&mut local, Status::Passing);
    push(&mut local, &mut catalog);
    local.compare(&node(), &catalog.view());
    assert!(local.is_in_sync(), "nothing is wrong");

    catalog.instances[0].port = 9;
    catalog.checks.clear();
    catalog.node.as_mut().unwrap().address = "10.0.0.1".into();
    local.compare(&node(), &catalog.view());
    push(&mut local, &mut catalog);
    assert_eq!((catalog.instances[0].port, catalog.checks.len()), (0, 1));
    assert_eq!(catalog.node.as_ref().unwrap().address, "127.0.0.1");
}

#[test]
fn only_what_carries_the_agents_own_origin_is_removed() {
    let (mut local, mut catalog) = (local_with_web(), Catalog::default());
    push(&mut local, &mut catalog);
    let instance = |id: &str, origin| Instance {
        id: id.into(),
        service: id.into(),
        origin,
        ..Instance::default()
    };
    catalog.instances.push(instance("stray", Origin::Agent));
    catalog.instances.push(instance("external", Origin::Catalog));
    catalog.instances.push(instance("eureka", Origin::Lease));
    catalog.instances.push(instance(OWN_SERVICE, Origin::Agent));
    let alive = Check { id: AGENT_CHECK_ID.into(), origin: Origin::Agent, ..Check::default() };
    catalog.checks.push(alive);
    local.compare(&node(), &catalog.view());
    assert_eq!(push(&mut local, &mut catalog), 1);
    let left: Vec<&str> = catalog.instances.iter().map(|own| own.id.as_str()).collect();
    assert_eq!(left, ["web", "external", "eureka", OWN_SERVICE]);
    assert_eq!(catalog.checks.len(), 2);
}

#[test]
fn tags_of_the_catalog_win_where_the_instance_says_so() {
    let (mut local, mut catalog) = (local_with_web(), Catalog::default());
    push(&mut local, &mut catalog);
    catalog.instances[0].tags = ["b".into()].into();
    local.compare(&node(), &catalog.view());
    push(&mut local, &mut catalog);
    assert_eq!(*catalog.instances[0].tags, [Text::from("a")]);

    local.instances.get_mut("web").unwrap().instance.enable_tag_override = true;
    catalog.instances[0].enable_tag_override = true;
    catalog.instances[0].tags = ["b".into()].into();
    local.compare(&node(), &catalog.view());
    assert!(local.is_in_sync());
    assert_eq!(*local.instance("web").unwrap().instance.tags, [Text::from("b")]);
}

#[test]
fn a_restarted_agent_takes_the_word_of_checks_that_have_not_run_from_the_catalog() {
    let (mut local, mut catalog) = (local_with_web(), Catalog::default());
    observe(&mut local, Status::Passing);
    push(&mut local, &mut catalog);
    let mut restarted = local_with_web();
    restarted.compare(&node(), &catalog.view());
    assert_eq!(restarted.check("c").unwrap().check.status, Status::Passing);
    observe(&mut restarted, Status::Critical);
    restarted.compare(&node(), &catalog.view());
    assert_eq!(restarted.check("c").unwrap().check.status, Status::Critical);
    push(&mut restarted, &mut catalog);
    assert_eq!(catalog.checks[0].status, Status::Critical);
}

#[test]
fn an_instance_withdrawn_and_declared_again_before_the_push_leaves_no_old_check() {
    let (mut local, mut catalog) = (local_with_web(), Catalog::default());
    push(&mut local, &mut catalog);
    local.withdraw_instance(&"web".into()).unwrap();
    let instance = Instance { service: "web".into(), ..Instance::default() };
    let again = InstanceDeclaration { instance, ..InstanceDeclaration::default() };
    local.declare_instance(again, Moment::default()).unwrap();
    push(&mut local, &mut catalog);
    assert_eq!((catalog.instances.len(), catalog.checks.len()), (1, 0));
}

#[test]
fn large_clusters_compare_less_often() {
    let mut chance = SmallRng::seed_from_u64(1);
    for (n_nodes, scale) in [(1, 1), (128, 1), (129, 2), (256, 2), (1_024, 4)] {
        let after = compare_after(n_nodes, &mut chance);
        let least = COMPARE_INTERVAL * scale;
        assert!(after >= least && after < least * 2, "{n_nodes} nodes: {after:?}");
    }
}

#[test]
fn ten_thousand_agents_that_compare_anew_are_spread_over_forty_seconds() {
    let mut chance = SmallRng::seed_from_u64(1);
    let mut in_second = [0_u32; 40];
    for _ in 0..10_000 {
        let after = compare_anew_after(10_000, &mut chance);
        in_second[after.as_secs() as usize] += 1;
    }
    assert!(in_second.iter().all(|n| (150..350).contains(n)), "{in_second:?}");
    assert!(compare_anew_after(3, &mut chance) < COMPARE_ANEW_SPREAD);
}
