//! Members against catalog: scripts a stranger can read, played against the real state.
//!
//! A script is a text file in `tests/scripts/reconcile/`. Its steps, one a line:
//!
//! | step | what happens |
//! |---|---|
//! | `at 30s` | the clock is turned to 30 seconds after the start |
//! | `member NAMES STATUS [id=ID] [address=ADDRESS] [server]` | gossip sees these members so |
//! | `gone NAMES` | gossip knows these members no more |
//! | `vouch NAMES SERVICE` | the agents of these nodes register an instance |
//! | `write NAME [id=ID] [serfHealth]` | somebody writes a node through the catalog's API |
//! | `new leader` | another leader, which remembers nothing |
//! | `guard off` | the operator switches the guard off |
//! | `round -> COMMANDS` | the leader compares and submits; nothing the state does not grant |
//! | `count -> STATUSES` | how many nodes are passing, doubted (passing all the same), critical |
//! | `conflict -> NAMES` | whom the last round passed over |
//! | `show NAME -> OUTPUT` | what a node's `serfHealth` says |
//!
//! NAMES is `web1` or `web[1-20]`. After each round a second one must find nothing more to do.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_health::Moment;
use muster_health::guard::{self, Guard, Subject};
use muster_health::reconcile::{
    self, CatalogNode, MemberFact, MemberStatus, Reconcile, Repair, ServerFact, Sight,
};
use muster_model::answer::Body;
use muster_model::check::AGENT_CHECK_ID;
use muster_model::command::{Registration, Target};
use muster_model::node::Origin;
use muster_model::query::NodeFilter;
use muster_model::{Check, Command, Instance, Node, Outcome, Query, Status, Text};
use muster_state::State;

#[test]
fn the_catalog_follows_the_members_as_the_scripts_say() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/reconcile");
    let mut n_scripts = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        play(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap());
        n_scripts += 1;
    }
    assert!(n_scripts >= 7);
}

fn play(name: &str, script: &str) {
    let mut player = Player::new();
    for (number, line) in script.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            player.step(line, &format!("{name}:{}: {line}", number + 1));
        }
    }
}

struct Player {
    now: Moment,
    state: State,
    members: BTreeMap<String, MemberFact>,
    reconcile: Reconcile,
    guard: Guard<Subject>,
    last: Repair,
}

impl Player {
    fn new() -> Player {
        Player {
            now: Moment::default(),
            state: State::default(),
            members: BTreeMap::new(),
            reconcile: Reconcile::new(reconcile::Settings::default()),
            guard: Guard::new(guard::Settings::default()),
            last: Repair::default(),
        }
    }

    fn step(&mut self, line: &str, place: &str) {
        let (step, expected) = line.split_once("->").unwrap_or((line, ""));
        let expected = expected.trim();
        let words: Vec<&str> = step.split_whitespace().collect();
        match words[..] {
            ["at", time] => {
                let seconds = time.strip_suffix('s').expect(place).parse().expect(place);
                self.now = Moment::after_start(Duration::from_secs(seconds));
            }
            ["member", names, status, ref facts @ ..] => {
                for name in names_of(names) {
                    self.members.insert(name.clone(), member(&name, status, facts, place));
                }
            }
            ["gone", names] => names_of(names).iter().for_each(|name| {
                self.members.remove(name).expect(place);
            }),
            ["vouch", names, service] => self.vouch(names, service),
            ["write", name, ref facts @ ..] => self.write(name, facts, place),
            ["new", "leader"] => {
                self.reconcile = Reconcile::default();
                self.guard = Guard::new(guard::Settings::default());
            }
            ["guard", "off"] => {
                self.guard.reconfigure(guard::Settings { is_on: false, ..Default::default() });
            }
            ["round"] => assert_eq!(self.round(), expected, "{place}"),
            ["count"] => assert_eq!(self.count(), expected, "{place}"),
            ["conflict"] => {
                let names: Vec<&str> =
                    self.last.conflicts.iter().map(|own| &*own.passed_over).collect();
                assert_eq!(names.join(", "), expected, "{place}");
            }
            ["show", name] => {
                let check = self.agent_check(name).expect(place);
                assert_eq!(&*check.output, expected, "{place}");
            }
            _ => panic!("{place}: no such step"),
        }
    }

    fn apply(&mut self, command: &Command) {
        let index = self.state.index() + 1;
        let (outcome, _) = self.state.apply(index, command);
        let outcomes = match outcome {
            Outcome::Batch(outcomes) => outcomes,
            one => vec![one],
        };
        for outcome in outcomes {
            assert_eq!(outcome, Outcome::Done, "of {command:?}");
        }
    }

    fn compare(&mut self) -> Repair {
        let details = self.node_names();
        let details = details.iter().map(|name| self.state.node_detail(name).expect("is listed"));
        let catalog: Vec<CatalogNode> = details.map(|detail| CatalogNode::of(&detail)).collect();
        let members: Vec<MemberFact> = self.members.values().cloned().collect();
        let sight = Sight { own_node: &"leader".into(), members: &members, catalog: &catalog };
        self.reconcile.compare(sight, &mut self.guard, self.now)
    }

    /// One round of the leader. Gives its commands in short.
    fn round(&mut self) -> String {
        self.guard.release(self.now);
        self.last = self.compare();
        for command in self.last.commands.clone() {
            self.apply(&command);
        }
        assert_eq!(self.compare().commands, [], "an unchanged member yields no command");
        let commands = self.last.commands.iter().flat_map(|command| match command {
            Command::Batch { commands } => commands.clone(),
            one => vec![one.clone()],
        });
        let words: Vec<String> = commands.map(|command| in_short(&command)).collect();
        match words.len() {
            0 => "nothing".into(),
            1..=4 => words.join("; "),
            n => format!("{n} commands"),
        }
    }

    fn count(&self) -> String {
        let (mut n_passing, mut n_doubted, mut n_critical) = (0, 0, 0);
        for name in self.node_names() {
            match self.agent_check(&name) {
                Some(check) if check.status == Status::Critical => n_critical += 1,
                Some(check) if reconcile::is_marked_doubtful(&check.output) => n_doubted += 1,
                Some(_) => n_passing += 1,
                None => {}
            }
        }
        format!("passing {n_passing}, doubted {n_doubted}, critical {n_critical}")
    }

    fn node_names(&self) -> Vec<Text> {
        match self.state.answer(&Query::Nodes(NodeFilter::default())).body {
            Body::Nodes(nodes) => nodes.iter().map(|node| node.name.clone()).collect(),
            _ => unreachable!("nodes were asked for"),
        }
    }

    fn agent_check(&self, name: &str) -> Option<Check> {
        let detail = self.state.node_detail(&name.into())?;
        let mut checks = detail.checks.iter().map(|detail| &detail.check);
        checks.find(|check| check.id == AGENT_CHECK_ID).map(|check| check.value.clone())
    }

    fn vouch(&mut self, names: &str, service: &str) {
        for name in names_of(names) {
            let node = Node { name: (&name).into(), ..Node::default() };
            let instance = Instance {
                id: service.into(),
                service: service.into(),
                origin: Origin::Agent,
                ..Instance::default()
            };
            let (instance, checks) = (Some(instance), Vec::new());
            let registration = Registration { node, keep_node: true, instance, checks };
            self.apply(&Command::Register(registration));
        }
    }

    fn write(&mut self, name: &str, facts: &[&str], place: &str) {
        let mut node = Node { name: name.into(), address: "192.0.2.1".into(), ..Node::default() };
        let mut checks = Vec::new();
        for fact in facts {
            match fact.split_once('=') {
                Some(("id", id)) => node.id = id.into(),
                None if *fact == AGENT_CHECK_ID => {
                    checks.push(Check { origin: Origin::Catalog, ..reconcile::alive_check() });
                }
                _ => panic!("{place}: unknown fact {fact}"),
            }
        }
        let registration = Registration { node, keep_node: false, instance: None, checks };
        self.apply(&Command::Register(registration));
    }
}

fn names_of(names: &str) -> Vec<String> {
    let Some((stem, range)) = names.split_once('[') else { return vec![names.into()] };
    let (first, last) = range.trim_end_matches(']').split_once('-').expect("a range");
    let (first, last): (u32, u32) =
        (first.parse().expect("a number"), last.parse().expect("a number"));
    (first..=last).map(|number| format!("{stem}{number}")).collect()
}

fn member(name: &str, status: &str, facts: &[&str], place: &str) -> MemberFact {
    let status = match status {
        "alive" => MemberStatus::Alive,
        "suspect" => MemberStatus::Suspect,
        "failed" => MemberStatus::Failed,
        "left" => MemberStatus::Left,
        "reaped" => MemberStatus::Reaped,
        _ => panic!("{place}: no such status"),
    };
    let (node_id, address) = (format!("id-of-{name}").into(), format!("{name}.test").into());
    let mut member = MemberFact { name: name.into(), node_id, address, status, server: None };
    for fact in facts {
        match fact.split_once('=') {
            Some(("id", id)) => member.node_id = id.into(),
            Some(("address", address)) => member.address = address.into(),
            None if *fact == "server" => {
                let meta = [("raft_version", "3")].into_iter().collect();
                member.server = Some(ServerFact { port: 8300, meta });
            }
            _ => panic!("{place}: unknown fact {fact}"),
        }
    }
    member
}

fn in_short(command: &Command) -> String {
    match command {
        Command::Register(Registration { node, keep_node, instance, checks }) => {
            let mut parts = Vec::new();
            if !keep_node {
                parts.push(format!("node at {}", node.address));
            }
            parts.extend(instance.iter().map(|own| format!("instance {}", own.id)));
            parts.extend(checks.iter().map(|check| format!("{} {}", check.id, check.status)));
            format!("register {}: {}", node.name, parts.join(", "))
        }
        Command::Deregister { node, target: Target::Node } => format!("deregister {node}"),
        Command::Deregister { node, target: Target::Instance(id) } => {
            format!("deregister {node}: instance {id}")
        }
        Command::UpdateCheck { node, status, output, .. } => {
            let is_doubtful = reconcile::is_marked_doubtful(output);
            format!("{node} {}", if is_doubtful { "doubted" } else { status.as_str() })
        }
        other => panic!("reconcile does not wish {other:?}"),
    }
}

#[test]
fn no_batch_is_larger_than_its_bound() {
    let mut player = Player::new();
    player.step("member web[1-1000] alive", "here");
    assert_eq!(player.round(), "1000 commands");
    assert_eq!(player.last.commands.len(), 8);
    for batch in &player.last.commands {
        let Command::Batch { commands } = batch else { panic!("{batch:?}") };
        assert!(commands.len() <= 128);
    }
}
