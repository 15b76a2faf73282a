//! Consul's names: `[tag.]web.service[.dc1]`, `_web._tcp`, `n1.node`, `nearest-db.query`,
//! `0a000001.addr`.
//!
//! The labels are walked from the right; the first that names a kind splits the name: what stands
//! left of it is the subject, what stands right of it the place. A place is nothing, a bare
//! datacenter, or pairs of a name and what it is (`dc1.dc`, `http.port`).
//!
//! Names of the service mesh (`connect`, `virtual`, `ingress`) and of peers mean nothing here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Meaning, ServiceName};
use crate::wire::kind;
use crate::wire::name::Name;

/// The label that says what a name is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Service,
    Node,
    Query,
    Address,
    Mesh,
}

impl Subject {
    fn named(label: &str) -> Option<Subject> {
        Some(match label {
            "service" => Subject::Service,
            "node" => Subject::Node,
            "query" => Subject::Query,
            "addr" => Subject::Address,
            "connect" | "virtual" | "ingress" => Subject::Mesh,
            _ => return None,
        })
    }
}

/// What the first `n_labels` labels mean.
pub(crate) fn meaning<'n>(name: &'n Name<'_>, n_labels: usize, kind: u16) -> Meaning<'n> {
    if n_labels == 0 {
        return Meaning::Branch;
    }
    read(name, n_labels, kind).unwrap_or(Meaning::Nothing)
}

fn read<'n>(name: &'n Name<'_>, n_labels: usize, kind: u16) -> Option<Meaning<'n>> {
    // Right to left; text that is none ends the search, as no such thing can be registered.
    for at in (0..n_labels).rev() {
        let Some(subject) = Subject::named(name.text(at, at + 1)?) else { continue };
        let place = Place::read(name, at + 1, n_labels)?;
        if at == 0 {
            let is_plain = place.port.is_none() && subject != Subject::Mesh;
            return is_plain.then_some(Meaning::Branch);
        }
        return match subject {
            Subject::Service => service(name, at, &place),
            Subject::Node if place.port.is_none() => {
                Some(Meaning::Node { name: name.text(0, at)?, datacenter: place.datacenter })
            }
            Subject::Query if place.port.is_none() => {
                let name = prepared(name, at)?;
                Some(Meaning::Prepared { name, datacenter: place.datacenter })
            }
            Subject::Address if at == 1 => spelled_address(name.text(0, 1)?).map(Meaning::Address),
            _ => None,
        };
    }
    // `_web._tcp[.dc1]`: a question for SRV may leave `.service` out.
    let is_bare_srv = kind == kind::SRV && n_labels >= 2;
    if is_bare_srv && name.text(0, 1)?.starts_with('_') && name.text(1, 2)?.starts_with('_') {
        return service(name, 2, &Place::read(name, 2, n_labels)?);
    }
    None
}

/// What stands right of the kind.
#[derive(Default)]
struct Place<'n> {
    datacenter: Option<&'n str>,
    port: Option<&'n str>,
}

impl<'n> Place<'n> {
    fn read(name: &'n Name<'_>, first: usize, end: usize) -> Option<Place<'n>> {
        let mut place = Place::default();
        if end - first == 1 {
            place.datacenter = Some(name.text(first, end)?);
            return Some(place);
        }
        for at in (first..end).step_by(2) {
            let told = Some(name.text(at, at + 1)?);
            let field = match name.text(at + 1, at + 2)? {
                "port" => &mut place.port,
                "dc" => &mut place.datacenter,
                _ => return None,
            };
            if std::mem::replace(field, told).is_some() {
                return None;
            }
        }
        Some(place)
    }
}

/// `web`, `tag.web` with any dots in the tag, or `_web._tag` where `tcp` is no tag.
fn service<'n>(name: &'n Name<'_>, end: usize, place: &Place<'n>) -> Option<Meaning<'n>> {
    let (last, first) = (name.text(end - 1, end)?, name.text(0, 1)?);
    let (service, tag) = match (first.strip_prefix('_'), last.strip_prefix('_')) {
        (Some(service), Some(tag)) if end == 2 => (service, (tag != "tcp").then_some(tag)),
        _ => (last, (end > 1).then_some(name.text(0, end - 1)?)),
    };
    if service.is_empty() || tag == Some("") {
        return None;
    }
    let (datacenter, port) = (place.datacenter, place.port);
    Some(Meaning::Service(ServiceName { service, tag, port, env: None, datacenter }))
}

/// `nearest-db`, with any dots, or `_nearest-db._tcp`.
fn prepared<'n>(name: &'n Name<'_>, end: usize) -> Option<&'n str> {
    if end == 2
        && name.text(1, 2)? == "_tcp"
        && let Some(bare) = name.text(0, 1)?.strip_prefix('_')
    {
        return Some(bare);
    }
    name.text(0, end)
}

/// 8 or 32 hexadecimal digits.
fn spelled_address(digits: &str) -> Option<IpAddr> {
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    match digits.len() {
        8 => Some(Ipv4Addr::from(u32::from_str_radix(digits, 16).ok()?).into()),
        32 => Some(Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::name_bytes;

    fn check(text: &str, kind: u16, expected: Meaning<'_>) {
        let wire = name_bytes(text).unwrap();
        let name = Name::parse(&wire).unwrap();
        assert_eq!(meaning(&name, name.n_labels(), kind), expected, "{text}");
    }

    fn service_name<'n>(service: &'n str, tag: Option<&'n str>) -> ServiceName<'n> {
        ServiceName { service, tag, ..ServiceName::default() }
    }

    #[test]
    fn a_service_is_named_in_all_its_forms() {
        let web = service_name("web", None);
        check("web.service", kind::A, Meaning::Service(web));
        check("_web._tcp.service", kind::A, Meaning::Service(web));
        check("_web._tcp", kind::SRV, Meaning::Service(web));
        check("_web._tcp", kind::A, Meaning::Nothing);
        let in_dc1 = ServiceName { datacenter: Some("dc1"), ..web };
        check("WEB.service.dc1", kind::A, Meaning::Service(in_dc1));
        check("web.service.dc1.dc", kind::A, Meaning::Service(in_dc1));
        check("_web._tcp.dc1", kind::SRV, Meaning::Service(in_dc1));
        let tagged = service_name("db", Some("v1.primary2"));
        check("v1.primary2.db.service", kind::A, Meaning::Service(tagged));
        check("_db._primary", kind::SRV, Meaning::Service(service_name("db", Some("primary"))));
        let port = ServiceName { port: Some("http"), ..web };
        check("web.service.http.port", kind::SRV, Meaning::Service(port));
        let both = ServiceName { datacenter: Some("dc1"), ..port };
        check("web.service.http.port.dc1.dc", kind::SRV, Meaning::Service(both));
    }

    #[test]
    fn nodes_and_prepared_queries_may_have_dots() {
        check("a.b.node", kind::A, Meaning::Node { name: "a.b", datacenter: None });
        let node = Meaning::Node { name: "n1", datacenter: Some("dc2") };
        check("n1.node.dc2.dc", kind::A, node);
        let query = Meaning::Prepared { name: "my.db", datacenter: None };
        check("my.db.query", kind::A, query);
        check("_geo._tcp.query", kind::SRV, Meaning::Prepared { name: "geo", datacenter: None });
    }

    #[test]
    fn an_address_is_spelled_in_hexadecimal() {
        check("0a000001.addr", kind::A, Meaning::Address("10.0.0.1".parse().unwrap()));
        let long = "20010db8000000000000000000000001.addr.dc1";
        check(long, kind::A, Meaning::Address("2001:db8::1".parse().unwrap()));
        check("0a00000g.addr", kind::A, Meaning::Nothing);
        check("+a000001.addr", kind::A, Meaning::Nothing);
        check("0a0001.addr", kind::A, Meaning::Nothing);
    }

    #[test]
    fn a_name_that_says_nothing_means_nothing() {
        check("web", kind::A, Meaning::Nothing);
        check("web.service.dc1.peer", kind::A, Meaning::Nothing);
        check("web.service.a.b.c", kind::A, Meaning::Nothing);
        check("web.service.dc1.dc.dc2.dc", kind::A, Meaning::Nothing);
        check("web.virtual", kind::A, Meaning::Nothing);
        check("_._tcp.service", kind::SRV, Meaning::Nothing);
        check("service", kind::A, Meaning::Branch);
        check("node.dc1", kind::A, Meaning::Branch);
    }
}
