//! The words of a configuration text: HCL's and JSON's tokens in one lexer.
//!
//! It looks one token ahead and counts lines. Strings come out with their escapes resolved, except
//! that HCL keeps the inside of `${...}` as written, since Consul never evaluates it. JSON knows no
//! comments, heredocs or bare words but `true`, `false` and `null`; asking for them there is an error.

use super::problem::Problem;
use super::syntax::Format;

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A quoted string or a heredoc.
    Text(String),
    /// A bare word: a key, or `true`, `false`, `null`.
    Word(String),
    /// A number as written.
    Number(String),
    /// `{`
    OpenBrace,
    /// `}`
    CloseBrace,
    /// `[`
    OpenBracket,
    /// `]`
    CloseBracket,
    /// `=`
    Equals,
    /// `:`
    Colon,
    /// `,`
    Comma,
    /// The end of the text.
    End,
}

impl Token {
    /// The token in the words of an error message.
    pub fn name(&self) -> String {
        match self {
            Token::Text(text) => format!("the string {:?}", shortened(text)),
            Token::Word(word) => format!("the word {}", shortened(word)),
            Token::Number(number) => format!("the number {}", shortened(number)),
            Token::OpenBrace => "'{'".into(),
            Token::CloseBrace => "'}'".into(),
            Token::OpenBracket => "'['".into(),
            Token::CloseBracket => "']'".into(),
            Token::Equals => "'='".into(),
            Token::Colon => "':'".into(),
            Token::Comma => "','".into(),
            Token::End => "the end of the file".into(),
        }
    }
}

/// Splits a text into tokens.
pub struct Lexer<'t> {
    rest: &'t str,
    format: Format,
    line: u32,
    token_line: u32,
    ahead: Option<(Token, u32)>,
}

impl<'t> Lexer<'t> {
    /// A lexer at the beginning of `text`.
    pub fn new(text: &'t str, format: Format) -> Self {
        Lexer { rest: text, format, line: 1, token_line: 1, ahead: None }
    }

    /// The line on which the last token that was taken begins.
    pub fn token_line(&self) -> u32 {
        self.token_line
    }

    /// Looks at the next token without taking it.
    pub fn peek(&mut self) -> Result<&Token, Problem> {
        if self.ahead.is_none() {
            self.ahead = Some(self.scan()?);
        }
        Ok(self.ahead.as_ref().map(|(token, _)| token).expect("filled above"))
    }

    /// Takes the next token.
    pub fn take(&mut self) -> Result<Token, Problem> {
        let (token, line) = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.scan()?,
        };
        self.token_line = line;
        Ok(token)
    }

    fn scan(&mut self) -> Result<(Token, u32), Problem> {
        self.skip_blank()?;
        let line = self.line;
        let Some(first) = self.rest.chars().next() else { return Ok((Token::End, line)) };
        let token = match first {
            '{' => self.symbol(Token::OpenBrace),
            '}' => self.symbol(Token::CloseBrace),
            '[' => self.symbol(Token::OpenBracket),
            ']' => self.symbol(Token::CloseBracket),
            ',' => self.symbol(Token::Comma),
            ':' => self.symbol(Token::Colon),
            '=' => self.symbol(Token::Equals),
            '"' => self.string()?,
            '<' if self.format == Format::Hcl => self.heredoc()?,
            '-' | '+' | '0'..='9' => self.number(),
            c if c.is_alphabetic() || c == '_' => self.word(),
            c => return Err(Problem::at(line, format!("the character {c:?} has no meaning here"))),
        };
        Ok((token, line))
    }

    fn symbol(&mut self, token: Token) -> Token {
        self.rest = &self.rest[1..];
        token
    }

    /// White space, and in HCL comments.
    fn skip_blank(&mut self) -> Result<(), Problem> {
        loop {
            let trimmed = self.rest.trim_start();
            let blank = &self.rest[..self.rest.len() - trimmed.len()];
            self.line = self.line.saturating_add(count_lines(blank));
            self.rest = trimmed;
            if self.format == Format::Json {
                return Ok(());
            }
            if trimmed.starts_with('#') || trimmed.starts_with("//") {
                self.rest = &trimmed[trimmed.find('\n').unwrap_or(trimmed.len())..];
            } else if let Some(comment) = trimmed.strip_prefix("/*") {
                let Some(end) = comment.find("*/") else {
                    return Err(Problem::at(self.line, "this comment is never closed with */"));
                };
                self.line = self.line.saturating_add(count_lines(&comment[..end]));
                self.rest = &comment[end + 2..];
            } else {
                return Ok(());
            }
        }
    }

    fn word(&mut self) -> Token {
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Token::Word(word.to_owned())
    }

    fn number(&mut self) -> Token {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        Token::Number(number.to_owned())
    }

    fn string(&mut self) -> Result<Token, Problem> {
        let begin = self.line;
        let unclosed = || Problem::at(begin, "this string is never closed");
        let mut text = String::new();
        let mut rest = &self.rest[1..];
        let mut braces = 0usize;
        loop {
            let mut chars = rest.chars();
            let c = chars.next().ok_or_else(unclosed)?;
            let after = chars.as_str();
            match c {
                '"' if braces == 0 => {
                    self.rest = after;
                    return Ok(Token::Text(text));
                }
                '\\' if braces == 0 => {
                    let (escaped, tail) = escape(after, self.format)
                        .ok_or_else(|| Problem::at(begin, "unknown escape in this string"))?;
                    text.push(escaped);
                    rest = tail;
                    continue;
                }
                '\n' if braces == 0 => {
                    return Err(Problem::at(begin, "this string is not closed on its line"));
                }
                '\n' => self.line = self.line.saturating_add(1),
                '$' if self.format == Format::Hcl && after.starts_with('{') => {
                    braces += 1;
                    text.push_str("${");
                    rest = &after[1..];
                    continue;
                }
                '{' if braces > 0 => braces += 1,
                '}' if braces > 0 => braces -= 1,
                _ => {}
            }
            text.push(c);
            rest = after;
        }
    }

    /// `<<NAME` or `<<-NAME`, lines, and NAME on a line of its own.
    fn heredoc(&mut self) -> Result<Token, Problem> {
        let begin = self.line;
        let wrong = |what: &str| Problem::at(begin, what.to_owned());
        let body = self.rest.strip_prefix("<<").ok_or_else(|| wrong("a lone '<'"))?;
        let (indented, body) = match body.strip_prefix('-') {
            Some(body) => (true, body),
            None => (false, body),
        };
        let (name, mut rest) =
            body.split_once('\n').ok_or_else(|| wrong("this heredoc has no lines"))?;
        let name = name.trim_end_matches('\r');
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(wrong("a heredoc begins with <<NAME"));
        }
        let mut lines = Vec::new();
        self.line = self.line.saturating_add(1);
        loop {
            let (line, tail) = rest.split_once('\n').unwrap_or((rest, ""));
            if line.trim() == name {
                // The newline after the name stays, to be counted as white space.
                self.rest = &rest[line.len()..];
                break;
            }
            if rest.is_empty() {
                return Err(Problem::at(
                    begin,
                    format!("this heredoc is never closed with {name}"),
                ));
            }
            lines.push(line);
            self.line = self.line.saturating_add(1);
            rest = tail;
        }
        Ok(Token::Text(heredoc_text(&lines, indented)))
    }
}

fn heredoc_text(lines: &[&str], indented: bool) -> String {
    let indent = |line: &&str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let filled = lines.iter().filter(|line| !line.trim().is_empty());
    let margin = if indented { filled.map(indent).min().unwrap_or(0) } else { 0 };
    let mut text = String::new();
    for line in lines {
        text.push_str(line.get(margin..).unwrap_or(""));
        text.push('\n');
    }
    text
}

/// What the escape at the beginning of `text` (after its backslash) means, and what follows it.
fn escape(text: &str, format: Format) -> Option<(char, &str)> {
    let mut chars = text.chars();
    let plain = match chars.next()? {
        '"' => '"',
        '\\' => '\\',
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        '/' => '/',
        'u' => return unicode_escape(chars.as_str()),
        'a' if format == Format::Hcl => '\u{7}',
        'v' if format == Format::Hcl => '\u{b}',
        'x' if format == Format::Hcl => return hex_escape(chars.as_str(), 2),
        'U' if format == Format::Hcl => return hex_escape(chars.as_str(), 8),
        _ => return None,
    };
    Some((plain, chars.as_str()))
}

fn unicode_escape(text: &str) -> Option<(char, &str)> {
    let high = u32::from_str_radix(text.get(..4)?, 16).ok()?;
    let rest = &text[4..];
    if !(0xd800..0xdc00).contains(&high) {
        return Some((char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), rest));
    }
    let low = rest.strip_prefix("\\u").and_then(|low| low.get(..4));
    let low = low.and_then(|low| u32::from_str_radix(low, 16).ok());
    match low.filter(|low| (0xdc00..0xe000).contains(low)) {
        Some(low) => {
            let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            Some((char::from_u32(code)?, &rest[6..]))
        }
        None => Some((char::REPLACEMENT_CHARACTER, rest)),
    }
}

fn hex_escape(text: &str, digits: usize) -> Option<(char, &str)> {
    let code = u32::from_str_radix(text.get(..digits)?, 16).ok()?;
    Some((char::from_u32(code)?, &text[digits..]))
}

fn count_lines(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|byte| *byte == b'\n').count()).unwrap_or(u32::MAX)
}

fn shortened(text: &str) -> String {
    const SHOWN_MAX: usize = 40;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}
