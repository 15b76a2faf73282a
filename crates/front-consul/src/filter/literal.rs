//! What a value in an expression means: Go's quoted strings, whole numbers and booleans.

use super::fields::IntegerKind;

/// The text of a double-quoted Go string, given without its quotes. Nothing if it is not one.
pub(super) fn unquote(quoted: &str) -> Option<String> {
    let mut text = Vec::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    while let Some(character) = rest.next() {
        match character {
            '\n' => return None,
            '\\' => unescape(&mut rest, &mut text)?,
            plain => push(&mut text, plain),
        }
    }
    String::from_utf8(text).ok()
}

/// Reads what follows a backslash. Numbers up to `\xff` and `\377` are bytes, not characters.
fn unescape(rest: &mut std::str::Chars<'_>, text: &mut Vec<u8>) -> Option<()> {
    let byte = match rest.next()? {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        'x' => u8::try_from(digits(rest, 2, 16)?).ok()?,
        'u' => return char::from_u32(digits(rest, 4, 16)?).map(|it| push(text, it)),
        'U' => return char::from_u32(digits(rest, 8, 16)?).map(|it| push(text, it)),
        first @ '0'..='7' => {
            let lower = digits(rest, 2, 8)?;
            u8::try_from(first.to_digit(8)? * 64 + lower).ok()?
        }
        _ => return None,
    };
    text.push(byte);
    Some(())
}

fn digits(rest: &mut std::str::Chars<'_>, count: usize, base: u32) -> Option<u32> {
    let mut number = 0u32;
    for _ in 0..count {
        number = number.checked_mul(base)? + rest.next()?.to_digit(base)?;
    }
    Some(number)
}

fn push(text: &mut Vec<u8>, character: char) {
    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

/// A whole number as Go's `ParseInt` with base 0 reads it: `0x`, `0o`, `0b` and a leading zero
/// give the base, underscores may stand between digits.
pub(super) fn integer(text: &str, kind: IntegerKind) -> Result<i128, &'static str> {
    let (is_negative, magnitude) = match text.as_bytes().first() {
        Some(b'-') if kind.is_signed => (true, &text[1..]),
        Some(b'+') if kind.is_signed => (false, &text[1..]),
        _ => (false, text),
    };
    let number = unsigned(magnitude)?;
    let number = if is_negative { -number } else { number };
    let (least, most) = if kind.is_signed {
        (-(1i128 << (kind.bits - 1)), (1i128 << (kind.bits - 1)) - 1)
    } else {
        (0, (1i128 << kind.bits) - 1)
    };
    if (least..=most).contains(&number) { Ok(number) } else { Err(OUT_OF_RANGE) }
}

const INVALID: &str = "invalid syntax";
const OUT_OF_RANGE: &str = "value out of range";

fn unsigned(text: &str) -> Result<i128, &'static str> {
    let (base, digits) = base_of(text);
    if text.is_empty() || !has_underscores_between_digits(text) {
        return Err(INVALID);
    }
    let mut number = 0i128;
    for digit in digits.chars().filter(|it| *it != '_') {
        let digit = digit.to_digit(base).ok_or(INVALID)?;
        // Past 64 bits the exact number no longer matters, only that it is out of range.
        number = (number * i128::from(base) + i128::from(digit)).min(1 << 65);
    }
    Ok(number)
}

fn base_of(text: &str) -> (u32, &str) {
    let prefixed = |base| if text.len() >= 3 { (base, &text[2..]) } else { (8, &text[1..]) };
    match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => prefixed(16),
        [b'0', b'o' | b'O', ..] => prefixed(8),
        [b'0', b'b' | b'B', ..] => prefixed(2),
        [b'0', ..] => (8, &text[1..]),
        _ => (10, text),
    }
}

/// Every underscore has a digit or the base prefix before it and a digit behind it.
fn has_underscores_between_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let after_prefix = |at: usize| {
        at == 2 && bytes[0] == b'0' && matches!(bytes[1].to_ascii_lowercase(), b'x' | b'o' | b'b')
    };
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'_')
        .all(|(at, _)| at > 0 && (after_prefix(at) || is_digit(at - 1)) && is_digit(at + 1))
}

/// A boolean as Go's `ParseBool` reads it.
pub(super) fn flag(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(INVALID),
    }
}
