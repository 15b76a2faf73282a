//! TXT records: the facts of a node as `key=value` (RFC 1464), or, where the key begins with
//! `rfc1035-`, the bare value.

use muster_model::Meta;

use super::RecordSet;
use crate::limits::TEXTS_MAX;
use crate::wire::kind;

/// What a key begins with whose value is given bare.
const BARE_PREFIX: &str = "rfc1035-";
/// Bytes of one string in a TXT record.
const STRING_BYTES_MAX: usize = 255;

/// The facts as answers.
pub(crate) fn push_all(set: &mut RecordSet, meta: &Meta) {
    for (key, value) in meta.iter().take(TEXTS_MAX) {
        set.push(kind::TXT, &data(key, value));
    }
}

/// The facts as records that help with the last entry.
pub(crate) fn push_extras(set: &mut RecordSet, meta: &Meta) {
    for (key, value) in meta.iter().take(TEXTS_MAX) {
        set.push_extra(kind::TXT, &data(key, value));
    }
}

fn data(key: &str, value: &str) -> Vec<u8> {
    let text = match folded_prefix(key) {
        true => value.to_owned(),
        false => format!("{}={}", escaped(key), value),
    };
    let mut out = Vec::with_capacity(text.len() + 2);
    if text.is_empty() {
        out.push(0);
    }
    for string in text.as_bytes().chunks(STRING_BYTES_MAX) {
        out.push(string.len() as u8);
        out.extend_from_slice(string);
    }
    out
}

fn folded_prefix(key: &str) -> bool {
    let start = key.as_bytes().get(..BARE_PREFIX.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(BARE_PREFIX.as_bytes()))
}

/// A key in which `=`, backticks, and blanks at its ends stand behind a backtick.
fn escaped(key: &str) -> String {
    let inner = key.trim_matches([' ', '\t']);
    let inner_start = key.len() - key.trim_start_matches([' ', '\t']).len();
    let inner_end = inner_start + inner.len();
    let mut out = String::with_capacity(key.len());
    for (at, character) in key.char_indices() {
        let is_outer_blank = at < inner_start || at >= inner_end;
        if matches!(character, '=' | '`') || is_outer_blank {
            out.push('`');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_escaped_as_rfc_1464_has_it() {
        assert_eq!(data("env", "prod"), b"\x08env=prod");
        assert_eq!(data("a=b", "c"), b"\x06a`=b=c");
        assert_eq!(data(" a`", "x=y"), b"\x09` a``=x=y");
        assert_eq!(data("rfc1035-note", "x=y"), b"\x03x=y");
        assert_eq!(data("RFC1035-note", ""), b"\x00");
    }

    #[test]
    fn a_long_value_is_cut_into_strings() {
        let out = data("rfc1035-long", &"x".repeat(300));
        assert_eq!((out.len(), out[0], out[256]), (302, 255, 45));
    }
}
