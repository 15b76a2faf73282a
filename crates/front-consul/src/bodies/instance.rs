//! Instances in request bodies. The catalog and the agent name some fields differently; the rest
//! is taken apart here for both.

use muster_model::instance::{Endpoint, Extras, NamedPort, Weights};
use muster_model::node::Locality;
use muster_model::{Text, declared};
use serde_json::Value;

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
        proxy: object.take("Proxy").as_ref().map(proxy).unwrap_or_default(),
        connect: object.take("Connect").as_ref().map(document).unwrap_or_default(),
        ..Extras::default()
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

/// Weights as the catalog takes them: the usual ones where they are out of bounds. Clients that
/// know of no weights send zeros.
pub(crate) fn bounded_weights(given: Option<(i64, i64)>) -> Weights {
    let within = given.and_then(|(passing, warning)| declared::weights(passing, warning).ok());
    within.unwrap_or_default()
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
fn document(value: &Value) -> Text {
    match value.as_object() {
        Some(fields) if fields.is_empty() => Text::default(),
        _ => value.to_string().into(),
    }
}

/// A proxy's settings, with their fields in the order in which they are shown and with those that
/// are always shown. A field nobody knows is kept at the end.
fn proxy(value: &Value) -> Text {
    const ORDER: [&str; 13] = [
        "EnvoyExtensions",
        "DestinationServiceName",
        "DestinationServiceID",
        "LocalServiceAddress",
        "LocalServicePort",
        "LocalServiceSocketPath",
        "Mode",
        "Config",
        "Upstreams",
        "MeshGateway",
        "Expose",
        "TransparentProxy",
        "AccessLogs",
    ];
    let Some(fields) = value.as_object().filter(|fields| !fields.is_empty()) else {
        return document(value);
    };
    let given = |name: &str| {
        let own = fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        own.map(|(_, value)| value.to_string())
    };
    let always = |name: &str| match name {
        "Mode" => Some("\"\"".to_owned()),
        "MeshGateway" | "Expose" => Some("{}".to_owned()),
        _ => None,
    };
    let known = ORDER.iter().filter_map(|name| {
        let value = given(name).or_else(|| always(name))?;
        Some(format!("\"{name}\":{value}"))
    });
    let is_unknown = |name: &str| !ORDER.iter().any(|known| known.eq_ignore_ascii_case(name));
    let unknown = fields
        .iter()
        .filter(|(name, _)| is_unknown(name))
        .map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())));
    format!("{{{}}}", known.chain(unknown).collect::<Vec<_>>().join(",")).into()
}
