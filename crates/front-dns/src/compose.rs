//! One response: which records go into it, in which order, within which bounds.
//!
//! Records are drawn one by one, so a response with room for 19 of 1,000 instances draws 19 times.
//! The bounds, in the order in which they bite: the answers a plain UDP client may get, the
//! operator's limit of addresses, the bytes that fit. Bytes of a plain UDP response are counted as
//! if names were written in full, because a forwarder on the way may write them so. An answer that
//! is left out takes its additional records with it.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

use crate::limits::{
    ADDRESS_ANSWERS_MAX, ALIAS_RECORDS_MAX, PLAIN_ALIAS_RECORDS_MAX, PLAIN_UDP_ANSWERS_MAX,
    SRV_ANSWERS_MAX, TCP_BYTES_MAX, UDP_BYTES_DEFAULT,
};
use crate::records::{Entry, RecordSet};
use crate::responder::WallClock;
use crate::setup::{Setup, Zone};
use crate::wire::query::DnsQuery;
use crate::wire::writer::{POINTER_BYTES, Section, Writer, edns_bytes};
use crate::wire::{HEADER_BYTES, Rcode, kind};

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// By datagrams.
    Udp,
    /// By a stream.
    Tcp,
}

/// What is used again for each question: the response and the drawing of its records. One for each
/// socket.
pub struct Scratch {
    /// Responses are appended here.
    pub out: Vec<u8>,
    order: Vec<u32>,
    targets_at: Vec<usize>,
    is_group_given: Vec<bool>,
    chance: SmallRng,
}

impl Scratch {
    /// A scratch that draws from `seed`.
    pub fn new(seed: u64) -> Scratch {
        Scratch {
            out: Vec::with_capacity(4_096),
            order: Vec::new(),
            targets_at: Vec::new(),
            is_group_given: Vec::new(),
            chance: SmallRng::seed_from_u64(seed),
        }
    }

    /// A number below `n`, all as likely to within one in four billion.
    fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.chance.next_u32()) * n as u64) >> 32) as usize
    }
}

/// What was found for a question.
pub(crate) enum Found {
    /// Records.
    Records(Records),
    /// The name exists, but nothing of the kind asked for.
    NoData,
    /// There is no such name.
    NoName,
    /// It could not be found out.
    Failed,
    /// The name is not ours, and we ask nobody else.
    Refused,
}

/// Records for a question.
pub(crate) struct Records {
    /// The records.
    pub(crate) set: Arc<RecordSet>,
    /// How long clients may keep them, in seconds.
    pub(crate) ttl: u32,
    /// Whether they stand in an order that means something.
    pub(crate) in_order: bool,
    /// Whether the order depends on where the client is.
    pub(crate) depends_on_subnet: bool,
    /// Whether they belong to the domain instead of the name asked for.
    pub(crate) of_domain: bool,
    /// Where they are given.
    pub(crate) section: Section,
    /// How many are given at most.
    pub(crate) answers_max: usize,
    /// What the aliases among them lead to.
    pub(crate) followed: Vec<Followed>,
}

impl Records {
    /// Records that are drawn anew each time.
    pub(crate) fn new(set: Arc<RecordSet>, ttl: u32) -> Records {
        Records {
            set,
            ttl,
            in_order: false,
            depends_on_subnet: false,
            of_domain: false,
            section: Section::Answer,
            answers_max: usize::MAX,
            followed: Vec::new(),
        }
    }
}

/// A record that an alias leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Followed {
    /// Its owner on the wire.
    pub(crate) owner: Vec<u8>,
    /// The record.
    pub(crate) piece: Vec<u8>,
    /// How long clients may keep it, in seconds.
    pub(crate) ttl: u32,
}

/// The terms of one response.
pub(crate) struct Terms<'a> {
    pub(crate) query: &'a DnsQuery<'a>,
    pub(crate) setup: &'a Setup,
    pub(crate) transport: Transport,
    /// The domain that the name lies in.
    pub(crate) zone: Option<&'a Zone>,
    /// What the domain's serial number is read from.
    pub(crate) wall_clock: &'a WallClock,
}

impl Terms<'_> {
    /// Writes the response; says whether something was left out.
    pub(crate) fn write(&self, found: &Found, scratch: &mut Scratch) -> bool {
        let mut out = std::mem::take(&mut scratch.out);
        let compress = !self.setup.settings.disable_compression;
        let mut writer = Writer::answering(&mut out, self.query, compress);
        if !self.setup.settings.recursors.is_empty() {
            writer.set_recursion_available();
        }
        let (mut depends_on_subnet, mut left_out) = (false, false);
        let rcode = match found {
            Found::Records(records) => {
                writer.set_authoritative();
                depends_on_subnet = records.depends_on_subnet;
                left_out = self.write_records(records, &mut writer, scratch);
                Rcode::NoError
            }
            Found::NoData | Found::NoName => {
                writer.set_authoritative();
                self.write_soa(&mut writer);
                if matches!(found, Found::NoData) { Rcode::NoError } else { Rcode::NxDomain }
            }
            Found::Failed => Rcode::ServFail,
            Found::Refused => Rcode::Refused,
        };
        writer.finish(rcode, self.query.edns.as_ref(), depends_on_subnet);
        scratch.out = out;
        left_out
    }

    /// Names of the domain that do not exist are told with its SOA record, as is the lack of data.
    fn write_soa(&self, writer: &mut Writer<'_>) {
        let Some(zone) = self.zone else { return };
        let min_ttl = self.setup.settings.soa.min_ttl;
        let set = zone.soa(self.wall_clock);
        for entry in set.entries() {
            let piece = set.piece(entry);
            writer.record(Section::Authority, self.zone_at(zone), &zone.wire, piece, min_ttl);
        }
    }

    fn zone_at(&self, zone: &Zone) -> usize {
        let name = &self.query.name;
        HEADER_BYTES + name.offset_of(name.n_labels().saturating_sub(zone.n_labels))
    }

    fn write_records(
        &self,
        records: &Records,
        writer: &mut Writer<'_>,
        scratch: &mut Scratch,
    ) -> bool {
        let set = &*records.set;
        let (owner_at, owner) = match self.zone.filter(|_| records.of_domain) {
            Some(zone) => (self.zone_at(zone), zone.wire.as_slice()),
            None => (HEADER_BYTES, self.query.name.asked()),
        };
        let mut left_out = if let Some(only) = set.only_entry(self.query.id) {
            scratch.order.clear();
            scratch.order.push(only as u32);
            false
        } else {
            self.draw(records, owner.len(), writer.len(), scratch)
        };
        scratch.targets_at.clear();
        for i in &scratch.order {
            let entry = &set.entries()[*i as usize];
            let piece = set.piece(entry);
            writer.record(records.section, owner_at, owner, piece, records.ttl);
            let target_at = writer.len() - piece.len() + usize::from(entry.target_at);
            scratch.targets_at.push(if set.extras_are_of_owner { owner_at } else { target_at });
        }
        left_out |= self.write_followed(records, writer);
        left_out |= self.write_extras(set, owner, records.ttl, writer, scratch);
        if left_out && self.setup.settings.enable_truncate && self.transport == Transport::Udp {
            writer.set_truncated();
        }
        left_out
    }

    /// Bytes that the response may have before its OPT record.
    fn bytes_max(&self) -> usize {
        let edns = self.query.edns.as_ref();
        let all = match (self.transport, edns) {
            (Transport::Tcp, _) => TCP_BYTES_MAX,
            (Transport::Udp, Some(edns)) => edns.response_bytes(),
            (Transport::Udp, None) => UDP_BYTES_DEFAULT,
        };
        all - edns_bytes(edns)
    }

    fn is_plain(&self) -> bool {
        self.transport == Transport::Udp && self.query.edns.is_none()
    }

    /// Draws entries into `scratch.order` as long as they fit; says whether some did not.
    fn draw(
        &self,
        records: &Records,
        owner_bytes: usize,
        start: usize,
        scratch: &mut Scratch,
    ) -> bool {
        let entries = records.set.entries();
        let n = entries.len();
        let most = self.answers_max().min(n);
        let wanted = self.addresses_max().min(records.answers_max).min(n);
        scratch.order.clear();
        scratch.order.extend(0..n as u32);
        let writes_in_full = self.setup.settings.disable_compression || self.is_plain();
        let owner_bytes = if writes_in_full { owner_bytes } else { POINTER_BYTES };
        let bytes_max = self.bytes_max();
        // Answers come first, then all extras: where the answers end tells which targets can be
        // pointed to.
        let (mut answers_end, mut extras_bytes) = (start, 0);
        for i in 0..most.min(wanted) {
            if !records.in_order {
                let drawn = i + scratch.below(n - i);
                scratch.order.swap(i, drawn);
            }
            let entry = &entries[scratch.order[i] as usize];
            let piece_bytes = records.set.piece(entry).len();
            let extras = self.extras_bytes(&records.set, entry, answers_end, writes_in_full);
            let own_end = answers_end + owner_bytes + piece_bytes;
            // The first is given even if its extras do not fit: those are left out one by one.
            let needed = own_end + extras_bytes + if i == 0 { 0 } else { extras };
            if needed > bytes_max {
                scratch.order.truncate(i);
                return true;
            }
            answers_end = own_end;
            extras_bytes += extras;
        }
        scratch.order.truncate(most.min(wanted));
        most < wanted
    }

    /// Bytes that the extras of an entry take, if its answer begins at `at`.
    fn extras_bytes(
        &self,
        set: &RecordSet,
        entry: &Entry,
        at: usize,
        writes_in_full: bool,
    ) -> usize {
        let n_extras = set.extras(entry).len();
        if n_extras == 0 {
            return 0;
        }
        let target_at = at + POINTER_BYTES + usize::from(entry.target_at);
        let can_point = !writes_in_full && target_at < 0x3FFF;
        let owner = if can_point { POINTER_BYTES } else { set.target(entry).len() };
        entry.extras_bytes as usize + n_extras * owner
    }

    /// Answers that the transport and the kind of record allow.
    fn answers_max(&self) -> usize {
        let by_kind = match self.query.kind {
            kind::SRV => SRV_ANSWERS_MAX,
            _ => ADDRESS_ANSWERS_MAX,
        };
        let plain = self.setup.settings.udp_answer_limit.min(PLAIN_UDP_ANSWERS_MAX);
        if self.is_plain() { by_kind.min(plain) } else { by_kind }
    }

    /// Answers that the operator wants given at all.
    fn addresses_max(&self) -> usize {
        let limit = self.setup.settings.a_record_limit;
        let is_limited = matches!(self.query.kind, kind::A | kind::AAAA | kind::ANY);
        if limit > 0 && is_limited { limit } else { usize::MAX }
    }

    /// What aliases lead to: after the alias it answers, or among the additional records.
    fn write_followed(&self, records: &Records, writer: &mut Writer<'_>) -> bool {
        let most = if self.is_plain() { PLAIN_ALIAS_RECORDS_MAX } else { ALIAS_RECORDS_MAX };
        let section = if records.set.gives_one { Section::Answer } else { Section::Additional };
        for (i, record) in records.followed.iter().enumerate() {
            let needed = record.owner.len() + record.piece.len();
            if i >= most || writer.len() + needed > self.bytes_max() {
                return true;
            }
            writer.record_of(section, &record.owner, &record.piece, record.ttl);
        }
        false
    }

    /// The records that help with the answers drawn.
    fn write_extras(
        &self,
        set: &RecordSet,
        owner: &[u8],
        ttl: u32,
        writer: &mut Writer<'_>,
        scratch: &mut Scratch,
    ) -> bool {
        let bytes_max = self.bytes_max();
        scratch.is_group_given.clear();
        scratch
            .is_group_given
            .resize(if set.shares_targets { set.entries().len() } else { 0 }, false);
        for (i, target_at) in scratch.order.iter().zip(&scratch.targets_at) {
            let entry = &set.entries()[*i as usize];
            let is_given = scratch.is_group_given.get_mut(entry.group as usize);
            if is_given.is_some_and(|is_given| std::mem::replace(is_given, true)) {
                continue;
            }
            let target = if set.extras_are_of_owner { owner } else { set.target(entry) };
            for piece in set.extras(entry) {
                let needed = writer.owner_bytes(*target_at, target) + piece.len();
                if writer.len() + needed > bytes_max {
                    return true;
                }
                writer.record(Section::Additional, *target_at, target, piece, ttl);
            }
        }
        false
    }
}
