//! Regular expressions as Go writes them, run by the `regex` crate.
//!
//! Both are finite automata and agree on almost everything. They part in a few places, which
//! [`translate`] rewrites one character at a time:
//! - `\d \w \s \b` know ASCII only in Go; every escaped sign stands for itself, digits are octal;
//! - `\Q...\E` quotes;
//! - a brace that is no repetition stands for itself;
//! - inside `[...]`, Go has no nested classes and no `&&`, `--`, `~~`;
//! - the flags are `i m s U`, no more;
//! - a repetition cannot be repeated (`a**`).
//!
//! One difference stays: flags alone cannot be repeated here (`(?i)*`), which Go allows.
//!
//! A pattern is refused when it, or its automaton, is larger than the limits, so one that was
//! written to be costly costs a bounded amount of work. Searching is linear in the text.

use std::fmt::Write as _;

use regex::{Regex, RegexBuilder};

use super::{FilterError, NESTING_MAX, PATTERN_BYTES_MAX, PATTERN_SIZE_MAX};

/// The highest repetition count, as in Go.
const REPEAT_MAX: u32 = 1_000;
/// How much of a refused pattern a message shows.
const SHOWN_CHARS_MAX: usize = 100;

/// Compiles a pattern written for Go.
pub(super) fn compile(pattern: &str) -> Result<Regex, FilterError> {
    let refuse = |problem: String| {
        let shown = pattern.chars().take(SHOWN_CHARS_MAX).collect();
        FilterError::WrongPattern { pattern: shown, problem }
    };
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(refuse(format!("longer than {PATTERN_BYTES_MAX} bytes")));
    }
    let translated = translate(pattern).map_err(|problem| refuse(problem.to_owned()))?;
    RegexBuilder::new(&translated)
        .nest_limit(u32::try_from(NESTING_MAX).unwrap_or(u32::MAX))
        .size_limit(PATTERN_SIZE_MAX)
        .dfa_size_limit(PATTERN_SIZE_MAX)
        .build()
        .map_err(|error| refuse(last_line(&error)))
}

/// The crate draws the pattern and a caret over several lines; the last says what is wrong.
fn last_line(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => format!("needs more than {limit} bytes"),
        other => {
            let text = other.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    }
}

fn translate(pattern: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut repeats = Repeats::Not;
    while let Some(character) = rest.chars().next() {
        let is_repetition = match character {
            '*' | '+' | '?' => true,
            '{' => repetition(rest).is_some(),
            _ => false,
        };
        repeats = repeats.then(is_repetition.then_some(character))?;
        let length = match character {
            '\\' => escape(rest, &mut out, Place::Outside)?,
            '[' => class(rest, &mut out)?,
            '{' => brace(rest, &mut out)?,
            '(' if rest.starts_with("(?") => flags(rest, &mut out)?,
            plain => {
                out.push(plain);
                plain.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Ok(out)
}

/// Whether the last thing read was a repetition: Go allows no second one behind it, but a
/// question mark that makes it lazy.
#[derive(Clone, Copy)]
enum Repeats {
    Not,
    Greedy,
    Lazy,
}

impl Repeats {
    fn then(self, repetition: Option<char>) -> Result<Self, &'static str> {
        match (self, repetition) {
            (_, None) => Ok(Self::Not),
            (Self::Not, Some(_)) => Ok(Self::Greedy),
            (Self::Greedy, Some('?')) => Ok(Self::Lazy),
            _ => Err("invalid nested repetition operator"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    InClass,
}

/// Rewrites what begins with a backslash; returns how much of the pattern that was.
fn escape(rest: &str, out: &mut String, place: Place) -> Result<usize, &'static str> {
    let Some(escaped) = rest[1..].chars().next() else { return Err("trailing backslash") };
    let is_outside = place == Place::Outside;
    match escaped {
        'd' | 'w' | 's' if is_outside => {
            let _ = write!(out, "[{}]", ascii_set(escaped));
        }
        'd' | 'w' | 's' => out.push_str(ascii_set(escaped)),
        'D' | 'W' | 'S' => {
            let _ = write!(out, "[^{}]", ascii_set(escaped.to_ascii_lowercase()));
        }
        'b' if is_outside => out.push_str(r"(?-u:\b)"),
        'B' if is_outside => out.push_str(r"(?-u:\B)"),
        'Q' if is_outside => return Ok(quote(rest, out)),
        '0'..='7' => return octal(rest, out),
        'A' | 'z' if is_outside => out.extend(['\\', escaped]),
        'a' | 'f' | 'n' | 'r' | 't' | 'v' => out.extend(['\\', escaped]),
        'x' | 'p' | 'P' => return Ok(braced(rest, out)),
        sign if sign.is_ascii_punctuation() => literal(sign, out),
        _ => return Err("invalid escape sequence"),
    }
    Ok(1 + escaped.len_utf8())
}

/// `\x41`, `\pN`, or with braces `\x{41}`, `\p{Greek}`: the same on both sides.
fn braced(rest: &str, out: &mut String) -> usize {
    let length = match rest[2..].starts_with('{').then(|| rest.find('}')).flatten() {
        Some(end) => end + 1,
        None => 2,
    };
    out.push_str(&rest[..length]);
    length
}

fn ascii_set(letter: char) -> &'static str {
    match letter {
        'd' => "0-9",
        'w' => "0-9A-Za-z_",
        _ => r"\t\n\f\r ",
    }
}

fn literal(character: char, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, r"\x{{{:x}}}", u32::from(character));
}

/// `\Q...\E`, the end of which may be missing.
fn quote(rest: &str, out: &mut String) -> usize {
    let body = &rest[2..];
    let (quoted, length) = match body.find(r"\E") {
        Some(end) => (&body[..end], end + 4),
        None => (body, rest.len()),
    };
    out.push_str(&regex::escape(quoted));
    length
}

/// `\0`, `\07`, `\123`. A single digit from 1 would point at a group, which no automaton can do.
fn octal(rest: &str, out: &mut String) -> Result<usize, &'static str> {
    let digits = rest[1..].bytes().take(3).take_while(|it| (b'0'..=b'7').contains(it)).count();
    let number = u32::from_str_radix(&rest[1..=digits], 8).ok().and_then(char::from_u32);
    match number {
        Some(character) if digits > 1 || character == '\0' => {
            literal(character, out);
            Ok(1 + digits)
        }
        _ => Err("invalid escape sequence"),
    }
}

/// A whole class, `[...]`.
fn class(rest: &str, out: &mut String) -> Result<usize, &'static str> {
    let mut at = if rest.starts_with("[^") { 2 } else { 1 };
    out.push_str(&rest[..at]);
    let first = at;
    while let Some(character) = rest[at..].chars().next() {
        match character {
            ']' if at > first => {
                out.push(']');
                return Ok(at + 1);
            }
            '\\' => at += escape(&rest[at..], out, Place::InClass)?,
            '[' => at += named_class(&rest[at..], out)?,
            ']' | '&' | '~' | '^' => {
                literal(character, out);
                at += 1;
            }
            '-' if at == first || rest[at..].starts_with("-]") => {
                literal('-', out);
                at += 1;
            }
            '-' if rest[at..].starts_with("--") => {
                out.push('-');
                literal('-', out);
                at += 2;
            }
            plain => {
                out.push(plain);
                at += plain.len_utf8();
            }
        }
    }
    Err("missing closing ]")
}

/// `[:alpha:]` or `[:^alpha:]` inside a class, or a bracket that stands for itself.
fn named_class(rest: &str, out: &mut String) -> Result<usize, &'static str> {
    let Some(name) = rest.strip_prefix("[:").and_then(|it| it.split_once(":]")).map(|it| it.0)
    else {
        literal('[', out);
        return Ok(1);
    };
    if !CLASS_NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
        return Err("invalid character class range");
    }
    let _ = write!(out, "[:{name}:]");
    Ok(name.len() + 4)
}

const CLASS_NAMES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// A repetition, `{2}`, `{2,}`, `{2,3}`, or a brace that stands for itself.
fn brace(rest: &str, out: &mut String) -> Result<usize, &'static str> {
    let Some((length, counts)) = repetition(rest) else {
        literal('{', out);
        return Ok(1);
    };
    if counts.iter().any(|count| count.parse::<u32>().map_or(true, |it| it > REPEAT_MAX)) {
        return Err("invalid repeat count");
    }
    out.push_str(&rest[..length]);
    Ok(length)
}

fn repetition(rest: &str) -> Option<(usize, Vec<&str>)> {
    let end = rest.find('}')?;
    let (least, most) = match rest[1..end].split_once(',') {
        Some((least, most)) => (least, Some(most).filter(|it| !it.is_empty())),
        None => (&rest[1..end], None),
    };
    let counts: Vec<&str> = std::iter::once(least).chain(most).collect();
    let is_number = |it: &&str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit());
    counts.iter().all(is_number).then_some((end + 1, counts))
}

/// What follows `(?`: a group's name, or flags that Go knows too.
fn flags(rest: &str, out: &mut String) -> Result<usize, &'static str> {
    let is_named = rest.starts_with("(?P<") || rest.starts_with("(?<");
    let end = rest[2..].find([':', ')']).map_or(rest.len(), |end| end + 2);
    if !is_named && !rest[2..end].chars().all(|it| "imsU-".contains(it)) {
        return Err("invalid or unsupported Perl syntax");
    }
    out.push_str("(?");
    Ok(2)
}
