//! The state as blocks of bytes, and its hash.
//!
//! A saved state is a sequence of `Record`s in a fixed order, packed into blocks of about
//! [`BLOCK_BYTES`]: first the header, then each table in the order of its keys (a node followed by
//! its instances and checks), at last the number of all records, so that a state cut short is
//! recognized. Since every table has one order, equal states have equal bytes, and the hash is that
//! of the bytes. Tables that follow from others are not saved.
//!
//! Length and checksum of a block, and where blocks lie, are the business of whoever stores them.

use bytes::Bytes;
use minicbor::{Decode, Encode};
use muster_model::ca::CaRoot;
use muster_model::coordinate::NodeCoordinate;
use muster_model::prepared::PreparedQuery;
use muster_model::settings::Setting;
use muster_model::{Check, Index, Indexed, Instance, Node, Pair, Scope, Session, Text};

use crate::State;
use crate::catalog::NodeEntry;

/// Bytes after which a block is full. One larger record makes a larger block.
pub const BLOCK_BYTES: usize = 256 * 1024;
/// The version of the format. A state of a newer one is refused.
pub const FORMAT: u16 = 1;

/// One record of a saved state. The numbers are never used again for something else.
#[derive(Debug, Encode, Decode)]
pub(crate) enum Record {
    /// Comes first.
    #[n(0)]
    Header {
        #[n(0)]
        format: u16,
        #[n(1)]
        index: Index,
        #[n(2)]
        reaped: Index,
        #[n(3)]
        replaced_at: Index,
    },
    #[n(1)]
    Touched {
        #[n(0)]
        scope: Scope,
        #[n(1)]
        index: Index,
    },
    /// Its instances and checks follow.
    #[n(2)]
    Node(#[n(0)] Indexed<Node>),
    /// Of the node before it.
    #[n(3)]
    Instance(#[n(0)] Indexed<Instance>),
    /// Of the node before it.
    #[n(4)]
    Check(#[n(0)] Indexed<Check>),
    /// Comes before the pairs, so that what it holds finds it.
    #[n(5)]
    Session(#[n(0)] Indexed<Session>),
    #[n(6)]
    Pair(#[n(0)] Indexed<Pair>),
    #[n(7)]
    Tombstone {
        #[n(0)]
        key: Text,
        #[n(1)]
        index: Index,
    },
    #[n(8)]
    LockDelay {
        #[n(0)]
        key: Text,
        #[n(1)]
        began_at: Index,
        #[n(2)]
        duration: std::time::Duration,
    },
    #[n(9)]
    PreparedQuery(#[n(0)] Indexed<PreparedQuery>),
    #[n(10)]
    Coordinate(#[n(0)] Indexed<NodeCoordinate>),
    #[n(11)]
    Root(#[n(0)] Indexed<CaRoot>),
    #[n(12)]
    Setting(#[n(0)] Indexed<Setting>),
    /// Comes last: how many records came before it.
    #[n(13)]
    End {
        #[n(0)]
        n_records: u64,
    },
}

impl State {
    /// The state as blocks, made one at a time.
    pub fn save(&self) -> impl Iterator<Item = Bytes> + '_ {
        let mut records = self.records();
        let mut n_records = 0;
        let mut is_ended = false;
        std::iter::from_fn(move || {
            let mut block = Vec::with_capacity(BLOCK_BYTES + 4096);
            while block.len() < BLOCK_BYTES && !is_ended {
                let record = records.next().unwrap_or_else(|| {
                    is_ended = true;
                    Record::End { n_records }
                });
                n_records += 1;
                minicbor::encode(&record, &mut block).expect("writing to a Vec cannot fail");
            }
            (!block.is_empty()).then(|| block.into())
        })
    }

    /// A number that is equal where the replicated state is equal, and hardly elsewhere (FNV-1a
    /// over the saved form).
    pub fn hash(&self) -> u64 {
        let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        self.save().fold(0xcbf2_9ce4_8422_2325, |hash, block| block.iter().fold(hash, fold))
    }

    fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let header = Record::Header {
            format: FORMAT,
            index: self.index,
            reaped: self.pairs.reaped,
            replaced_at: self.replaced_at,
        };
        let indexes = self.indexes.iter();
        let indexes = indexes.map(|(scope, index)| Record::Touched { scope, index });
        let catalog = self.catalog.nodes().flat_map(|entry| node_records(entry));
        let sessions = self.sessions.iter().map(|row| Record::Session((**row).clone()));
        let kept = &self.kept;
        std::iter::once(header)
            .chain(indexes)
            .chain(catalog)
            .chain(sessions)
            .chain(self.pair_records())
            .chain(self.questions.iter().map(|row| Record::PreparedQuery((**row).clone())))
            .chain(self.places.rows.values().map(|row| Record::Coordinate((**row).clone())))
            .chain(kept.roots.values().map(|row| Record::Root((**row).clone())))
            .chain(kept.settings.values().map(|row| Record::Setting((**row).clone())))
    }

    fn pair_records(&self) -> impl Iterator<Item = Record> + '_ {
        let pairs = self.pairs.rows.values().map(|row| Record::Pair((**row).clone()));
        let tombstones = self.pairs.tombstones.iter();
        let tombstones =
            tombstones.map(|(key, index)| Record::Tombstone { key: key.clone(), index: *index });
        let delays = self.pairs.delays.iter().map(|(key, delay)| Record::LockDelay {
            key: key.clone(),
            began_at: delay.began_at,
            duration: delay.duration,
        });
        pairs.chain(tombstones).chain(delays)
    }
}

fn node_records(entry: &NodeEntry) -> impl Iterator<Item = Record> + '_ {
    std::iter::once(Record::Node((*entry.row).clone()))
        .chain(entry.instances().map(|own| Record::Instance((*own.row).clone())))
        .chain(entry.checks().map(|check| Record::Check((**check).clone())))
}
