//! Instances in request bodies. The catalog and the agent name some fields differently; the rest
//! is taken apart here for both.

use muster_model::Text;
use muster_model::instance::{Endpoint, Extras, NamedPort, Weights};
use muster_model::node::Locality;

use crate::decode::Object;
use crate::failure::Failure;

/// The fields of an instance that only few have.
pub(crate) fn extras(object: &mut Object) -> Result<Extras, Failure> {
    Ok(Extras {
        tagged_addresses: tagged_addresses(object)?,
        socket_path: object.text("SocketPath")?,
        ports: ports(object)?,
        locality: locality(object)?,
        kind: object.text("Kind")?,
        proxy: document(object, "Proxy"),
        connect: document(object, "Connect"),
    })
}

/// Where a node or an instance stands.
pub(crate) fn locality(object: &mut Object) -> Result<Option<Locality>, Failure> {
    let Some(mut locality) = object.object("Locality", "structs.Locality")? else {
        return Ok(None);
    };
    let found = Locality { region: locality.text("Region")?, zone: locality.text("Zone")? };
    locality.finish()?;
    Ok(Some(found))
}

/// How much of the load it takes, where the body says so: numbers as they were given.
pub(crate) fn weights(object: &mut Object) -> Result<Option<(i64, i64)>, Failure> {
    let Some(mut weights) = object.object("Weights", "structs.Weights")? else { return Ok(None) };
    let found = (weights.integer("Passing")?, weights.integer("Warning")?);
    weights.finish()?;
    Ok(Some(found))
}

/// Weights as the catalog takes them: what is out of bounds is brought back within.
pub(crate) fn bounded_weights(given: Option<(i64, i64)>) -> Weights {
    let most = i64::from(u16::MAX);
    given.map_or_else(Weights::default, |(passing, warning)| Weights {
        passing: passing.clamp(0, most) as u16,
        warning: warning.clamp(0, most) as u16,
    })
}

fn tagged_addresses(object: &mut Object) -> Result<Box<[(Text, Endpoint)]>, Failure> {
    let mut all = Vec::new();
    for spelling in ["TaggedAddresses", "tagged_addresses"] {
        for (purpose, mut endpoint) in object.objects_by_name(spelling, "structs.ServiceAddress")? {
            let found =
                Endpoint { address: endpoint.text("Address")?, port: endpoint.port("Port")? };
            endpoint.finish()?;
            all.push((purpose, found));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.dedup_by(|a, b| a.0 == b.0);
    Ok(all.into())
}

fn ports(object: &mut Object) -> Result<Box<[NamedPort]>, Failure> {
    let ports = object.objects("Ports", "structs.ServicePort")?.into_iter().map(|mut port| {
        let found = NamedPort {
            name: port.text("Name")?,
            port: port.port("Port")?,
            is_default: port.flag("Default")?,
        };
        port.finish()?;
        Ok(found)
    });
    ports.collect()
}

/// A document of the mesh, kept as it is; empty where it says nothing.
fn document(object: &mut Object, key: &str) -> Text {
    match object.take(key) {
        Some(value) if value.as_object().is_none_or(|fields| !fields.is_empty()) => {
            value.to_string().into()
        }
        _ => Text::default(),
    }
}
