//! Instances and checks as their authors declared them, for definition files, the command line and
//! every front-end alike.
//!
//! A declared check may name several kinds at once, and what it names may not fit together: here it
//! is settled into one rule, by one order of precedence. Ids and names that nobody chose, and the
//! rules that facts and weights must keep, stand here too.

use std::net::IpAddr;
use std::time::Duration;

use crate::definition::{CheckDefinition, Rule, TlsOptions};
use crate::instance::{Endpoint, Extras, Weights};
use crate::limits::{META_KEY_BYTES_MAX, META_PAIRS_MAX, META_VALUE_BYTES_MAX};
use crate::{Meta, Text};

/// How an author wants a check to be run. What was not said is empty, zero or false.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclaredCheck {
    /// `host:port` or `host:port/service`.
    pub grpc: Text,
    /// Whether gRPC speaks TLS.
    pub grpc_use_tls: bool,
    /// A URL.
    pub http: Text,
    /// The method of HTTP.
    pub method: Text,
    /// The header lines of HTTP.
    pub headers: Vec<(Text, Vec<Text>)>,
    /// The body of HTTP.
    pub body: Text,
    /// Whether an HTTP answer that points elsewhere is the result itself.
    pub disable_redirects: bool,
    /// How long one word holds.
    pub ttl: Duration,
    /// `host:port`.
    pub tcp: Text,
    /// Whether TCP goes on to a TLS handshake.
    pub tcp_use_tls: bool,
    /// `host:port`.
    pub udp: Text,
    /// Another node.
    pub alias_node: Text,
    /// Another instance's id.
    pub alias_instance: Text,
    /// A container.
    pub docker_container_id: Text,
    /// The shell inside the container.
    pub shell: Text,
    /// A program and its arguments.
    pub args: Vec<Text>,
    /// `host:port`.
    pub h2ping: Text,
    /// Whether the ping speaks TLS.
    pub h2ping_use_tls: bool,
    /// A service of the operating system.
    pub os_service: Text,
    /// For all that speak TLS.
    pub tls: TlsOptions,
    /// The pause between two runs.
    pub interval: Duration,
    /// How long one run may take.
    pub timeout: Duration,
    /// Consecutive good results before passing.
    pub success_before_passing: i64,
    /// Consecutive bad results before warning.
    pub failures_before_warning: i64,
    /// Consecutive bad results before critical.
    pub failures_before_critical: i64,
    /// How long it may stay critical before its instance is deregistered.
    pub deregister_critical_after: Duration,
    /// Bytes of output kept.
    pub output_max: i64,
}

/// What does not fit together in a declaration. Its author must change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// A check is either run or told.
    #[error("interval and ttl exclude each other")]
    IntervalWithTtl,
    /// What is run needs to know how often.
    #[error("a check of this kind needs an interval")]
    IntervalMissing,
    /// An alias follows another status and is not run.
    #[error("an alias has no interval")]
    IntervalWithAlias,
    /// An alias follows another status and is not told.
    #[error("an alias has no ttl")]
    TtlWithAlias,
    /// Nothing says what the check is.
    #[error("the check names nothing to try and no ttl")]
    NothingToTry,
    /// Less than nothing is kept.
    #[error("the limit of the output is negative")]
    OutputMaxNegative,
    /// Warning comes before critical.
    #[error("failures_before_warning is greater than failures_before_critical")]
    ThresholdsReversed,
}

impl DeclaredCheck {
    /// The one rule that is meant.
    ///
    /// # Errors
    /// Names what does not fit together.
    pub fn settle(self) -> Result<CheckDefinition, Misfit> {
        let is_run = self.is_run();
        let is_alias = self.is_alias();
        let (has_interval, has_ttl) = (!self.interval.is_zero(), !self.ttl.is_zero());
        if has_interval && has_ttl {
            return Err(Misfit::IntervalWithTtl);
        }
        if is_run && !has_interval {
            return Err(Misfit::IntervalMissing);
        }
        if is_run && is_alias {
            return Err(Misfit::IntervalWithAlias);
        }
        if is_alias && has_ttl {
            return Err(Misfit::TtlWithAlias);
        }
        if !is_run && !is_alias && !has_ttl {
            return Err(Misfit::NothingToTry);
        }
        if self.output_max < 0 {
            return Err(Misfit::OutputMaxNegative);
        }
        if self.failures_before_warning > self.failures_before_critical {
            return Err(Misfit::ThresholdsReversed);
        }
        Ok(self.settle_unchecked())
    }

    /// The rule that comes first, whether or not the rest fits: for what is only kept and shown.
    pub fn settle_unchecked(self) -> CheckDefinition {
        let threshold = |count: i64| count.clamp(1, i64::from(u16::MAX)) as u16;
        let critical = threshold(self.failures_before_critical);
        let warning = match self.failures_before_warning {
            ..=0 => critical,
            count => threshold(count).min(critical),
        };
        CheckDefinition {
            interval: self.interval,
            timeout: self.timeout,
            success_before_passing: threshold(self.success_before_passing),
            failures_before_warning: warning,
            failures_before_critical: critical,
            deregister_critical_after: self.deregister_critical_after,
            output_max: self.output_max.clamp(0, i64::from(u32::MAX)) as u32,
            rule: self.rule(),
        }
    }

    /// Whether it is run again and again.
    fn is_run(&self) -> bool {
        let targets =
            [&self.grpc, &self.http, &self.tcp, &self.udp, &self.h2ping, &self.os_service];
        !self.args.is_empty() || targets.iter().any(|target| !target.is_empty())
    }

    /// Whether it follows the status of something else.
    fn is_alias(&self) -> bool {
        !self.alias_node.is_empty() || !self.alias_instance.is_empty()
    }

    /// The kind that comes first.
    fn rule(self) -> Rule {
        let tls = self.tls.clone();
        if !self.grpc.is_empty() {
            Rule::Grpc { target: self.grpc, use_tls: self.grpc_use_tls, tls }
        } else if !self.http.is_empty() {
            Rule::Http {
                url: self.http,
                method: self.method,
                headers: self.headers,
                body: self.body,
                disable_redirects: self.disable_redirects,
                tls,
            }
        } else if !self.ttl.is_zero() {
            Rule::Ttl { ttl: self.ttl }
        } else if !self.tcp.is_empty() {
            Rule::Tcp { address: self.tcp, use_tls: self.tcp_use_tls, tls }
        } else if !self.udp.is_empty() {
            Rule::Udp { address: self.udp }
        } else if self.is_alias() {
            Rule::Alias { node: self.alias_node, instance_id: self.alias_instance }
        } else if !self.args.is_empty() && !self.docker_container_id.is_empty() {
            Rule::Docker {
                container_id: self.docker_container_id,
                shell: self.shell,
                args: self.args,
            }
        } else if !self.args.is_empty() {
            Rule::Script { args: self.args }
        } else if !self.h2ping.is_empty() {
            Rule::H2ping { address: self.h2ping, use_tls: self.h2ping_use_tls, tls }
        } else if !self.os_service.is_empty() {
            Rule::OsService { name: self.os_service }
        } else {
            Rule::None
        }
    }
}

/// The start of the keys of facts that only the registry itself writes.
pub const RESERVED_META_PREFIX: &str = "consul-";

/// The id of the `nth` (from 1) of `n` checks of an instance, where its author chose none.
pub fn check_id(instance_id: &str, nth: usize, n: usize) -> Text {
    if n == 1 {
        format!("service:{instance_id}").into()
    } else {
        format!("service:{instance_id}:{nth}").into()
    }
}

/// The name of a check of an instance, where its author chose none.
pub fn check_name(service: &str) -> Text {
    format!("Service '{service}' check").into()
}

/// Whether an address is one that everybody listens on and nobody can reach.
pub fn is_unspecified(address: &str) -> bool {
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(address).parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

/// Adds an instance's own address to its tagged addresses, as the one of its family, where its
/// author did not say otherwise.
pub fn tag_own_address(extras: &mut Extras, address: &str, port: u16) {
    let Ok(ip) = address.parse::<IpAddr>() else { return };
    let purposes = if ip.is_ipv4() { ["lan_ipv4", "wan_ipv4"] } else { ["lan_ipv6", "wan_ipv6"] };
    let mut all = std::mem::take(&mut extras.tagged_addresses).into_vec();
    for purpose in purposes {
        if !all.iter().any(|(own, _)| own == purpose) {
            all.push((purpose.into(), Endpoint { address: address.into(), port }));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    extras.tagged_addresses = all.into();
}

/// Which rule of facts is not kept. Their author must change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaMisfit<'a> {
    /// There are too many.
    #[error("more than {META_PAIRS_MAX} facts")]
    TooMany,
    /// This one has no key.
    #[error("a fact without a key")]
    KeyBlank(&'a Text, &'a Text),
    /// The key has other characters than letters, digits, `-` and `_`.
    #[error("the key {0:?} has characters that are not allowed")]
    KeyCharacters(&'a Text, &'a Text),
    /// The key is too long.
    #[error("the key {0:?} has more than {META_KEY_BYTES_MAX} bytes")]
    KeyTooLong(&'a Text, &'a Text),
    /// The key belongs to the registry itself.
    #[error("the key {0:?} begins with {RESERVED_META_PREFIX:?}")]
    KeyReserved(&'a Text, &'a Text),
    /// The value is too long.
    #[error("the value of {0:?} has more than {META_VALUE_BYTES_MAX} bytes")]
    ValueTooLong(&'a Text, &'a Text),
}

/// Looks whether declared facts keep the rules.
///
/// # Errors
/// Names the first that does not.
pub fn check_meta(meta: &Meta) -> Result<(), MetaMisfit<'_>> {
    if meta.len() > META_PAIRS_MAX {
        return Err(MetaMisfit::TooMany);
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    for (key, value) in meta {
        if key.is_empty() {
            return Err(MetaMisfit::KeyBlank(key, value));
        }
        if !key.chars().all(is_plain) {
            return Err(MetaMisfit::KeyCharacters(key, value));
        }
        if key.len() > META_KEY_BYTES_MAX {
            return Err(MetaMisfit::KeyTooLong(key, value));
        }
        if key.starts_with(RESERVED_META_PREFIX) {
            return Err(MetaMisfit::KeyReserved(key, value));
        }
        if value.len() > META_VALUE_BYTES_MAX {
            return Err(MetaMisfit::ValueTooLong(key, value));
        }
    }
    Ok(())
}

/// Which bound of weights is not kept. Their author must change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightMisfit {
    /// An instance that passes takes some of the load.
    #[error("the weight while passing must be greater than 0")]
    PassingTooSmall,
    /// No instance takes less than nothing.
    #[error("the weight while warning must not be negative")]
    WarningNegative,
    /// DNS has no room for more.
    #[error("a weight must be between 0 and 65535")]
    TooLarge,
}

/// Weights as declared.
///
/// # Errors
/// Names the bound that is not kept.
pub fn weights(passing: i64, warning: i64) -> Result<Weights, WeightMisfit> {
    if passing < 1 {
        return Err(WeightMisfit::PassingTooSmall);
    }
    if warning < 0 {
        return Err(WeightMisfit::WarningNegative);
    }
    match (u16::try_from(passing), u16::try_from(warning)) {
        (Ok(passing), Ok(warning)) => Ok(Weights { passing, warning }),
        _ => Err(WeightMisfit::TooLarge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(seconds: u64) -> DeclaredCheck {
        DeclaredCheck { interval: Duration::from_secs(seconds), ..DeclaredCheck::default() }
    }

    #[test]
    fn of_several_kinds_the_first_in_order_is_meant() {
        let check = DeclaredCheck { http: "http://x".into(), tcp: "x:1".into(), ..every(10) };
        assert_eq!(check.clone().settle().unwrap().rule.kind(), "http");
        let check = DeclaredCheck { grpc: "x:2".into(), ..check };
        assert_eq!(check.settle().unwrap().rule.kind(), "grpc");
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        let ttl = DeclaredCheck { ttl: Duration::from_secs(1), ..DeclaredCheck::default() };
        let both = DeclaredCheck { interval: Duration::from_secs(1), ..ttl.clone() };
        let alias = DeclaredCheck { alias_node: "a".into(), ..ttl.clone() };
        let http = DeclaredCheck { http: "http://x".into(), ..DeclaredCheck::default() };
        let reversed =
            DeclaredCheck { failures_before_warning: 2, http: "http://x".into(), ..every(1) };
        assert_eq!(both.settle(), Err(Misfit::IntervalWithTtl));
        assert_eq!(alias.settle(), Err(Misfit::TtlWithAlias));
        assert_eq!(http.settle(), Err(Misfit::IntervalMissing));
        assert_eq!(every(1).settle(), Err(Misfit::NothingToTry));
        assert_eq!(reversed.settle(), Err(Misfit::ThresholdsReversed));
        assert_eq!(ttl.settle().unwrap().rule.kind(), "ttl");
    }

    #[test]
    fn thresholds_that_were_not_said_are_one_and_warning_follows_critical() {
        let check = DeclaredCheck {
            http: "http://x".into(),
            failures_before_critical: 3,
            success_before_passing: -1,
            ..every(1)
        };
        let settled = check.settle().unwrap();
        assert_eq!(settled.success_before_passing, 1);
        assert_eq!(settled.failures_before_warning, 3);
        assert_eq!(settled.failures_before_critical, 3);
    }

    #[test]
    fn facts_that_break_a_rule_are_named() {
        let misfit = |key: &str, value: &str| {
            let meta: Meta = [(key, value)].into_iter().collect();
            check_meta(&meta).unwrap_err().to_string()
        };
        assert_eq!(misfit("", "x"), "a fact without a key");
        assert!(misfit("a b", "x").contains("not allowed"));
        assert!(misfit("consul-x", "x").contains("begins with"));
        assert!(misfit(&"k".repeat(129), "x").contains("more than 128 bytes"));
        assert!(misfit("k", &"v".repeat(513)).contains("more than 512 bytes"));
        assert_eq!(check_meta(&[("a-b_1", "x")].into_iter().collect()), Ok(()));
    }

    #[test]
    fn an_own_address_is_tagged_unless_its_author_chose_another() {
        let mut extras = Extras {
            tagged_addresses: [("wan_ipv4".into(), Endpoint::default())].into(),
            ..Extras::default()
        };
        tag_own_address(&mut extras, "10.0.0.1", 80);
        let purposes: Vec<&str> =
            extras.tagged_addresses.iter().map(|(purpose, _)| purpose.as_str()).collect();
        assert_eq!(purposes, ["lan_ipv4", "wan_ipv4"]);
        assert_eq!(extras.tagged_addresses[1].1, Endpoint::default());
        assert!(is_unspecified("[::]") && is_unspecified("0.0.0.0") && !is_unspecified("web"));
    }

    #[test]
    fn weights_have_bounds() {
        assert_eq!(weights(0, 1), Err(WeightMisfit::PassingTooSmall));
        assert_eq!(weights(1, -1), Err(WeightMisfit::WarningNegative));
        assert_eq!(weights(70_000, 1), Err(WeightMisfit::TooLarge));
        assert_eq!(weights(10, 0), Ok(Weights { passing: 10, warning: 0 }));
    }
}
