//! What an operator can choose about DNS: one struct, one default, one sentence a key.
//!
//! All of it may be replaced while questions are being answered ([`crate::Responder::reload`]).

use std::net::SocketAddr;
use std::time::Duration;

use muster_model::Text;
use muster_registry::call::Secret;

/// What an operator can choose about DNS.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The domain under which names are found.
    pub domain: Text,
    /// A second domain for the same names; empty: none.
    pub alt_domain: Text,
    /// Further domains with a naming schema of their own, such as `{service}-{env}.example.org`.
    /// A name belongs to the longest domain it lies in; of equal ones, the first that fits it.
    pub templates: Vec<Text>,
    /// How long clients may keep records of nodes. Zero: they ask each time.
    pub node_ttl: Duration,
    /// How long clients may keep records of services, by the service's name, the start of one
    /// followed by `*`, or `*` for all. The exact name wins, then the longest start.
    pub service_ttl: Vec<(Text, Duration)>,
    /// Hand out only instances whose checks all pass; else those that warn too.
    pub only_passing: bool,
    /// Answer from what this agent has at hand; else every question waits for the leader's word.
    pub allow_stale: bool,
    /// How long ago the leader may have been heard for `allow_stale` to hold.
    pub max_stale: Duration,
    /// Answers over UDP to a client without EDNS, at most 8. Zero answers are possible.
    pub udp_answer_limit: usize,
    /// Address records in one response, over any transport. 0: no such limit.
    pub a_record_limit: usize,
    /// Tell clients over UDP when something was left out, so that they ask again over TCP.
    pub enable_truncate: bool,
    /// Write every name in full.
    pub disable_compression: bool,
    /// Add the facts of a node as TXT records beside its address.
    pub node_meta_txt: bool,
    /// Prefer the address tagged `wan` for what is in another datacenter.
    pub translate_wan_addresses: bool,
    /// Times that secondary servers and negative caches go by.
    pub soa: Soa,
    /// Servers that are asked for every name outside our domains. Empty: such names are refused.
    pub recursors: Vec<SocketAddr>,
    /// Which recursor is asked first.
    pub recursor_strategy: RecursorStrategy,
    /// How long one recursor may take.
    pub recursor_timeout: Duration,
    /// The token that questions are asked with.
    pub token: Secret,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            domain: "consul".into(),
            alt_domain: Text::default(),
            templates: Vec::new(),
            node_ttl: Duration::ZERO,
            service_ttl: Vec::new(),
            only_passing: false,
            allow_stale: true,
            max_stale: Duration::from_secs(87_600 * 3_600),
            udp_answer_limit: 3,
            a_record_limit: 0,
            enable_truncate: false,
            disable_compression: false,
            node_meta_txt: true,
            translate_wan_addresses: false,
            soa: Soa::default(),
            recursors: Vec::new(),
            recursor_strategy: RecursorStrategy::default(),
            recursor_timeout: Duration::from_secs(2),
            token: Secret::default(),
        }
    }
}

/// The times in the SOA record, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soa {
    /// How often a secondary server looks for a new serial number.
    pub refresh: u32,
    /// How soon it looks again after a failure.
    pub retry: u32,
    /// How long it goes on answering without having heard.
    pub expire: u32,
    /// How long "there is no such name" may be kept; also the ttl of the SOA record itself.
    pub min_ttl: u32,
}

impl Default for Soa {
    fn default() -> Soa {
        Soa { refresh: 3_600, retry: 600, expire: 86_400, min_ttl: 0 }
    }
}

/// Which recursor is asked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecursorStrategy {
    /// In the order given.
    #[default]
    Sequential,
    /// In an order drawn anew for each question.
    Random,
}

/// Settings that cannot be used. The operator must change them; those in effect stay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// A domain that is no DNS name.
    #[error("dns domain {0:?} is not a DNS name: labels have 1 to 63 characters")]
    Domain(Text),
    /// A naming schema that cannot be read.
    #[error("dns schema {0:?} is not usable: {1}")]
    Template(Text, &'static str),
    /// A recursor that would ask ourselves.
    #[error("recursor {0} is this server itself; name another or leave it out")]
    RecursorIsOurselves(SocketAddr),
}
