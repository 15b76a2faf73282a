//! Names: read from a question, written from text.
//!
//! A question's name is kept twice: the client's own bytes, which every response echoes unchanged
//! (clients hide randomness in the case of letters), and a lower-case text with dots for looking
//! up. Byte `i + 1` on the wire is character `i` of the text, so one table of label starts serves
//! both, and the tail of the name that is our domain has a known place to point to.

use std::fmt;

use crate::limits::{LABEL_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX};

/// The name of a question.
pub(crate) struct Name<'m> {
    /// As the client wrote it, root included.
    asked: &'m [u8],
    /// Lower case, a dot after each label.
    folded: [u8; NAME_BYTES_MAX],
    /// Where each label begins in `folded`, and after the last one where the name ends.
    starts: [u8; LABELS_MAX + 1],
    n_labels: usize,
}

/// A name that cannot be: a label or the whole too long, cut off, or pointing somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadName;

impl<'m> Name<'m> {
    /// The name at the start of `bytes`.
    pub(crate) fn parse(bytes: &'m [u8]) -> Result<Name<'m>, BadName> {
        let mut starts = [0; LABELS_MAX + 1];
        let mut folded = [0; NAME_BYTES_MAX];
        let mut n_labels = 0;
        let mut at = 0;
        loop {
            let length = usize::from(*bytes.get(at).ok_or(BadName)?);
            // A pointer or an extended label is longer than any label.
            if length > LABEL_BYTES_MAX || (length > 0 && at + length + 2 > NAME_BYTES_MAX) {
                return Err(BadName);
            }
            starts[n_labels] = at as u8;
            if length == 0 {
                return Ok(Name { asked: &bytes[..=at], folded, starts, n_labels });
            }
            let label = bytes.get(at + 1..at + 1 + length).ok_or(BadName)?;
            for (place, byte) in folded[at..].iter_mut().zip(label) {
                *place = byte.to_ascii_lowercase();
            }
            folded[at + length] = b'.';
            n_labels += 1;
            at += length + 1;
        }
    }

    /// The bytes the client sent.
    pub(crate) fn asked(&self) -> &'m [u8] {
        self.asked
    }

    /// How many labels it has, without the root.
    pub(crate) fn n_labels(&self) -> usize {
        self.n_labels
    }

    /// Where label `i` begins on the wire, counted from the start of the name.
    pub(crate) fn offset_of(&self, i: usize) -> usize {
        usize::from(self.starts[i])
    }

    /// The labels from `first` to before `end`, joined by dots, in lower case; nothing where they
    /// are no text.
    pub(crate) fn text(&self, first: usize, end: usize) -> Option<&str> {
        if first >= end || end > self.n_labels {
            return (first == end).then_some("");
        }
        let characters = &self.folded[self.offset_of(first)..self.offset_of(end) - 1];
        std::str::from_utf8(characters).ok()
    }

    /// Whether it ends in `tail`, a name of `n_labels` labels in lower case without a last dot.
    pub(crate) fn ends_in(&self, tail: &str, n_labels: usize) -> bool {
        n_labels <= self.n_labels
            && self.text(self.n_labels - n_labels, self.n_labels) == Some(tail)
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(0, self.n_labels).unwrap_or("(no text)"))?;
        f.write_str(".")
    }
}

/// Appends a name given as text to `out`, root included. A last dot may be there or not.
///
/// # Errors
/// [`BadName`] for an empty label, one that is too long, or too many of them; `out` is then as it
/// was.
pub(crate) fn write_name(text: &str, out: &mut Vec<u8>) -> Result<(), BadName> {
    let start = out.len();
    let text = text.strip_suffix('.').unwrap_or(text);
    for label in text.split('.').filter(|_| !text.is_empty()) {
        if label.is_empty() || label.len() > LABEL_BYTES_MAX {
            out.truncate(start);
            return Err(BadName);
        }
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    if out.len() - start > NAME_BYTES_MAX {
        out.truncate(start);
        return Err(BadName);
    }
    Ok(())
}

/// A name given as text, on the wire.
pub(crate) fn name_bytes(text: &str) -> Result<Vec<u8>, BadName> {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_name(text, &mut out)?;
    Ok(out)
}

/// Whether `text` can stand in a name as one or more labels.
pub(crate) fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() + 2 <= NAME_BYTES_MAX && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_folded_for_looking_up_and_kept_for_echoing() {
        let wire = name_bytes("WEB.Service.consul").unwrap();
        let name = Name::parse(&wire).unwrap();
        assert_eq!(name.asked(), wire);
        assert_eq!(name.text(0, 3), Some("web.service.consul"));
        assert_eq!(name.text(1, 2), Some("service"));
        assert_eq!(name.text(2, 2), Some(""));
        assert!(name.ends_in("consul", 1));
        assert!(!name.ends_in("nsul", 1));
    }

    #[test]
    fn the_longest_name_is_read_and_one_byte_more_is_not() {
        let label = "x".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", &label[..61]);
        let wire = name_bytes(&longest).unwrap();
        assert_eq!(wire.len(), NAME_BYTES_MAX);
        assert_eq!(Name::parse(&wire).unwrap().text(0, 4), Some(longest.as_str()));
        assert_eq!(name_bytes(&format!("{longest}x")), Err(BadName));
        let mut longer = wire.clone();
        longer[192] += 1;
        longer.insert(200, b'x');
        assert!(Name::parse(&longer).is_err());
    }

    #[test]
    fn a_pointer_in_a_question_is_refused() {
        assert!(Name::parse(&[0xC0, 0x0C]).is_err());
        assert!(Name::parse(&[1, b'a', 0xC0, 0x0C, 0]).is_err());
        assert!(Name::parse(&[5, b'a']).is_err());
        assert!(Name::parse(&[]).is_err());
    }

    #[test]
    fn the_root_has_no_labels() {
        let name = Name::parse(&[0]).unwrap();
        assert_eq!((name.n_labels(), name.to_string().as_str()), (0, "."));
        assert_eq!(name_bytes(".").unwrap(), [0]);
    }

    #[test]
    fn a_name_of_the_most_labels_is_read() {
        let wire = name_bytes(&vec!["a"; LABELS_MAX].join(".")).unwrap();
        assert_eq!(Name::parse(&wire).unwrap().n_labels(), LABELS_MAX);
    }
}
