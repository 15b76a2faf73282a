//! Who has an address: the way back from an address to the nodes that have it or carry an instance
//! that does.
//!
//! Kept for each address and node, not for each instance: a fleet whose instances live at their nodes'
//! addresses costs an entry a node, and a question about an address reads the few nodes concerned.

use imbl::OrdMap;
use muster_model::Text;

/// How often an address stands on a node: as its own, and as that of its instances.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owners {
    /// By address and folded node name. Never 0.
    counts: OrdMap<(Text, Text), u32>,
}

impl Owners {
    /// Notes that an address stands on a node where another stood, each empty for none.
    pub(crate) fn swap(&mut self, node: &Text, old: &Text, new: &Text) {
        if old == new {
            return;
        }
        if !new.is_empty() {
            *self.counts.entry((new.clone(), node.clone())).or_insert(0) += 1;
        }
        let key = (old.clone(), node.clone());
        if let Some(count) = self.counts.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&key);
            }
        }
    }

    /// The folded names of the nodes that an address stands on, in their order.
    pub(crate) fn nodes_with<'a>(&'a self, address: &'a Text) -> impl Iterator<Item = &'a Text> {
        let first = (address.clone(), Text::default());
        let found = self.counts.range(first..).take_while(move |((own, _), _)| own == address);
        found.map(|((_, node), _)| node)
    }
}

#[cfg(test)]
mod tests {
    use muster_model::command::{Registration, Target};
    use muster_model::{Command, Instance, Node};

    use crate::State;

    fn register(node: &str, own: &str, instance: Option<(&str, &str)>) -> Command {
        let node = Node { name: node.into(), address: own.into(), ..Node::default() };
        let instance = instance.map(|(id, address)| Instance {
            id: id.into(),
            service: "s".into(),
            address: address.into(),
            ..Instance::default()
        });
        Command::Register(Registration { node, instance, ..Registration::default() })
    }

    fn deregister(node: &str, target: Target) -> Command {
        Command::Deregister { node: node.into(), target }
    }

    /// The owners that reading the whole catalog finds.
    fn scanned(state: &State, address: &str) -> Vec<String> {
        let concerned = state.catalog.nodes().filter(|entry| {
            let mut instances = entry.instances();
            entry.row.address == *address || instances.any(|own| own.row.address == *address)
        });
        concerned.map(|entry| entry.row.name.folded().to_string()).collect()
    }

    #[test]
    fn the_way_back_leads_where_a_scan_does() {
        let commands = [
            register("B", "10.0.0.1", Some(("s1", "10.0.0.1"))),
            register("a", "10.0.0.1", Some(("s1", ""))),
            register("a", "10.0.0.1", Some(("s1", "10.0.0.2"))),
            register("a", "10.0.0.1", Some(("s2", "10.0.0.2"))),
            register("a", "10.0.0.2", None),
            deregister("a", Target::Instance("s1".into())),
            register("a", "10.0.0.3", Some(("s2", "10.0.0.1"))),
            deregister("b", Target::Instance("s1".into())),
            deregister("b", Target::Node),
            register("c", "10.0.0.1", Some(("s1", "10.0.0.3"))),
            deregister("a", Target::Node),
            deregister("c", Target::Node),
        ];
        let mut state = State::default();
        for (index, command) in (1..).zip(&commands) {
            state.apply(index, command);
            let loaded = State::load(state.save()).unwrap();
            for address in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
                let expected = scanned(&state, address);
                for state in [&state, &loaded] {
                    let address = address.into();
                    let found: Vec<String> = state
                        .catalog
                        .owners()
                        .nodes_with(&address)
                        .map(|name| name.to_string())
                        .collect();
                    assert_eq!(found, expected, "{address} after {command:?}");
                }
            }
        }
        assert!(state.catalog.owners().counts.is_empty());
    }
}
