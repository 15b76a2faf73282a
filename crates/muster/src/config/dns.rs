//! The section about DNS answers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::setting::settings;

settings! {
    /// How DNS answers.
    pub struct DnsConfig {
        /// Let any server answer from what it has. Faster and available without a quorum, possibly
        /// behind.
        allow_stale: bool = true,
        /// How far behind a stale answer may be before the leader is asked.
        max_stale: Duration = Duration::from_secs(87600 * 3600),
        /// The ttl of node answers; 0 forbids caching.
        node_ttl: Duration = Duration::ZERO,
        /// The ttl of service answers by service name; `web*` matches a prefix and `*` all.
        service_ttl: BTreeMap<String, Duration> = BTreeMap::new(),
        /// Answer only instances that pass; false also answers those that warn.
        only_passing: bool = false,
        /// The most address records in one answer; 0 means no bound.
        a_record_limit: u32 = 0,
        /// The most records in an answer over plain UDP; 1 to 10.
        udp_answer_limit: u32 = 3,
        /// Mark answers that were cut, so that the client asks again over TCP.
        enable_truncate: bool = false,
        /// Never compress names in answers.
        disable_compression: bool = false,
        /// Put a node's meta as TXT records in the additional section of ANY, SRV and TXT answers.
        enable_additional_node_meta_txt: bool = true,
        /// The longest to wait for one recursor before the next is asked.
        recursor_timeout: Duration = Duration::from_secs(2),
        /// Whether recursors are asked in order (sequential) or by chance (random).
        recursor_strategy: String = "sequential".into(),
        /// The start-of-authority record.
        soa: SoaConfig = SoaConfig::default(),
        /// Answer from the agent's memory.
        use_cache: bool = false,
        /// The oldest answer that memory may give; 0 means any.
        cache_max_age: Duration = Duration::ZERO,
    }
    without_effect {
        "prefer_namespace": "Namespaces are an enterprise feature.",
    }
}

settings! {
    /// The start-of-authority record, in seconds.
    pub struct SoaConfig {
        /// How often a secondary asks.
        refresh: u32 = 3600,
        /// How soon it asks again after a failure.
        retry: u32 = 600,
        /// When it gives up.
        expire: u32 = 86400,
        /// How long an absence may be cached.
        min_ttl: u32 = 0,
    }
}
