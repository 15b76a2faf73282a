//! Records made from what the registry answered, kept beside that answer and copied from then on.
//!
//! A [`RecordSet`] holds every record a question could get, as pieces without owner and TTL. Which
//! of them go into a response, and in which order, is decided for each response anew
//! ([`crate::compose`]); making the set is paid once for each change of the registry.
//!
//! One file a kind of record: [`address`] (A, AAAA, CNAME), [`srv`], [`txt`], [`ptr`], [`ns`].

pub(crate) mod address;
pub(crate) mod ns;
pub(crate) mod ptr;
pub(crate) mod srv;
pub(crate) mod txt;

use std::ops::Range;

use muster_model::answer::Encoding;

use crate::wire::writer::{PIECE_HEAD_BYTES, write_piece_head};

/// Records that answer one kind of question about one thing.
#[derive(Debug, Default)]
pub(crate) struct RecordSet {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    extras: Vec<Span>,
    /// Whether the thing asked about exists, if only with nothing of this kind.
    pub(crate) exists: bool,
    /// Whether only one entry is to be given: of several aliases only one may stand.
    pub(crate) gives_one: bool,
    /// Whether some entries have a target in common, and so the same extras.
    pub(crate) shares_targets: bool,
    /// Whether the extras belong to the name that was asked for, not to a target.
    pub(crate) extras_are_of_owner: bool,
    /// Whether some entries are aliases.
    pub(crate) has_aliases: bool,
}

/// A piece, as a place in the bytes of its set.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    length: u32,
}

/// One answer record, and what helps with it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    piece: Span,
    extras: Range<u32>,
    /// Bytes of all extras, without their owners.
    pub(crate) extras_bytes: u32,
    /// Where in the piece the name begins that the extras belong to.
    pub(crate) target_at: u16,
    /// The first entry with the same target.
    pub(crate) group: u32,
    /// Whether the target is an alias: a name to be looked up for the response.
    pub(crate) is_alias: bool,
}

impl RecordSet {
    /// No records yet, of something that exists or not.
    pub(crate) fn of_existing(exists: bool) -> RecordSet {
        RecordSet { exists, ..RecordSet::default() }
    }

    /// The entries.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Appends an answer record whose target is a name to be looked up.
    pub(crate) fn push_alias(&mut self, kind: u16, data: &[u8]) -> &mut Entry {
        self.has_aliases = true;
        let entry = self.push(kind, data);
        entry.is_alias = true;
        entry
    }

    /// Which entry is given where only one may be: the same for the same question, so that what was
    /// looked up for it is what is given.
    pub(crate) fn only_entry(&self, query_id: u16) -> Option<usize> {
        self.gives_one.then(|| usize::from(query_id).checked_rem(self.entries.len()))?
    }

    /// The answer record of an entry.
    pub(crate) fn piece(&self, entry: &Entry) -> &[u8] {
        self.slice(entry.piece)
    }

    /// The records that help with an entry.
    pub(crate) fn extras(&self, entry: &Entry) -> impl ExactSizeIterator<Item = &[u8]> {
        let range = entry.extras.start as usize..entry.extras.end as usize;
        self.extras[range].iter().map(|span| self.slice(*span))
    }

    /// The name that the extras of an entry belong to.
    pub(crate) fn target(&self, entry: &Entry) -> &[u8] {
        &self.piece(entry)[usize::from(entry.target_at)..]
    }

    fn slice(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..(span.start + span.length) as usize]
    }

    /// Appends an answer record.
    pub(crate) fn push(&mut self, kind: u16, data: &[u8]) -> &mut Entry {
        let at = self.extras.len() as u32;
        let piece = self.append(kind, data);
        let group = self.entries.len() as u32;
        let target_at = PIECE_HEAD_BYTES as u16;
        let extras = at..at;
        let entry = Entry { piece, extras, extras_bytes: 0, target_at, group, is_alias: false };
        self.entries.push(entry);
        self.entries.last_mut().expect("one was pushed")
    }

    /// Appends a record that helps with the last entry.
    pub(crate) fn push_extra(&mut self, kind: u16, data: &[u8]) {
        let span = self.append(kind, data);
        self.extras.push(span);
        let entry = self.entries.last_mut().expect("extras follow their entry");
        entry.extras.end += 1;
        entry.extras_bytes += span.length;
    }

    fn append(&mut self, kind: u16, data: &[u8]) -> Span {
        let start = self.bytes.len() as u32;
        write_piece_head(&mut self.bytes, kind, data.len());
        self.bytes.extend_from_slice(data);
        Span { start, length: (PIECE_HEAD_BYTES + data.len()) as u32 }
    }
}

impl Encoding for RecordSet {
    fn n_bytes(&self) -> usize {
        size_of::<RecordSet>()
            + self.bytes.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + self.extras.capacity() * size_of::<Span>()
    }
}

/// What the records of a set depend on besides the registry's answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// The domain that targets lie in.
    pub(crate) domain: &'a str,
    /// The datacenter that targets name.
    pub(crate) datacenter: &'a str,
    /// The named port that is meant.
    pub(crate) port: Option<&'a str>,
    /// The environment that instances must be in.
    pub(crate) env: Option<&'a str>,
    /// Whether addresses for other datacenters are preferred.
    pub(crate) prefers_wan: bool,
    /// Whether facts of nodes are given beside their address.
    pub(crate) node_meta_txt: bool,
}
