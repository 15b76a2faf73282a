//! A second, naive implementation as judge: generated expressions over generated objects, asked
//! of the filter and of an interpreter that looks things up in the objects' JSON.

use proptest::prelude::*;
use serde_json::Value as Json;

use super::sample::{Address, Addresses, Check, Instance, Service};
use crate::filter::{Filter, Shaped as _};

/// An expression before it is text.
#[derive(Debug, Clone)]
enum Tree {
    Or(Box<Tree>, Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Not(Box<Tree>),
    Leaf { path: Vec<&'static str>, operator: &'static str, value: String },
}

impl Tree {
    fn text(&self) -> String {
        match self {
            Self::Or(left, right) => format!("({}) or ({})", left.text(), right.text()),
            Self::And(left, right) => format!("({}) and ({})", left.text(), right.text()),
            Self::Not(part) => format!("not ({})", part.text()),
            Self::Leaf { path, operator, value } => {
                let mut selector = path[0].to_owned();
                for part in &path[1..] {
                    selector += &format!("[`{part}`]").replace("[`Port`]", ".Port");
                }
                // Fields of objects are reached by a dot or by brackets alike.
                match *operator {
                    "in" | "not in" => format!("`{value}` {operator} {selector}"),
                    "is empty" | "is not empty" => format!("{selector} {operator}"),
                    _ => format!("{selector} {operator} `{value}`"),
                }
            }
        }
    }

    fn holds(&self, object: &Json) -> bool {
        match self {
            Self::Or(left, right) => left.holds(object) || right.holds(object),
            Self::And(left, right) => left.holds(object) && right.holds(object),
            Self::Not(part) => !part.holds(object),
            Self::Leaf { path, operator, value } => leaf(Some(object), path, operator, value),
        }
    }
}

fn leaf(here: Option<&Json>, path: &[&str], operator: &str, value: &str) -> bool {
    match (here, path.split_first()) {
        (None, _) => !matches!(operator, "==" | "in" | "contains" | "is not empty"),
        (Some(Json::Array(items)), Some(_)) => {
            items.iter().any(|item| leaf(Some(item), path, operator, value))
        }
        (Some(json), Some((name, rest))) => leaf(json.get(name), rest, operator, value),
        (Some(json), None) => compare(json, operator, value),
    }
}

fn compare(json: &Json, operator: &str, value: &str) -> bool {
    let is_equal = || match json {
        Json::String(text) => text == value,
        Json::Number(number) => number.to_string() == value,
        Json::Bool(flag) => flag.to_string() == value,
        _ => false,
    };
    let is_in = || match json {
        Json::String(text) => text.contains(value),
        Json::Array(items) => items.iter().any(|item| item == value),
        Json::Object(keys) => keys.contains_key(value),
        _ => false,
    };
    let is_empty = || match json {
        Json::Array(items) => items.is_empty(),
        Json::Object(keys) => keys.is_empty(),
        _ => false,
    };
    let matches = || {
        regex::Regex::new(value)
            .expect("the values are patterns")
            .is_match(json.as_str().expect("only strings are matched"))
    };
    match operator {
        "==" => is_equal(),
        "!=" => !is_equal(),
        "in" | "contains" => is_in(),
        "not in" | "not contains" => !is_in(),
        "is empty" => is_empty(),
        "is not empty" => !is_empty(),
        "matches" => matches(),
        _ => !matches(),
    }
}

// ------------------------------------------------------------------------------------------------
// What is generated
// ------------------------------------------------------------------------------------------------

/// Few words, so that comparisons are often true.
fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "b", "ab", "web", "k", "lan", "é"]).prop_map(str::to_owned)
}

fn leaf_tree() -> impl Strategy<Value = Tree> {
    let text = leaves(
        &[
            &["Name"],
            &["Service", "ID"],
            &["Meta", "a"],
            &["Meta", "k"],
            &["Checks", "Status"],
            &["Checks", "Meta", "k"],
            &["Addresses", "lan", "Address"],
        ],
        &["==", "!=", "in", "not in", "contains", "not contains", "matches", "not matches"],
        word().boxed(),
    );
    let number = leaves(
        &[&["Port"], &["Small"], &["Service", "Port"], &["Addresses", "lan", "Port"]],
        &["==", "!="],
        (0u16..4).prop_map(|it| it.to_string()).boxed(),
    );
    let flag =
        leaves(&[&["Flag"]], &["==", "!="], any::<bool>().prop_map(|it| it.to_string()).boxed());
    let many = leaves(
        &[&["Tags"], &["Meta"], &["Checks", "Tags"], &["Checks", "Meta"], &["Addresses"]],
        &["in", "not in", "contains", "not contains", "is empty", "is not empty"],
        word().boxed(),
    );
    let list = leaves(&[&["Checks"]], &["is empty", "is not empty"], word().boxed());
    prop_oneof![4 => text, 2 => number, 1 => flag, 3 => many, 1 => list]
}

fn leaves(
    paths: &'static [&'static [&'static str]],
    operators: &'static [&'static str],
    value: BoxedStrategy<String>,
) -> impl Strategy<Value = Tree> {
    (prop::sample::select(paths), prop::sample::select(operators), value)
        .prop_map(|(path, operator, value)| Tree::Leaf { path: path.to_vec(), operator, value })
}

fn tree() -> impl Strategy<Value = Tree> {
    leaf_tree().prop_recursive(4, 24, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone())
                .prop_map(|(left, right)| Tree::Or(Box::new(left), Box::new(right))),
            (inner.clone(), inner.clone())
                .prop_map(|(left, right)| Tree::And(Box::new(left), Box::new(right))),
            inner.prop_map(|part| Tree::Not(Box::new(part))),
        ]
    })
}

fn words() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(word(), 0..3)
}

fn pairs() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    prop::collection::btree_map(word(), word(), 0..3)
}

fn check() -> impl Strategy<Value = Check> {
    (word(), words(), pairs()).prop_map(|(status, tags, meta)| Check { status, tags, meta })
}

fn instance() -> impl Strategy<Value = Instance> {
    let address = (word(), 0i64..4).prop_map(|(address, port)| Address { address, port }).boxed();
    let service =
        (word(), 0i64..4, words()).prop_map(|(id, port, tags)| Service { id, port, tags });
    (
        (word(), 0i64..4, 0u16..4, any::<bool>(), words(), pairs()),
        prop::collection::vec(check(), 0..3),
        service,
        prop::collection::btree_map(word(), address, 0..3).prop_map(Addresses),
    )
        .prop_map(|((name, port, small, flag, tags, meta), checks, service, addresses)| {
            Instance {
                name,
                port,
                small,
                flag,
                tags,
                meta,
                checks,
                service,
                addresses,
                ..Instance::default()
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_judge_agrees(tree in tree(), object in instance()) {
        let text = tree.text();
        let filter = Filter::compile(&text, Instance::SHAPE)
            .map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        let json = serde_json::to_value(&object).expect("objects have a JSON form");
        prop_assert_eq!(filter.keeps(&object), tree.holds(&json), "{}", text);
    }

    #[test]
    fn no_text_stops_the_process(text in r#"[a-zA-Z0-9 ."`\[\]()=!\\é\n-]{0,80}"#) {
        let _ = Filter::compile(&text, Instance::SHAPE);
    }

    #[test]
    fn no_run_of_words_stops_the_process(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "not ", "and ", "or ", "in ", "is ", "empty ", "contains ", "matches ", "==", "!=",
                "(", ")", "[", "]", ".", "Name ", "Meta", "Port ", "80 ", "-1", "`a`", "\"\\x\"",
                "\"\\u00e9\" ", "`[`", "`(?`", "é",
            ]),
            0..24,
        ),
    ) {
        let _ = Filter::compile(&words.concat(), Instance::SHAPE);
    }

    #[test]
    fn no_pattern_stops_the_process(pattern in r"[abdwsQEpPxUB0-9\\\[\]{}(),:?^$|*+&~.é-]{0,24}") {
        let text = format!("Name matches `{pattern}` and Flag == true");
        if let Ok(filter) = Filter::compile(&text, Instance::SHAPE) {
            let _ = filter.keeps(&Instance { name: "ab é".to_owned(), ..Instance::default() });
        }
    }
}
