//! JSON as Go writes it, so that who compares bytes or hashes of them finds no difference.
//!
//! serde's output differs from Go's in three ways: Go escapes `<`, `>`, `&` and the two line
//! separators of Unicode, writes whole fractions without `.0`, and has an own rule for exponents.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

/// The value in one line.
pub(crate) fn compact<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, LikeGo(CompactFormatter));
    value.serialize(&mut serializer).expect("shapes have text keys and a Vec takes all bytes");
    out
}

/// The value indented by four spaces, with a newline at the end.
pub(crate) fn pretty<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let formatter = LikeGo(PrettyFormatter::with_indent(b"    "));
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    value.serialize(&mut serializer).expect("shapes have text keys and a Vec takes all bytes");
    out.push(b'\n');
    out
}

/// Writes what Go writes differently, and leaves the rest to another formatter.
struct LikeGo<F>(F);

macro_rules! delegate {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {
        $(fn $name<W: ?Sized + Write>(&mut self, out: &mut W, $($argument: $kind),*) -> io::Result<()> {
            self.0.$name(out, $($argument),*)
        })*
    };
}

impl<F: Formatter> Formatter for LikeGo<F> {
    delegate! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }

    fn write_f64<W: ?Sized + Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        let size = value.abs();
        if size != 0.0 && !(1e-6..1e21).contains(&size) {
            return write_exponent(out, value);
        }
        write!(out, "{value}")
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let is_special = |byte: u8| matches!(byte, b'<' | b'>' | b'&' | 0xE2);
        // Without an early end the compiler looks at many bytes at a time.
        if !fragment.bytes().fold(false, |is_found, byte| is_found | is_special(byte)) {
            return out.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.bytes().position(is_special) {
            out.write_all(&rest.as_bytes()[..at])?;
            let character = rest[at..].chars().next().expect("a byte of a character stands there");
            match character {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    write!(out, "\\u{:04x}", character as u32)?;
                }
                _ => out.write_all(&rest.as_bytes()[at..at + character.len_utf8()])?,
            }
            rest = &rest[at + character.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

/// `3e+22`, `1e-09`: an exponent has a sign, and Go takes the zero of a single digit away again
/// only where it is negative.
fn write_exponent<W: ?Sized + Write>(out: &mut W, value: f64) -> io::Result<()> {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').expect("the notation was asked for");
    match exponent.strip_prefix('-') {
        Some(digits) => write!(out, "{mantissa}e-{digits}"),
        None => write!(out, "{mantissa}e+{exponent}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_written_as_go_writes_them() {
        let numbers: [f64; 8] = [0.0, 1.0, 1.5, 0.00001, 1e-9, 3e22, -0.25, 1.5e-7];
        assert_eq!(compact(&numbers), b"[0,1,1.5,0.00001,1e-9,3e+22,-0.25,1.5e-7]");
        assert_eq!(
            compact("a<b>&\u{2028}\u{20ac}\n\"").as_slice(),
            r#""a\u003cb\u003e\u0026\u2028€\n\"""#.as_bytes()
        );
    }

    #[test]
    fn an_empty_list_stays_in_one_line_when_indented() {
        let nothing: [u8; 0] = [];
        assert_eq!(pretty(&nothing), b"[]\n");
        assert_eq!(pretty(&[[1]]), b"[\n    [\n        1\n    ]\n]\n");
    }
}
