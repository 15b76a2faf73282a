//! Settings made ready for answering: domains as names, records that never change, fixed calls.
//!
//! Made once for each set of settings and swapped whole, so that a question sees one set of them
//! from start to end.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use foldhash::fast::FixedState;
use muster_model::Text;
use muster_model::query::Health;
use muster_registry::local::Identity;
use muster_registry::{Call, Caller};

use crate::records::RecordSet;
use crate::responder::WallClock;
use crate::schema::Schema;
use crate::schema::template::Template;
use crate::settings::{BadSettings, Settings};
use crate::wire::kind;
use crate::wire::name::{Name, name_bytes, write_name};

/// Settings made ready.
pub(crate) struct Setup {
    /// The settings as given.
    pub(crate) settings: Settings,
    /// Our own datacenter.
    pub(crate) datacenter: Text,
    /// The node of the agent that answers.
    pub(crate) node: Text,
    /// Our domains, those of most labels first.
    pub(crate) zones: Vec<Zone>,
    /// How questions about our own datacenter are asked.
    pub(crate) call: Call,
    /// Which instances are handed out.
    pub(crate) health: Health,
    /// The ttl of records of nodes, in seconds.
    pub(crate) node_ttl: u32,
}

/// A domain of ours.
pub(crate) struct Zone {
    /// Lower case, without a last dot.
    pub(crate) domain: String,
    /// How many labels it has.
    pub(crate) n_labels: usize,
    /// How the labels in front of it are read.
    pub(crate) schema: Schema,
    /// The domain that records given under it speak of: itself, or for schemas, the main one.
    pub(crate) target_domain: String,
    /// Tells encodings apart that differ by the target domain or the settings they depend on.
    form_seed: u64,
    /// On the wire.
    pub(crate) wire: Vec<u8>,
    /// The data of its SOA record.
    soa: Vec<u8>,
    /// Where the serial number stands in it.
    serial_at: usize,
}

impl Setup {
    /// Makes `settings` ready for an agent.
    pub(crate) fn new(settings: Settings, agent: &Identity) -> Result<Setup, BadSettings> {
        let mut zones = vec![Zone::new(&settings.domain, Schema::Consul, None, &settings)?];
        if !settings.alt_domain.trim_end_matches('.').is_empty() {
            zones.push(Zone::new(&settings.alt_domain, Schema::Consul, None, &settings)?);
        }
        for schema in &settings.templates {
            let (template, domain) = Template::parse(schema)?;
            let target = Some(zones[0].domain.clone());
            let schema = Schema::Template(template);
            zones.push(Zone::new(&domain.as_str().into(), schema, target, &settings)?);
        }
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.n_labels));
        let caller = Caller { token: settings.token.clone() };
        Ok(Setup {
            datacenter: agent.datacenter.folded(),
            node: agent.node.clone(),
            zones,
            call: Call { caller, ..Call::default() },
            health: if settings.only_passing { Health::Passing } else { Health::NotCritical },
            node_ttl: seconds(settings.node_ttl),
            settings,
        })
    }

    /// The domain that reverse names point into.
    pub(crate) fn main_domain(&self) -> &str {
        self.settings.domain.trim_end_matches('.')
    }

    /// How a question about a datacenter is asked; `None` for our own.
    pub(crate) fn call_to(&self, datacenter: Option<&str>) -> Call {
        let datacenter = datacenter.filter(|named| **named != *self.datacenter).map(Text::from);
        Call { datacenter, ..self.call.clone() }
    }

    /// The ttl of records of a service, in seconds.
    pub(crate) fn service_ttl(&self, service: &str) -> u32 {
        let fits = |pattern: &str| match pattern.strip_suffix('*') {
            Some(start) if starts_folded(service, start) => Some(start.len()),
            None if pattern.eq_ignore_ascii_case(service) => Some(usize::MAX),
            _ => None,
        };
        let all = &self.settings.service_ttl;
        let best = all.iter().filter_map(|(pattern, ttl)| Some((fits(pattern)?, *ttl)));
        best.max_by_key(|(length, _)| *length).map_or(0, |(_, ttl)| seconds(ttl))
    }
}

fn starts_folded(text: &str, start: &str) -> bool {
    text.as_bytes().get(..start.len()).is_some_and(|s| s.eq_ignore_ascii_case(start.as_bytes()))
}

/// Whole seconds, as a TTL field takes them.
pub(crate) fn seconds(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX).min(i32::MAX as u32)
}

impl Zone {
    fn new(
        domain: &Text,
        schema: Schema,
        target_domain: Option<String>,
        settings: &Settings,
    ) -> Result<Zone, BadSettings> {
        let bad = |_| BadSettings::Domain(domain.clone());
        let text = domain.trim_end_matches('.').to_ascii_lowercase();
        let wire = name_bytes(&text).map_err(bad)?;
        let n_labels = Name::parse(&wire).map_err(bad)?.n_labels();
        let mut data = Vec::new();
        write_name(&join("ns", &text), &mut data).map_err(bad)?;
        write_name(&join("hostmaster", &text), &mut data).map_err(bad)?;
        let serial_at = data.len();
        let soa = settings.soa;
        for number in [0, soa.refresh, soa.retry, soa.expire, soa.min_ttl] {
            data.extend_from_slice(&number.to_be_bytes());
        }
        let target_domain = target_domain.unwrap_or_else(|| text.clone());
        let form_seed = form_seed(&target_domain, settings);
        let domain = text;
        Ok(Zone { domain, n_labels, schema, target_domain, form_seed, wire, soa: data, serial_at })
    }

    /// Whether `name` lies in it.
    pub(crate) fn holds(&self, name: &Name<'_>) -> bool {
        name.ends_in(&self.domain, self.n_labels)
    }

    /// Its SOA record. The serial number is the time: it grows with every question.
    pub(crate) fn soa(&self, wall_clock: &WallClock) -> RecordSet {
        let mut data = self.soa.clone();
        let serial = wall_clock().as_secs() as u32;
        data[self.serial_at..self.serial_at + 4].copy_from_slice(&serial.to_be_bytes());
        let mut set = RecordSet::of_existing(true);
        set.push(kind::SOA, &data);
        set
    }

    /// The form of an encoding that depends on the domain, on `form`, and on a named port or an
    /// environment if there is one.
    pub(crate) fn form(&self, form: u64, port: Option<&str>, env: Option<&str>) -> u64 {
        if port.is_none() && env.is_none() {
            return self.form_seed.wrapping_add(form);
        }
        let mut hasher = FixedState::default().build_hasher();
        hasher.write_u64(self.form_seed.wrapping_add(form));
        for told in [port, env] {
            let told = told.unwrap_or("\0");
            hasher.write_usize(told.len());
            hasher.write(told.as_bytes());
        }
        hasher.finish()
    }
}

fn join(label: &str, domain: &str) -> String {
    if domain.is_empty() { label.to_owned() } else { format!("{label}.{domain}") }
}

/// A hash of what encodings under a domain depend on.
fn form_seed(target_domain: &str, settings: &Settings) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write(target_domain.as_bytes());
    hasher.write_u8(settings.node_meta_txt.into());
    hasher.write_u8(settings.translate_wan_addresses.into());
    hasher.finish()
}
