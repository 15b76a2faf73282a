//! A member of the gossip pool, in the words of Serf.

use std::collections::BTreeMap;

use muster_registry::operator::{Member, MemberStatus};
use serde::Serialize;

use crate::filter::{IntegerKind, Kind, Value, filter_fields};

/// The versions of the gossip protocol that Consul's members name. Ours is another protocol; they
/// are shown because clients read the fields.
const PROTOCOL: (u8, u8, u8) = (1, 5, 2);
const DELEGATE: (u8, u8, u8) = (2, 5, 4);
const BYTE: Kind = Kind::Integer(IntegerKind { is_signed: false, bits: 8 });

/// A member.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MemberShape<'a> {
    name: String,
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

impl<'a> MemberShape<'a> {
    /// The shape of a member; in the WAN pool its name has its datacenter's at the end.
    pub(crate) fn new(member: &'a Member, wan_datacenter: Option<&str>) -> MemberShape<'a> {
        let tags = member.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        MemberShape {
            name: match wan_datacenter {
                None => member.name.to_string(),
                Some(datacenter) => format!("{}.{datacenter}", member.name),
            },
            addr: &member.address,
            port: member.port,
            tags: tags.collect(),
            status: match member.status {
                MemberStatus::Alive => 1,
                MemberStatus::Leaving => 2,
                MemberStatus::Left => 3,
                MemberStatus::Failed => 4,
            },
            protocol_min: PROTOCOL.0,
            protocol_max: PROTOCOL.1,
            protocol_cur: PROTOCOL.2,
            delegate_min: DELEGATE.0,
            delegate_max: DELEGATE.1,
            delegate_cur: DELEGATE.2,
        }
    }
}

filter_fields! { MemberShape<'_> {
    "Name":        Kind::Text => |member| &member.name;
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
