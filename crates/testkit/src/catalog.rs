//! What most tests register, in one line each.

use muster_model::command::{PutTerms, Registration};
use muster_model::session::Session;
use muster_model::{Check, Command, Index, Instance, Node, Status, Text};

use crate::Bench;

/// A node with this name and address, and nothing else.
pub fn node(name: &str, address: &str) -> Node {
    Node { name: name.into(), address: address.into(), ..Node::default() }
}

/// An instance with this id, service and port, and nothing else.
pub fn instance(id: &str, service: &str, port: u16) -> Instance {
    Instance { id: id.into(), service: service.into(), port, ..Instance::default() }
}

/// A check of an instance, or of the node where `instance_id` is empty.
pub fn check(id: &str, instance_id: &str, status: Status) -> Check {
    Check {
        id: id.into(),
        name: id.into(),
        instance_id: instance_id.into(),
        status,
        ..Check::default()
    }
}

impl Bench {
    /// Registers a node alone.
    pub fn register_node(&self, node: Node) -> Index {
        self.apply(Command::Register(Registration { node, ..Registration::default() }))
    }

    /// Registers an instance with its checks on a node, which is made where it is missing.
    pub fn register(&self, node: &str, instance: Instance, checks: Vec<Check>) -> Index {
        let node = Node { name: node.into(), ..Node::default() };
        let instance = Some(instance);
        self.apply(Command::Register(Registration { node, keep_node: true, instance, checks }))
    }

    /// Registers a check of a node that is there, or of an instance on it.
    pub fn register_check(&self, node: &str, check: Check) -> Index {
        let node = Node { name: node.into(), ..Node::default() };
        let checks = vec![check];
        self.apply(Command::Register(Registration {
            node,
            keep_node: true,
            instance: None,
            checks,
        }))
    }

    /// A new word on a check.
    pub fn update_check(&self, node: &str, id: &str, status: Status) -> Index {
        let (node, id, output) = (node.into(), id.into(), Text::default());
        self.apply(Command::UpdateCheck { node, id, status, output })
    }

    /// Writes a pair.
    pub fn put(&self, key: &str, value: &str) -> Index {
        self.apply(Command::PutPair {
            key: key.into(),
            value: value.as_bytes().into(),
            flags: 0,
            terms: PutTerms::Always,
        })
    }

    /// Creates a session on a node that is there.
    pub fn create_session(&self, id: &str, node: &str) -> Index {
        let session = Session { id: id.into(), node: node.into(), ..Session::default() };
        self.apply(Command::CreateSession(session))
    }
}
