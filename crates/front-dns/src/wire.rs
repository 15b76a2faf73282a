//! DNS messages as bytes: reading a query, writing a response (RFC 1035, 6891, 7871).
//!
//! Reading never follows a compression pointer (a question has nothing before it to point to), so
//! it cannot loop; it takes no memory from the heap. Writing copies prepared records. What it
//! leaves out: zone transfers, updates, signatures, and every record kind we never give.

pub(crate) mod name;
pub(crate) mod query;
pub(crate) mod reply;
pub(crate) mod writer;

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 12;
/// The class of everything here.
pub(crate) const CLASS_IN: u16 = 1;
/// "Any class", in questions.
pub(crate) const CLASS_ANY: u16 = 255;

/// Record kinds that something is done about, by their numbers.
pub(crate) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const IXFR: u16 = 251;
    pub(crate) const AXFR: u16 = 252;
    pub(crate) const ANY: u16 = 255;
}

/// How a response turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rcode {
    /// Answered, if only with "nothing of that kind".
    NoError,
    /// The client must send something else.
    FormErr,
    /// We could not find out.
    ServFail,
    /// There is no such name.
    NxDomain,
    /// We do not do that.
    NotImp,
    /// We do not do that for this name.
    Refused,
    /// The client must speak an older EDNS.
    BadVers,
}

impl Rcode {
    /// Its number; the higher bits go into the OPT record.
    pub(crate) fn number(self) -> u16 {
        match self {
            Rcode::NoError => 0,
            Rcode::FormErr => 1,
            Rcode::ServFail => 2,
            Rcode::NxDomain => 3,
            Rcode::NotImp => 4,
            Rcode::Refused => 5,
            Rcode::BadVers => 16,
        }
    }
}

/// The two bytes at `at`, if they are there.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}
