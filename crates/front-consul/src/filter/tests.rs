//! What the filter language means, claim by claim.
//!
//! The objects are the three of [`sample::objects`]. `oracle.txt` holds what go-bexpr 0.1.2
//! answered for the same three: `T` kept, `F` not kept, `---` refused. `judge.rs` compares with a
//! second, naive implementation on generated expressions.

mod judge;
mod sample;

use std::time::Duration;

use super::*;
use sample::{Instance, objects};

/// The answer in the oracle's notation.
fn answer(expression: &str) -> String {
    let Ok(filter) = Filter::compile(expression, Instance::SHAPE) else {
        return "---".to_owned();
    };
    objects().iter().map(|object| if filter.keeps(object) { 'T' } else { 'F' }).collect()
}

fn refusal(expression: &str) -> String {
    let refused = Filter::compile(expression, Instance::SHAPE);
    refused.expect_err("this expression is refused").to_string()
}

#[test]
fn every_answer_equals_the_recorded_one() {
    let recorded = include_str!("tests/oracle.txt");
    let lines = recorded.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut compared = 0;
    for line in lines {
        let (expected, expression) = line.split_once(' ').expect("answer, space, expression");
        assert_eq!(answer(expression), expected, "{expression}");
        compared += 1;
    }
    assert!(compared > 200, "only {compared} lines in the oracle's file");
}

#[test]
fn the_empty_expression_keeps_everything() {
    let filter = Filter::compile("", Instance::SHAPE).expect("empty is no filter");
    assert!(filter.is_everything());
    assert_eq!(answer(""), "TTT");
    assert_eq!(answer(" "), "---");
}

#[test]
fn a_missing_map_key_matches_every_regular_expression() {
    assert_eq!(answer("Meta.nope matches `^never$`"), "TTT");
    assert_eq!(answer("Meta.nope not matches `^never$`"), "TTT");
    assert_eq!(answer("Meta.nope == never"), "FFF");
    assert_eq!(answer("Meta.nope != never"), "TTT");
    assert_eq!(answer("never in Meta.nope"), "FFF");
}

#[test]
fn not_equal_through_a_list_means_some_element_differs() {
    // The first object has a passing and a critical check, the second has none.
    assert_eq!(answer("Checks.Status == critical"), "TFF");
    assert_eq!(answer("Checks.Status != critical"), "TFT");
    assert_eq!(answer("not Checks.Status == critical"), "FTT");
}

#[test]
fn a_bare_dotted_word_is_a_value() {
    assert_eq!(answer("Meta.env == production"), "TFF");
    assert_eq!(answer("Meta[\"a.b\"] == dot"), "TFF");
    assert_eq!(answer("a.b in Meta"), "TFF");
    assert_eq!(answer("a[\"b\"] in Meta"), "TFF");
}

#[test]
fn the_words_of_the_language_are_not_reserved() {
    assert_eq!(answer("not == not"), "TFF");
    assert_eq!(answer("not in in"), "TFF");
    assert_eq!(answer("is is not empty"), "TFF");
    assert_eq!(answer("not not in in"), "FTT");
}

#[test]
fn white_space_includes_line_breaks_and_stands_around_words() {
    assert_eq!(answer("\t\r\n Name \t\r\n == \t\r\n web \t\r\n"), "TFF");
    assert_eq!(answer("(Name == web)and(Port == 80)"), "---");
    assert_eq!(answer("not(Name == web)"), "---");
    assert_eq!(answer("Name==web"), "TFF");
}

#[test]
fn and_binds_tighter_than_or() {
    assert_eq!(answer("Name == web or Port == 0 and Port == 1"), "TFF");
    assert_eq!(answer("(Name == web or Port == 0) and Port == 1"), "FFF");
    assert_eq!(answer("not Name == web and Port == 0"), "FFT");
    assert_eq!(answer("not (Name == web and Port == 0)"), "TTT");
}

#[test]
fn a_double_quoted_string_has_escapes_and_a_raw_one_has_none() {
    assert_eq!(answer(r#"Name == "caf\u00e9 \u0667""#), "FTF");
    assert_eq!(answer(r#"Name == "\167\x65b""#), "TFF");
    assert_eq!(answer("Name contains `\"quoted\"`"), "FFT");
    assert_eq!(answer(r"Name == `\x77eb`"), "FFF");
    assert_eq!(answer("Name == \"we\nb\""), "---");
    assert_eq!(answer("Name == `w\reb`"), "TFF");
    assert_eq!(answer(r#"Name == "\xff""#), "---", "no field can hold this");
}

#[test]
fn an_integer_in_quotes_may_have_a_base() {
    assert_eq!(answer(r#"Port == "0x50""#), "TFF");
    assert_eq!(answer("Port == 0x50"), "---");
    assert_eq!(answer(r#"Port == "0b101_0000""#), "TFF");
    assert_eq!(answer(r#"Port == "0120""#), "TFF");
    assert_eq!(answer("Port == 80.5"), "---");
    assert_eq!(answer("Small == 65536"), "---", "the field holds 16 bits");
}

#[test]
fn an_unknown_field_is_an_error_even_over_nothing() {
    assert_eq!(
        refusal("Naem == web"),
        "Failed to create boolean expression evaluator: Selector \"Naem\" is not valid"
    );
    assert!(refusal("Service.Nope == 1").ends_with("Selector \"Service.Nope\" is not valid"));
    assert!(refusal("name == web").contains("\"name\""), "names are case-sensitive");
    assert!(refusal("Index == 1").contains("\"Index\""), "not every field is filterable");
}

#[test]
fn an_operator_that_does_not_fit_the_field_is_an_error() {
    for (expression, named) in [
        ("Name is empty", "\"Is Empty\" for selector \"Name\""),
        ("Tags == a", "\"Equal\" for selector \"Tags\""),
        ("Meta matches a", "\"Matches\" for selector \"Meta\""),
        ("Port contains 8", "\"In\" for selector \"Port\""),
        ("Service is not empty", "\"Is Not Empty\" for selector \"Service\""),
        ("a not in Checks", "\"Not In\" for selector \"Checks\""),
    ] {
        let expected = format!("{PREFIX}Invalid match operator {named}");
        assert_eq!(refusal(expression), expected);
    }
}

#[test]
fn a_syntax_error_says_where() {
    for (expression, problem) in [
        ("Name == \"12x", "1:13 (12): rule \"string\": Unterminated string literal"),
        ("Port == 3x", "1:10 (9): rule \"number\": Invalid number literal"),
        ("Meta[3] == abc", "1:6 (5): rule \"index\": Invalid index"),
        ("x in Meta[\"abc\"", "1:16 (15): rule \"index\": Unclosed index expression"),
        ("x in 32", "1:6 (5): rule \"match\": Invalid selector"),
        ("(Port == 4", "1:11 (10): rule \"grouping\": Unmatched parentheses"),
        ("Name ==\n é", "2:2 (9): no match found, expected: [a-zA-Z], number, string"),
        ("x in Tags abc", "1:11 (10): no match found, expected: EOF, and, or"),
    ] {
        assert_eq!(refusal(expression), format!("{PREFIX}{problem}"), "{expression}");
    }
}

#[test]
fn a_class_of_digits_or_words_is_ascii() {
    // The second object's name ends with an Arabic digit and holds an accented letter.
    assert_eq!(answer(r"Name matches `\d`"), "FFF");
    assert_eq!(answer(r"Name matches `\pN`"), "FTF");
    assert_eq!(answer(r"Name matches `^[\w]+$`"), "TFF");
    assert_eq!(answer(r"Name matches `^caf. .$`"), "FTF");
}

#[test]
fn what_the_engine_knows_beyond_go_is_refused_or_plain() {
    for pattern in
        [r"(?x)a b", r"(?R)a", r"a\h", r"a{1001}", r"(?=a)", r"\1", r"[\b]", r"\xg", r"\p{"]
    {
        assert_eq!(answer(&format!("Name matches `{pattern}`")), "---", "{pattern}");
    }
    assert_eq!(answer(r"Name matches `\<`"), "FFF", "a plain sign, not a word's begin");
    assert_eq!(answer("Name matches `[a&&w]eb`"), "TFF");
    assert_eq!(answer("Name matches `[[w]eb`"), "TFF");
}

#[test]
fn a_giant_regular_expression_is_refused_with_bounded_work() {
    let giants = [
        r"(\pL{1000}){1000}".to_owned(),
        r"((((\pL{99}){99}){99}){99})".to_owned(),
        "(".repeat(900) + &")".repeat(900),
        "a".repeat(PATTERN_BYTES_MAX + 1),
    ];
    for giant in giants {
        let text = refusal(&format!("Name matches `{giant}`"));
        assert!(text.starts_with(&format!("{PREFIX}Failed to compile regular")), "{text}");
        assert!(text.len() < 400, "the message is short: {} bytes", text.len());
    }
}

#[test]
fn an_expression_beyond_a_limit_is_refused() {
    let nots = "not ".repeat(NESTING_MAX + 1) + "Flag == true";
    let parentheses = "(".repeat(NESTING_MAX + 1) + "Flag == true" + &")".repeat(NESTING_MAX + 1);
    let matches = vec!["Port==1"; MATCHES_MAX + 1].join(" or ");
    let patterns = vec!["Name matches a"; PATTERNS_MAX + 1].join(" or ");
    let long = format!("Name == `{}`", "x".repeat(EXPRESSION_BYTES_MAX));
    for (expression, of) in [
        (&nots, "levels of nesting"),
        (&parentheses, "levels of nesting"),
        (&matches, "matches"),
        (&patterns, "regular expressions"),
        (&long, "bytes"),
    ] {
        let text = refusal(expression);
        assert!(text.contains(of), "{text}");
    }
    let deepest = "(".repeat(NESTING_MAX) + "Flag == true" + &")".repeat(NESTING_MAX);
    assert_eq!(answer(&deepest), "TFF");
}

/// Alternatives that are tried again inside alternatives take a power of the depth; here the
/// deepest expressions allowed have to be read in no time.
#[test]
fn reading_stays_linear_in_nested_text() {
    let begun = tokio::time::Instant::now();
    for _ in 0..100 {
        let open = "(".repeat(NESTING_MAX);
        assert_eq!(answer(&format!("{open}Flag == true")), "---");
        let nots = "not ".repeat(NESTING_MAX - 1);
        assert_eq!(answer(&format!("{nots}{open}")), "---");
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
}
