//! What a check printed, kept within a bound while it comes in.
//!
//! A script may print for ever, so the bound holds while reading and not only afterwards. The tail
//! is kept, because that is where programs say what went wrong; a line before it says how much
//! there was.

use std::collections::VecDeque;

use muster_model::Text;

/// Room that the line about what is missing may take.
const NOTE_BYTES_MAX: usize = 64;

/// The last bytes of something that may be longer.
#[derive(Clone, Debug)]
pub struct Capture {
    kept: VecDeque<u8>,
    n_bytes_max: usize,
    n_bytes_seen: u64,
}

impl Capture {
    /// Keeps at most `n_bytes_max` bytes.
    pub fn new(n_bytes_max: usize) -> Capture {
        Capture { kept: VecDeque::new(), n_bytes_max, n_bytes_seen: 0 }
    }

    /// Takes in what was printed next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.n_bytes_seen += bytes.len() as u64;
        let tail = &bytes[bytes.len().saturating_sub(self.n_bytes_max)..];
        let n_surplus = (self.kept.len() + tail.len()).saturating_sub(self.n_bytes_max);
        self.kept.drain(..n_surplus);
        self.kept.extend(tail);
    }

    /// `head`, then what was kept, in all at most as many bytes as the bound. Bytes that are not
    /// UTF-8 are replaced.
    pub fn text(&self, head: &str) -> Text {
        let kept: Vec<u8> = self.kept.iter().copied().collect();
        let printed = String::from_utf8_lossy(&kept);
        let is_whole = self.n_bytes_seen == self.kept.len() as u64;
        if is_whole && head.len() + printed.len() <= self.n_bytes_max {
            return format!("{head}{printed}").into();
        }
        let head = start_of(head, self.n_bytes_max / 2);
        let room = self.n_bytes_max.saturating_sub(head.len() + NOTE_BYTES_MAX);
        let tail = end_of(&printed, room);
        let n_seen = self.n_bytes_seen;
        format!("{head}Captured {} of {n_seen} bytes\n...\n{tail}", tail.len()).into()
    }
}

/// `output` within `n_bytes_max`, its tail kept.
pub fn bounded(output: Text, n_bytes_max: usize) -> Text {
    if output.len() <= n_bytes_max {
        return output;
    }
    let mut capture = Capture::new(n_bytes_max);
    capture.push(output.as_bytes());
    capture.text("")
}

/// The start of `text`, cut between two characters.
fn start_of(text: &str, n_bytes_max: usize) -> &str {
    let mut end = n_bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The end of `text`, cut between two characters.
fn end_of(text: &str, n_bytes_max: usize) -> &str {
    let mut start = text.len().saturating_sub(n_bytes_max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn output_within_the_bound_is_kept_whole() {
        let mut capture = Capture::new(100);
        capture.push(b"all ");
        capture.push(b"is well");
        assert_eq!(capture.text("says: "), "says: all is well");
    }

    #[test]
    fn of_a_long_output_the_tail_is_kept_and_the_length_told() {
        let mut capture = Capture::new(100);
        for _ in 0..1_000 {
            capture.push(b"0123456789");
        }
        let text = capture.text("");
        assert!(text.starts_with("Captured 36 of 10000 bytes\n...\n"), "{text}");
        assert!(text.ends_with("0123456789"));
    }

    proptest! {
        #[test]
        fn no_output_exceeds_the_bound(
            head in ".{0,40}",
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 0..8),
            n_bytes_max in 200_usize..400,
        ) {
            let mut capture = Capture::new(n_bytes_max);
            for piece in &pieces {
                capture.push(piece);
            }
            prop_assert!(capture.text(&head).len() <= n_bytes_max);
        }
    }
}
