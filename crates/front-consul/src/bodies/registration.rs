//! The bodies of `/v1/catalog/register` and `/v1/catalog/deregister`.

use muster_model::command::{Registration, Target};
use muster_model::{Command, Instance, Node, Text};

use crate::bodies::check::{CatalogCheck, catalog_check};
use crate::bodies::instance;
use crate::decode::Object;
use crate::failure::Failure;

/// A wish with the datacenter it is for; empty: this one.
pub(crate) struct Wish {
    pub(crate) datacenter: Text,
    pub(crate) command: Command,
}

/// The wish of a body of `/v1/catalog/register`.
pub(crate) fn register(body: &[u8]) -> Result<Wish, Failure> {
    let mut object = Object::parse(body, "structs.RegisterRequest")?;
    let datacenter = object.text("Datacenter")?;
    let node = Node {
        name: object.text("Node")?,
        id: object.text("ID")?,
        address: object.text("Address")?,
        tagged_addresses: object.meta("TaggedAddresses")?,
        meta: object.meta("NodeMeta")?,
        locality: instance::locality(&mut object)?,
        ..Node::default()
    };
    let keep_node = object.flag("SkipNodeUpdate")?;
    let instance = match object.object("Service", "structs.NodeService")? {
        Some(mut service) => {
            let instance = catalog_instance(&mut service)?;
            service.finish()?;
            Some(instance)
        }
        None => None,
    };
    let mut checks = Vec::new();
    let single = object.object("Check", "structs.HealthCheck")?;
    let several = object.objects("Checks", "structs.HealthCheck")?;
    for mut check in single.into_iter().chain(several) {
        checks.push(catalog_check(&mut check)?);
        check.finish()?;
    }
    for ignored in ["PeerName", "Namespace", "Partition", "CreateIndex", "ModifyIndex", "Token"] {
        object.take(ignored);
    }
    object.finish()?;
    check_node(&node, keep_node)?;
    let instance = instance.map(named).transpose()?;
    let checks = checks
        .into_iter()
        .map(|check| on_this_node(check, &node.name))
        .collect::<Result<Vec<_>, Failure>>()?;
    let registration = Registration { node, keep_node, instance, checks };
    Ok(Wish { datacenter, command: Command::Register(registration) })
}

/// The wish of a body of `/v1/catalog/deregister`.
pub(crate) fn deregister(body: &[u8]) -> Result<Wish, Failure> {
    let mut object = Object::parse(body, "structs.DeregisterRequest")?;
    let datacenter = object.text("Datacenter")?;
    let node = object.text("Node")?;
    let (service_id, check_id) = (object.text("ServiceID")?, object.text("CheckID")?);
    for ignored in ["Address", "PeerName", "Namespace", "Partition", "Token"] {
        object.take(ignored);
    }
    object.finish()?;
    if node.is_empty() {
        return Err(Failure::internal("Must provide node"));
    }
    let target = if !service_id.is_empty() {
        Target::Instance(service_id)
    } else if !check_id.is_empty() {
        Target::Check(check_id)
    } else {
        Target::Node
    };
    Ok(Wish { datacenter, command: Command::Deregister { node, target } })
}

/// An instance as it is registered straight into the catalog.
pub(crate) fn catalog_instance(service: &mut Object) -> Result<Instance, Failure> {
    let instance = Instance {
        id: service.text("ID")?,
        service: service.text("Service")?,
        tags: service.texts("Tags")?.into(),
        address: service.text("Address")?,
        port: service.port("Port")?,
        meta: service.meta("Meta")?,
        weights: instance::bounded_weights(instance::weights(service)?),
        enable_tag_override: service.flag("EnableTagOverride")?,
        ..Instance::default()
    };
    let extras = instance::extras(service)?;
    for ignored in [
        "PeerName",
        "Namespace",
        "Partition",
        "CreateIndex",
        "ModifyIndex",
        "ContentHash",
        "Datacenter",
    ] {
        service.take(ignored);
    }
    Ok(instance.with_extras(extras))
}

fn check_node(node: &Node, keep_node: bool) -> Result<(), Failure> {
    if node.name.is_empty() {
        return Err(Failure::internal("Must provide node"));
    }
    if node.address.is_empty() && !keep_node {
        return Err(Failure::internal("Must provide address if SkipNodeUpdate is not set"));
    }
    if !node.id.is_empty() {
        check_uuid(&node.id)
            .map_err(|problem| Failure::internal(format!("Bad node ID: {problem}")))?;
    }
    Ok(())
}

/// Whether a text is a UUID; if not, why, in Consul's words.
pub(crate) fn check_uuid(text: &str) -> Result<(), &'static str> {
    if text.len() != 36 {
        return Err("uuid string is wrong length");
    }
    let is_formed = text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    if is_formed { Ok(()) } else { Err("uuid is improperly formatted") }
}

/// An instance has a service, and an id: the service's name where nobody chose another.
pub(crate) fn named(mut instance: Instance) -> Result<Instance, Failure> {
    if instance.service.is_empty() && instance.id.is_empty() {
        return Err(Failure::internal(
            "service name (Service.Service) is required; both Service ID (Service.ID) and \
             Service Name cannot be empty",
        ));
    }
    if instance.service.is_empty() {
        return Err(Failure::internal(
            "Must provide service name (Service.Service) when service ID is provided",
        ));
    }
    if instance.id.is_empty() {
        instance.id = instance.service.clone();
    }
    if instance.port != 0 && !instance.extras().ports.is_empty() {
        return Err(Failure::internal("1 error occurred:\n\t* Cannot set both Port and Ports\n\n"));
    }
    Ok(instance)
}

/// A check belongs to the node that is registered, and has an id.
fn on_this_node(found: CatalogCheck, node: &Text) -> Result<muster_model::Check, Failure> {
    let CatalogCheck { node: named, check } = found;
    if !named.is_empty() && named != *node {
        return Err(Failure::internal(format!(
            "Node '{named}' for check '{}' doesn't match register request node '{node}'",
            check.id
        )));
    }
    Ok(check)
}
