//! One question on its way through the registry: from the name to what is found for it.
//!
//! An inquiry never waits. It takes what the registry has at hand; where that is not enough it ends
//! with the [`Need`] of what is missing. Whoever holds the socket waits for that, puts it into
//! [`Given`], and begins the same question again.

mod alias;
mod ask;

use std::net::IpAddr;
use std::sync::Arc;

use muster_model::answer::{Answer, Body, EncodingKey, InstanceDetail, PreparedAnswer};
use muster_model::query::InstanceFilter;
use muster_model::{Meta, Query, Text};
use muster_registry::{Answered, Refusal, Registry};

use crate::compose::{Followed, Found, Records};
use crate::limits::NAME_SERVERS_MAX;
use crate::records::address::{self, Family};
use crate::records::{RecordSet, View, ns, ptr, srv, txt};
use crate::responder::WallClock;
use crate::schema::{Meaning, Schema, ServiceName};
use crate::setup::{Setup, Zone, seconds};
use crate::wire::kind;
use crate::wire::name::Name;
use crate::wire::query::DnsQuery;
use crate::wire::writer::Section;

/// What is missing to answer a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// An answer that the registry has to be waited for.
    Registry {
        /// The datacenter that shall answer; nothing: our own.
        datacenter: Option<Text>,
        /// The question.
        query: Query,
    },
    /// The addresses of a name outside our domains.
    Addresses {
        /// The name, on the wire.
        name: Vec<u8>,
        /// A or AAAA.
        kind: u16,
    },
}

/// What was waited for.
#[derive(Default)]
pub struct Given {
    answers: Vec<(Need, Result<Answered, Refusal>)>,
    pub(crate) addresses: Vec<(Need, Vec<Followed>)>,
}

impl Given {
    /// Keeps the registry's answer to a [`Need::Registry`].
    pub fn put(&mut self, need: Need, result: Result<Answered, Refusal>) {
        self.answers.push((need, result));
    }
}

/// One question.
pub(crate) struct Inquiry<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) registry: &'a dyn Registry,
    pub(crate) query: &'a DnsQuery<'a>,
    pub(crate) client: IpAddr,
    pub(crate) given: &'a Given,
    pub(crate) wall_clock: &'a WallClock,
}

/// Why an inquiry goes no further: with an end already, or for lack of something.
pub(crate) enum Stop {
    Found(Found),
    Need(Need),
}

impl<'a> Inquiry<'a> {
    /// What is found for the question, and the domain it lies in. Nothing where it is for another
    /// server.
    pub(crate) fn run(&self) -> Result<Option<(Found, Option<&'a Zone>)>, Need> {
        let (name, kind) = (&self.query.name, self.query.kind);
        match self.find(name, kind) {
            Ok(Some((Found::Records(mut records), zone))) => {
                match self.follow_aliases(&mut records) {
                    Ok(()) => Ok(Some((Found::Records(records), Some(zone)))),
                    Err(Stop::Found(found)) => Ok(Some((found, Some(zone)))),
                    Err(Stop::Need(need)) => Err(need),
                }
            }
            Ok(Some((found, zone))) => Ok(Some((found, Some(zone)))),
            Err(Stop::Need(need)) => Err(need),
            Err(Stop::Found(found)) => Ok(Some((found, None))),
            Ok(None) if ptr::is_reverse(name) => match self.reverse(name, kind) {
                Ok(found) => Ok(found.map(|found| (found, None))),
                Err(Stop::Found(found)) => Ok(Some((found, None))),
                Err(Stop::Need(need)) => Err(need),
            },
            Ok(None) if self.setup.settings.recursors.is_empty() => {
                Ok(Some((Found::Refused, None)))
            }
            Ok(None) => Ok(None),
        }
    }

    /// What is found for a name in our domains; nothing where it lies in none.
    fn find(&self, name: &Name<'_>, kind: u16) -> Result<Option<(Found, &'a Zone)>, Stop> {
        let mut last = None;
        for zone in self.setup.zones.iter().filter(|zone| zone.holds(name)) {
            let n_labels = name.n_labels() - zone.n_labels;
            for meaning in zone.schema.readings(name, n_labels, kind) {
                let found = match self.look_up(zone, &meaning, kind) {
                    Ok(found) | Err(Stop::Found(found)) => found,
                    Err(Stop::Need(need)) => return Err(Stop::Need(need)),
                };
                if !matches!(found, Found::NoName) {
                    return Ok(Some((found, zone)));
                }
                last = Some((found, zone));
            }
            if matches!(zone.schema, Schema::Consul) {
                break;
            }
        }
        Ok(last)
    }

    fn look_up(&self, zone: &'a Zone, meaning: &Meaning<'_>, kind: u16) -> Result<Found, Stop> {
        match kind {
            kind::SOA => return Ok(self.soa(zone)),
            kind::NS => return self.name_servers(zone),
            kind::ANY if *meaning == Meaning::Branch => return Ok(self.soa(zone)),
            _ => {}
        }
        match meaning {
            Meaning::Branch => Ok(Found::NoData),
            Meaning::Nothing => Ok(Found::NoName),
            Meaning::Service(named) => self.service(zone, named, kind),
            Meaning::Node { name, datacenter } => self.node(zone, name, *datacenter, kind),
            Meaning::Prepared { name, datacenter } => self.prepared(zone, name, *datacenter, kind),
            Meaning::Address(ip) => Ok(self.spelled_address(*ip, kind)),
        }
    }

    // -------------------------------------------------------------------- one for each meaning

    fn service(&self, zone: &Zone, named: &ServiceName<'_>, kind: u16) -> Result<Found, Stop> {
        let query = Query::Instances(InstanceFilter {
            service: named.service.into(),
            tags: named.tag.map(Text::from).into_iter().collect(),
            health: self.setup.health,
            ..InstanceFilter::default()
        });
        let answer = self.ask(named.datacenter, query)?;
        let Body::Instances(details) = &answer.body else { return Ok(Found::Failed) };
        let view = self.view(zone, named);
        let Some(set) = self.kept(zone, &answer, details, kind, &view) else {
            let exists = details.iter().any(|detail| is_meant(detail, &view));
            return Ok(if exists { Found::NoData } else { Found::NoName });
        };
        let ttl = self.setup.service_ttl(named.service);
        Ok(found_in(Records::new(set, ttl)))
    }

    fn prepared(
        &self,
        zone: &Zone,
        name: &str,
        datacenter: Option<&str>,
        kind: u16,
    ) -> Result<Found, Stop> {
        let mut answer = self.execute(name, datacenter, None)?;
        let is_near_client = |found: &PreparedAnswer| &*found.query.service.near == "_ip";
        let mut depends_on_subnet = self.query.edns.and_then(|edns| edns.subnet).is_some();
        if matches!(&answer.body, Body::Prepared(Some(found)) if is_near_client(found))
            && let Some(node) = self.client_node()?
        {
            answer = self.execute(name, datacenter, Some(node))?;
            depends_on_subnet = true;
        }
        let Body::Prepared(found) = &answer.body else { return Ok(Found::Failed) };
        let Some(found) = found else { return Ok(Found::NoName) };
        let named = ServiceName { datacenter, ..ServiceName::default() };
        let view = self.view(zone, &named);
        let Some(set) = self.kept(zone, &answer, &found.instances, kind, &view) else {
            let exists = !found.instances.is_empty();
            return Ok(if exists { Found::NoData } else { Found::NoName });
        };
        let own_ttl = go_duration(&found.query.dns_ttl).map(seconds);
        let ttl = own_ttl.unwrap_or_else(|| self.setup.service_ttl(&found.query.service.service));
        let in_order = !found.query.service.near.is_empty();
        Ok(found_in(Records { in_order, depends_on_subnet, ..Records::new(set, ttl) }))
    }

    fn execute(
        &self,
        name: &str,
        datacenter: Option<&str>,
        near: Option<Text>,
    ) -> Result<Arc<Answer>, Stop> {
        let (id_or_name, agent) = (name.into(), self.setup.node.clone());
        self.ask(datacenter, Query::ExecutePrepared { id_or_name, agent, near })
    }

    /// The node at the client's address, or at the one it asks on behalf of.
    fn client_node(&self) -> Result<Option<Text>, Stop> {
        let subnet = self.query.edns.and_then(|edns| edns.subnet);
        let ip = subnet.and_then(|subnet| subnet.ip()).unwrap_or(self.client);
        let address = ip.to_canonical().to_string().into();
        let answer = self.ask(None, Query::AddressOwners { address })?;
        let Body::Owners { nodes, .. } = &answer.body else { return Ok(None) };
        Ok(nodes.first().map(|node| node.name.clone()))
    }

    fn node(
        &self,
        zone: &Zone,
        name: &str,
        datacenter: Option<&str>,
        kind: u16,
    ) -> Result<Found, Stop> {
        let answer = self.ask(datacenter, Query::Node { name_or_id: name.into() })?;
        let Body::Node(found) = &answer.body else { return Ok(Found::Failed) };
        // An id leads to a node elsewhere; in DNS only its name does.
        let found = found.as_ref().filter(|found| found.node.name.eq_ignore_ascii_case(name));
        let Some(found) = found else { return Ok(Found::NoName) };
        let named = ServiceName { datacenter, ..ServiceName::default() };
        let view = self.view(zone, &named);
        let Some(form) = node_form(kind) else { return Ok(Found::NoData) };
        let set = answer.encoded(encoding_key(zone, form, &view), |_| {
            let mut set = match Family::of(kind) {
                Some(family) => address::of_node(&found.node, family, &view),
                None => RecordSet::of_existing(true),
            };
            match kind {
                kind::TXT | kind::ANY => txt::push_all(&mut set, &found.node.meta),
                kind::A | kind::AAAA if view.node_meta_txt && !set.entries().is_empty() => {
                    set.extras_are_of_owner = true;
                    txt::push_extras(&mut set, &found.node.meta);
                }
                _ => {}
            }
            set
        });
        Ok(found_in(Records { in_order: true, ..Records::new(set, self.setup.node_ttl) }))
    }

    fn spelled_address(&self, ip: IpAddr, kind: u16) -> Found {
        let mut set = RecordSet::of_existing(true);
        address::push_ip(&mut set, ip);
        let is_asked = matches!(
            (ip, kind),
            (IpAddr::V4(_), kind::A) | (IpAddr::V6(_), kind::AAAA) | (_, kind::ANY)
        );
        let section = if is_asked { Section::Answer } else { Section::Additional };
        let records = Records::new(Arc::new(set), self.setup.node_ttl);
        Found::Records(Records { section, ..records })
    }

    fn soa(&self, zone: &Zone) -> Found {
        let records =
            Records::new(Arc::new(zone.soa(self.wall_clock)), self.setup.settings.soa.min_ttl);
        Found::Records(Records { of_domain: true, ..records })
    }

    fn name_servers(&self, zone: &Zone) -> Result<Found, Stop> {
        let service = Text::from(ns::SERVERS);
        let filter = InstanceFilter { service, ..InstanceFilter::default() };
        let answer = self.ask(None, Query::Instances(filter))?;
        let Body::Instances(details) = &answer.body else { return Ok(Found::Failed) };
        let view = self.view(zone, &ServiceName::default());
        let set =
            answer.encoded(encoding_key(zone, FORM_NS, &view), |_| ns::of_servers(details, &view));
        let mut records = Records::new(set, self.setup.node_ttl);
        records.of_domain = true;
        records.answers_max = NAME_SERVERS_MAX;
        Ok(found_in(records))
    }

    /// The name behind an address. Nothing where others may know one.
    fn reverse(&self, name: &Name<'_>, kind: u16) -> Result<Option<Found>, Stop> {
        let has_recursors = !self.setup.settings.recursors.is_empty();
        let unknown = if has_recursors { None } else { Some(Found::NoName) };
        let Some(ip) = ptr::reversed_address(name) else { return Ok(unknown) };
        let answer = self.ask(None, Query::AddressOwners { address: ip.to_string().into() })?;
        let Body::Owners { nodes, instances } = &answer.body else {
            return Ok(Some(Found::Failed));
        };
        let view = View { domain: self.setup.main_domain(), ..self.any_view() };
        let set = ptr::of_owners(nodes, instances, &view);
        Ok(match (set.exists, kind) {
            (false, _) => unknown,
            (true, kind::PTR | kind::ANY) => {
                Some(Found::Records(Records::new(Arc::new(set), self.setup.node_ttl)))
            }
            (true, _) => Some(Found::NoData),
        })
    }

    // -------------------------------------------------------------------------------- records

    /// The records of instances for a kind of question; nothing where it has none of that kind.
    fn kept(
        &self,
        zone: &Zone,
        answer: &Answer,
        details: &[InstanceDetail],
        kind: u16,
        view: &View<'_>,
    ) -> Option<Arc<RecordSet>> {
        let family = Family::of(kind);
        if family.is_none() && kind != kind::SRV {
            return None;
        }
        let chosen: Vec<InstanceDetail>;
        let mut details = details;
        if view.port.is_some() || view.env.is_some() {
            chosen = details.iter().filter(|own| is_meant(own, view)).cloned().collect();
            details = &chosen;
            // A port or an environment that nobody has takes no place among what is kept.
            if chosen.is_empty() {
                return None;
            }
        }
        Some(answer.encoded(encoding_key(zone, u64::from(kind), view), |_| match family {
            Some(family) => address::of_instances(details, family, view),
            None => srv::of_instances(details, view),
        }))
    }

    fn view<'v>(&'v self, zone: &'v Zone, named: &ServiceName<'v>) -> View<'v> {
        let datacenter = named.datacenter.unwrap_or(&self.setup.datacenter);
        let is_far = *datacenter != *self.setup.datacenter;
        View {
            domain: &zone.target_domain,
            datacenter,
            port: named.port,
            env: named.env,
            prefers_wan: is_far && self.setup.settings.translate_wan_addresses,
            ..self.any_view()
        }
    }

    fn any_view(&self) -> View<'_> {
        View {
            domain: "",
            datacenter: &self.setup.datacenter,
            port: None,
            env: None,
            prefers_wan: false,
            node_meta_txt: self.setup.settings.node_meta_txt,
        }
    }
}

/// Whether an instance is in the environment and has the port that are asked for.
fn is_meant(detail: &InstanceDetail, view: &View<'_>) -> bool {
    let is_in = view.env.is_none_or(|env| {
        let own = Meta::find(&detail.instance.meta, "env").map_or(view.datacenter, |own| own);
        own.eq_ignore_ascii_case(env)
    });
    is_in && view.port.is_none_or(|name| srv::named_port(&detail.instance, name).is_some())
}

/// Records, or what it means that there are none.
fn found_in(records: Records) -> Found {
    match (records.set.entries().is_empty(), records.set.exists) {
        (false, _) => Found::Records(records),
        (true, true) => Found::NoData,
        (true, false) => Found::NoName,
    }
}

/// The form of the name servers' records, which no kind of question has for a number.
const FORM_NS: u64 = 1 << 16;
/// Marks forms that depend on more than domain and kind.
const FORM_OF_NODE: u64 = 1 << 17;

fn node_form(kind: u16) -> Option<u64> {
    let has_form = kind == kind::TXT || Family::of(kind).is_some();
    has_form.then_some(FORM_OF_NODE | u64::from(kind))
}

fn encoding_key(zone: &Zone, form: u64, view: &View<'_>) -> EncodingKey {
    let form = zone.form(form, view.port, view.env);
    EncodingKey { front: "dns", form }
}

/// A duration as Go writes it (`10s`, `1m30s`, `500ms`); nothing where it is none.
fn go_duration(text: &str) -> Option<std::time::Duration> {
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let n_unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(n_unit);
        let seconds = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = next;
    }
    let is_given = !text.is_empty();
    std::time::Duration::try_from_secs_f64(total).ok().filter(|_| is_given)
}
