//! A Rust source file as the rules of `tidy` see it.
//!
//! A rule that looks for words must not stumble over a comment, and a rule about production code
//! must not stumble over a test. So each file is kept twice: as written, and as *code*, where
//! every comment and every text literal is blanked out (same length, same lines). Each line knows
//! whether it belongs to a test. Functions are found by their braces in the code.
//!
//! This is a scanner and not a parser: it knows comments, literals, braces and attributes, and
//! nothing else. That is enough for the rules, needs no dependency and reads the whole house in
//! some milliseconds.

/// A source file with what the rules ask of it.
pub(crate) struct Source {
    /// The path from the root, with forward slashes.
    pub(crate) path: String,
    /// The file as written.
    pub(crate) text: String,
    /// The file with comments and literals blanked out: same length, same lines.
    pub(crate) code: String,
    /// For each line, whether it belongs to a test.
    is_test: Vec<bool>,
}

/// A function of a source file.
pub(crate) struct Function {
    pub(crate) name: String,
    /// The line of its `fn`, counted from 1.
    pub(crate) line: usize,
    /// Lines of its body that hold code.
    pub(crate) n_lines: usize,
    pub(crate) is_test: bool,
    /// Whether it is the body of a trait's method: its name was given elsewhere.
    pub(crate) implements_trait: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        let is_test =
            if is_test_path(path) { vec![true; text.lines().count()] } else { test_lines(&code) };
        Self { path: path.to_owned(), text: text.to_owned(), code, is_test }
    }

    /// The crate that the file belongs to: its folder, `crates/state` giving `state`.
    pub(crate) fn crate_name(&self) -> &str {
        let path = self.path.strip_prefix("crates/").unwrap_or(&self.path);
        path.split('/').next().unwrap_or(path)
    }

    /// Whether the line, counted from 1, belongs to a test.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test.get(line - 1).copied().unwrap_or(false)
    }

    /// Lines of code that are not tests, each with its number.
    pub(crate) fn production_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code_lines().filter(|(line, _)| !self.is_test_line(*line))
    }

    /// Lines of code that belong to tests, each with its number.
    pub(crate) fn test_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code_lines().filter(|(line, _)| self.is_test_line(*line))
    }

    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// Every function with a body.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let code = self.code.as_bytes();
        let traits = trait_bodies(&self.code);
        let mut functions = Vec::new();
        for at in words(&self.code, "fn") {
            let rest = self.code[at + 2..].trim_start();
            let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
            if name.is_empty() {
                continue;
            }
            let Some((open, close)) = body(code, at) else { continue };
            let line = line_of(&self.code, at);
            let inside = &self.code[open + 1..close];
            functions.push(Function {
                name,
                line,
                n_lines: inside.lines().filter(|line| !line.trim().is_empty()).count(),
                is_test: self.is_test_line(line),
                implements_trait: traits.iter().any(|(open, close)| (*open..*close).contains(&at)),
            });
        }
        functions
    }
}

/// Where `word` stands as a whole word.
pub(crate) fn words(text: &str, word: &str) -> Vec<usize> {
    text.match_indices(word)
        .filter(|(at, _)| {
            let before = text[..*at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
        .map(|(at, _)| at)
        .collect()
}

/// The line of a byte offset, counted from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].bytes().filter(|byte| *byte == b'\n').count() + 1
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_test_path(path: &str) -> bool {
    let folders = ["/tests/", "/benches/", "/examples/"];
    path.ends_with("/tests.rs") || folders.iter().any(|folder| path.contains(folder))
}

/// The braces of the body of the function at `at`; none if it only has a signature.
fn body(code: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut depth = 0_i32;
    for (open, byte) in code.iter().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b';' if depth == 0 => return None,
            b'{' if depth == 0 => return Some((open, closing(code, open))),
            _ => {}
        }
    }
    None
}

/// The braces of every `impl TRAIT for TYPE`.
fn trait_bodies(code: &str) -> Vec<(usize, usize)> {
    let blocks = words(code, "impl").into_iter().filter_map(|at| {
        let (open, close) = body(code.as_bytes(), at)?;
        let names_trait = words(&code[at..open], "for")
            .iter()
            .any(|found| !code[at + found + "for".len()..].starts_with('<'));
        names_trait.then_some((open, close))
    });
    blocks.collect()
}

/// The brace that closes the one at `open`, or the end of the file.
fn closing(code: &[u8], open: usize) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in code.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

/// For each line, whether it lies in an item marked as test.
fn test_lines(code: &str) -> Vec<bool> {
    let mut is_test = vec![false; code.lines().count()];
    for mark in ["#[cfg(test)]", "#[test]", "#[tokio::test"] {
        for (at, _) in code.match_indices(mark) {
            let end = match body(code.as_bytes(), at) {
                Some((_, close)) => close,
                None => code[at..].find(';').map_or(code.len(), |n| at + n),
            };
            let first = line_of(code, at);
            let last = line_of(code, end.min(code.len()));
            for line in first..=last.min(is_test.len()) {
                is_test[line - 1] = true;
            }
        }
    }
    is_test
}

/// Replaces comments and literals by spaces and keeps every line where it is.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => end_of_line(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => end_of_block(bytes, at),
            b'"' => end_of_text(bytes, at),
            b'r' if !follows_word(bytes, at) => end_of_raw(bytes, at),
            b'b' if bytes.get(at + 1) == Some(&b'r') && !follows_word(bytes, at) => {
                let end = end_of_raw(bytes, at + 1);
                if end == at + 1 { at } else { end }
            }
            b'\'' => end_of_character(bytes, at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("whole literals were replaced by spaces")
}

fn follows_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn end_of_line(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |n| at + n)
}

fn end_of_block(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < bytes.len() {
        match &bytes[at..(at + 2).min(bytes.len())] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of a raw text at `start`, or `start` if there is none.
fn end_of_raw(bytes: &[u8], start: usize) -> usize {
    let n_hashes = bytes[start + 1..].iter().take_while(|byte| **byte == b'#').count();
    let open = start + 1 + n_hashes;
    if bytes.get(open) != Some(&b'"') {
        return start;
    }
    let close = [b"\"".as_slice(), &b"#".repeat(n_hashes)].concat();
    let found = bytes[open + 1..].windows(close.len()).position(|window| window == close);
    found.map_or(bytes.len(), |n| open + 1 + n + close.len())
}

/// The end of a character literal at `start`, or `start` for a lifetime.
fn end_of_character(bytes: &[u8], start: usize) -> usize {
    if bytes.get(start + 1) == Some(&b'\\') {
        let from = start + 3;
        let found = bytes.iter().skip(from).take(12).position(|byte| *byte == b'\'');
        return found.map_or(start, |n| from + n + 1);
    }
    let width = match bytes.get(start + 1) {
        Some(first) if *first >= 0xF0 => 4,
        Some(first) if *first >= 0xE0 => 3,
        Some(first) if *first >= 0xC0 => 2,
        _ => 1,
    };
    if bytes.get(start + 1 + width) == Some(&b'\'') { start + width + 2 } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "let a = \"std::fs\"; // std::fs\n/* tokio\n/* x */ */ let b = r#\"\"tokio\"#;";
        let code = blank(text);
        assert_eq!(code.len(), text.len());
        assert!(!code.contains("std::fs") && !code.contains("tokio"));
        assert!(code.contains("let a =") && code.contains("let b ="));
    }

    #[test]
    fn a_quote_as_a_character_opens_no_text() {
        let code = blank("match c { '\"' => 1, '\\'' => 2, 'ä' => 3, _ => x::<'a>() } // end");
        assert!(code.contains("=> 1") && code.contains("=> 3") && code.contains("<'a>"));
        assert!(!code.contains("end"));
    }

    #[test]
    fn lines_of_a_test_module_are_test_lines() {
        let source = Source::new(
            "crates/state/src/x.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n",
        );
        let claims: Vec<bool> = (1..=6).map(|line| source.is_test_line(line)).collect();
        assert_eq!(claims, [false, true, true, true, true, false]);
    }

    #[test]
    fn a_test_module_in_its_own_file_ends_at_its_semicolon() {
        let source =
            Source::new("crates/state/src/x.rs", "#[cfg(test)]\nmod tests;\nfn a() {\n}\n");
        assert!(source.is_test_line(2));
        assert!(!source.is_test_line(3));
    }

    #[test]
    fn the_body_of_a_trait_method_is_told_apart() {
        let text =
            "impl<T> A for B<T> {\n    fn a() {}\n}\nimpl B {\n    fn b() -> impl C { d }\n}\n";
        let functions = Source::new("crates/state/src/x.rs", text).functions();
        let claims: Vec<bool> = functions.iter().map(|f| f.implements_trait).collect();
        assert_eq!(claims, [true, false]);
    }

    #[test]
    fn functions_are_counted_without_comments_and_blank_lines() {
        let source = Source::new(
            "crates/state/src/x.rs",
            "trait T { fn none(&self); }\nfn one(a: [u8; 3]) -> u8 {\n\n    // why\n    a[0]\n}\n",
        );
        let functions = source.functions();
        assert_eq!(functions.len(), 1);
        assert_eq!((functions[0].name.as_str(), functions[0].n_lines), ("one", 1));
        assert_eq!(functions[0].line, 2);
    }
}
