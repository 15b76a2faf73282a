//! Reading an expression: text into a tree of comparisons, by recursive descent.
//!
//! ```text
//! or       = and  ( space "or"  space and  )*
//! and      = not  ( space "and" space not  )*
//! not      = "not" space not | group
//! group    = "(" or ")" | match
//! match    = selector ("==" | "!=" | ["not"] ("contains" | "matches")) value
//!          | selector "is" ["not"] "empty"
//!          | value ["not"] "in" selector
//! selector = name ( "." name | "[" string "]" )*
//! value    = selector | number | string
//! ```
//!
//! The language is defined by a grammar whose alternatives are tried in order, so the words of
//! the language are not reserved: `not in Meta` asks for the key "not", `is is empty` asks whether
//! the field "is" is empty. A rule here therefore has three ends: it fits, it does not fit and
//! the next alternative is tried from the same place (`Ok(None)`), or the text is wrong whatever
//! else is tried (`Err`). The expected words at the furthest place that was reached make the
//! message when nothing fits. Going back never repeats more than one comparison, so the work is
//! linear in the text, but for a run of `not`, where it is the run's length more.

use super::{EXPRESSION_BYTES_MAX, FilterError, MATCHES_MAX, NESTING_MAX, literal};

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// Parts joined by `or`; two at least.
    Any(Vec<Expression>),
    /// Parts joined by `and`; two at least.
    All(Vec<Expression>),
    /// A part behind `not`.
    Not(Box<Expression>),
    /// One comparison.
    Match(Comparison),
}

/// One comparison, not yet checked against any shape.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Never empty.
    pub(super) selector: Vec<String>,
    pub(super) operator: Operator,
    pub(super) is_negated: bool,
}

/// What is compared, with the value as text. `contains` is `in` the other way round.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal(String),
    In(String),
    Empty,
    Matches(String),
}

impl Operator {
    /// Its name in Consul's messages.
    pub(super) fn name(&self, is_negated: bool) -> &'static str {
        match (self, is_negated) {
            (Self::Equal(_), false) => "Equal",
            (Self::Equal(_), true) => "Not Equal",
            (Self::In(_), false) => "In",
            (Self::In(_), true) => "Not In",
            (Self::Empty, false) => "Is Empty",
            (Self::Empty, true) => "Is Not Empty",
            (Self::Matches(_), false) => "Matches",
            (Self::Matches(_), true) => "Not Matches",
        }
    }
}

/// Reads the whole text.
pub(super) fn parse(text: &str) -> Result<Expression, FilterError> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(FilterError::TooLarge { limit: EXPRESSION_BYTES_MAX, of: "bytes" });
    }
    let mut parser = Parser::new(text);
    parser.space();
    let expression = parser.or()?;
    parser.space();
    match expression {
        Some(expression) if parser.is_at_end() => Ok(expression),
        _ => {
            parser.expects("EOF");
            Err(parser.nothing_fits())
        }
    }
}

/// The text and how far it is read. A rule that does not fit leaves `at` where it found it.
struct Parser<'a> {
    text: &'a str,
    at: usize,
    nesting: usize,
    matches: usize,
    /// The furthest place where something else was expected, and what: for the message.
    furthest: usize,
    expected: Vec<&'static str>,
}

type Fit<T> = Result<Option<T>, FilterError>;

// ------------------------------------------------------------------------------------------------
// Expressions
// ------------------------------------------------------------------------------------------------

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, nesting: 0, matches: 0, furthest: 0, expected: Vec::new() }
    }

    fn or(&mut self) -> Fit<Expression> {
        self.joined("or", Self::and, Expression::Any)
    }

    fn and(&mut self) -> Fit<Expression> {
        self.joined("and", Self::not, Expression::All)
    }

    /// One or more parts with the word between them. A word without a part behind it is left
    /// unread, and nothing else can begin with it.
    fn joined(
        &mut self,
        word: &'static str,
        part: fn(&mut Self) -> Fit<Expression>,
        join: fn(Vec<Expression>) -> Expression,
    ) -> Fit<Expression> {
        let Some(first) = part(self)? else { return Ok(None) };
        let mut parts = vec![first];
        loop {
            let before = self.at;
            if !(self.spaced(&[word]) && self.needs_space()) {
                self.at = before;
                break;
            }
            let Some(next) = part(self)? else {
                self.at = before;
                break;
            };
            parts.push(next);
        }
        Ok(if parts.len() == 1 { parts.pop() } else { Some(join(parts)) })
    }

    fn not(&mut self) -> Fit<Expression> {
        let before = self.at;
        if self.word("not") && self.needs_space() {
            self.descend()?;
            let operand = self.not()?;
            self.nesting -= 1;
            if let Some(operand) = operand {
                return Ok(Some(Expression::Not(Box::new(operand))));
            }
        }
        self.at = before;
        self.group()
    }

    fn group(&mut self) -> Fit<Expression> {
        let before = self.at;
        if !self.word("(") {
            return self.comparison();
        }
        self.descend()?;
        self.space();
        let inner = self.or()?;
        self.nesting -= 1;
        if inner.is_none() {
            self.at = before;
            return Ok(None);
        }
        self.space();
        if !self.word(")") {
            return Err(self.wrong("rule \"grouping\": Unmatched parentheses"));
        }
        Ok(inner)
    }

    fn descend(&mut self) -> Result<(), FilterError> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(FilterError::TooLarge { limit: NESTING_MAX, of: "levels of nesting" });
        }
        Ok(())
    }
}

// ------------------------------------------------------------------------------------------------
// Comparisons
// ------------------------------------------------------------------------------------------------

impl Parser<'_> {
    fn comparison(&mut self) -> Fit<Expression> {
        let before = self.at;
        let comparison = match self.selector_first()? {
            Some(comparison) => comparison,
            None => {
                self.at = before;
                match self.value_first()? {
                    Some(comparison) => comparison,
                    None => {
                        self.at = before;
                        return Ok(None);
                    }
                }
            }
        };
        self.matches += 1;
        if self.matches > MATCHES_MAX {
            return Err(FilterError::TooLarge { limit: MATCHES_MAX, of: "matches" });
        }
        Ok(Some(Expression::Match(comparison)))
    }

    /// `selector operator value`, `selector is empty`.
    fn selector_first(&mut self) -> Fit<Comparison> {
        let Some(selector) = self.selector()? else { return Ok(None) };
        let after = self.at;
        for (reads, operator, is_negated) in OPERATORS {
            self.at = after;
            if reads(self)
                && let Some(value) = self.value()?
            {
                let (operator, is_negated) = (operator(value), *is_negated);
                return Ok(Some(Comparison { selector, operator, is_negated }));
            }
        }
        for (words, is_negated) in [(&["is", "empty"][..], false), (&["is", "not", "empty"], true)]
        {
            self.at = after;
            if self.spaced(words) {
                return Ok(Some(Comparison { selector, operator: Operator::Empty, is_negated }));
            }
        }
        Ok(None)
    }

    /// `value in selector`.
    fn value_first(&mut self) -> Fit<Comparison> {
        let Some(value) = self.value()? else { return Ok(None) };
        let after = self.at;
        for (words, is_negated) in [(&["in"][..], false), (&["not", "in"], true)] {
            self.at = after;
            if self.spaced(words) && self.needs_space() {
                let Some(selector) = self.selector()? else {
                    return Err(self.wrong("rule \"match\": Invalid selector"));
                };
                let operator = Operator::In(value);
                return Ok(Some(Comparison { selector, operator, is_negated }));
            }
        }
        Ok(None)
    }
}

type Reads = fn(&mut Parser<'_>) -> bool;
type Makes = fn(String) -> Operator;

/// The operators between a selector and a value, in the order in which they are tried.
const OPERATORS: &[(Reads, Makes, bool)] = &[
    (|parser| parser.sign("=="), Operator::Equal, false),
    (|parser| parser.sign("!="), Operator::Equal, true),
    (|parser| parser.spaced(&["contains"]) && parser.needs_space(), Operator::In, false),
    (|parser| parser.spaced(&["not", "contains"]) && parser.needs_space(), Operator::In, true),
    (|parser| parser.spaced(&["matches"]) && parser.needs_space(), Operator::Matches, false),
    (|parser| parser.spaced(&["not", "matches"]) && parser.needs_space(), Operator::Matches, true),
];

// ------------------------------------------------------------------------------------------------
// Selectors and values
// ------------------------------------------------------------------------------------------------

impl Parser<'_> {
    fn selector(&mut self) -> Fit<Vec<String>> {
        let Some(first) = self.name() else { return Ok(None) };
        let mut selector = vec![first];
        loop {
            let before = self.at;
            if self.word(".") {
                let Some(name) = self.name() else {
                    self.at = before;
                    break;
                };
                selector.push(name);
            } else if self.word("[") {
                selector.push(self.key()?);
            } else {
                break;
            }
        }
        Ok(Some(selector))
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.rest();
        if !rest.starts_with(|it: char| it.is_ascii_alphabetic()) {
            self.expects("[a-zA-Z]");
            return None;
        }
        let end =
            rest.find(|it: char| !it.is_ascii_alphanumeric() && it != '_').unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        self.at += end;
        Some(name)
    }

    /// What follows an opening bracket.
    fn key(&mut self) -> Result<String, FilterError> {
        self.space();
        let Some(key) = self.string()? else {
            return Err(self.wrong("rule \"index\": Invalid index"));
        };
        self.space();
        if !self.word("]") {
            return Err(self.wrong("rule \"index\": Unclosed index expression"));
        }
        Ok(key)
    }

    /// A value as text. A bare dotted word is one: a selector that stands for its own name.
    fn value(&mut self) -> Fit<String> {
        if let Some(word) = self.selector()? {
            return Ok(Some(word.join(".")));
        }
        match self.number()? {
            Some(number) => Ok(Some(number)),
            None => self.string(),
        }
    }

    /// `-?(0|[1-9][0-9]*)(\.[0-9]+)?`, with space, `)` or the end behind it.
    fn number(&mut self) -> Fit<String> {
        let rest = self.rest();
        let digits = |from: usize| {
            rest[from..].bytes().position(|it| !it.is_ascii_digit()).unwrap_or(rest.len() - from)
        };
        let sign = usize::from(rest.starts_with('-'));
        let whole = if rest[sign..].starts_with('0') { 1 } else { digits(sign) };
        if whole == 0 {
            self.expects("number");
            return Ok(None);
        }
        let mut end = sign + whole;
        if rest[end..].starts_with('.') {
            let fraction = digits(end + 1);
            end += if fraction > 0 { 1 + fraction } else { 0 };
        }
        let number = rest[..end].to_owned();
        let is_complete = rest[end..].chars().next().is_none_or(|it| is_space(it) || it == ')');
        self.at += end;
        if !is_complete {
            return Err(self.wrong("rule \"number\": Invalid number literal"));
        }
        Ok(Some(number))
    }

    /// A string in backticks, as it stands, or in double quotes, with Go's escapes, but none for
    /// the double quote itself.
    fn string(&mut self) -> Fit<String> {
        let rest = self.rest();
        let Some(quote) = rest.chars().next().filter(|it| matches!(it, '"' | '`')) else {
            self.expects("string");
            return Ok(None);
        };
        let Some(length) = rest[1..].find(quote) else {
            self.at = self.text.len();
            return Err(self.wrong("rule \"string\": Unterminated string literal"));
        };
        let quoted = &rest[1..1 + length];
        let text = if quote == '`' {
            // Go drops carriage returns from raw strings.
            quoted.replace('\r', "")
        } else {
            literal::unquote(quoted).ok_or_else(|| self.wrong("rule \"string\": invalid syntax"))?
        };
        self.at += length + 2;
        Ok(Some(text))
    }
}

// ------------------------------------------------------------------------------------------------
// Words and places
// ------------------------------------------------------------------------------------------------

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Skips white space; says whether there was any.
    fn space(&mut self) -> bool {
        let rest = self.rest();
        let length = rest.len() - rest.trim_start_matches(is_space).len();
        self.at += length;
        length > 0
    }

    fn needs_space(&mut self) -> bool {
        let has_space = self.space();
        if !has_space {
            self.expects("white space");
        }
        has_space
    }

    /// Reads exactly these characters.
    fn word(&mut self, word: &'static str) -> bool {
        let fits = self.rest().starts_with(word);
        if fits {
            self.at += word.len();
        } else {
            self.expects(word);
        }
        fits
    }

    /// Reads words with white space before each; there need be none behind the last.
    fn spaced(&mut self, words: &[&'static str]) -> bool {
        words.iter().all(|word| self.needs_space() && self.word(word))
    }

    /// Reads a sign, with or without white space around it.
    fn sign(&mut self, sign: &'static str) -> bool {
        self.space();
        let fits = self.word(sign);
        self.space();
        fits
    }

    /// Notes what would have fitted here.
    fn expects(&mut self, what: &'static str) {
        if self.at > self.furthest {
            self.furthest = self.at;
            self.expected.clear();
        }
        if self.at == self.furthest && !self.expected.contains(&what) {
            self.expected.push(what);
        }
    }

    fn nothing_fits(&mut self) -> FilterError {
        self.expected.sort_unstable();
        self.at = self.furthest;
        self.wrong(&format!("no match found, expected: {}", self.expected.join(", ")))
    }

    fn wrong(&self, problem: &str) -> FilterError {
        let before = &self.text[..self.at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        FilterError::Syntax {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            offset: self.at,
            problem: problem.to_owned(),
        }
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}
