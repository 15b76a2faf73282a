//! A member of the gossip pool, in the words of Serf.

use std::collections::BTreeMap;

use muster_registry::cluster::{Member, MemberStatus};
use serde::Serialize;

use crate::filter::{IntegerKind, Kind, Value, filter_fields};

const BYTE: Kind = Kind::Integer(IntegerKind { is_signed: false, bits: 8 });

/// A member.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MemberShape<'a> {
    name: &'a str,
    addr: &'a str,
    port: u16,
    tags: BTreeMap<&'a str, &'a str>,
    status: u8,
    protocol_min: u8,
    protocol_max: u8,
    protocol_cur: u8,
    delegate_min: u8,
    delegate_max: u8,
    delegate_cur: u8,
}

impl<'a> From<&'a Member> for MemberShape<'a> {
    fn from(member: &'a Member) -> MemberShape<'a> {
        let tags = member.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        MemberShape {
            name: &member.name,
            addr: &member.address,
            port: member.port,
            tags: tags.collect(),
            status: match member.status {
                MemberStatus::Alive => 1,
                MemberStatus::Leaving => 2,
                MemberStatus::Left => 3,
                MemberStatus::Failed => 4,
            },
            protocol_min: member.protocol.min,
            protocol_max: member.protocol.max,
            protocol_cur: member.protocol.current,
            delegate_min: member.payload.min,
            delegate_max: member.payload.max,
            delegate_cur: member.payload.current,
        }
    }
}

filter_fields! { MemberShape<'_> {
    "Name":        Kind::Text => |member| member.name;
    "Addr":        Kind::Text => |member| member.addr;
    "Port":        Kind::Integer(IntegerKind { is_signed: false, bits: 16 }) => |member| member.port;
    "Tags":        Kind::META => |member| Value::Map(&member.tags);
    "Status":      Kind::INTEGER => |member| member.status;
    "ProtocolMin": BYTE => |member| member.protocol_min;
    "ProtocolMax": BYTE => |member| member.protocol_max;
    "ProtocolCur": BYTE => |member| member.protocol_cur;
    "DelegateMin": BYTE => |member| member.delegate_min;
    "DelegateMax": BYTE => |member| member.delegate_max;
    "DelegateCur": BYTE => |member| member.delegate_cur;
} }
