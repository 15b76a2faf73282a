//! Checking an expression against a shape: names become field numbers, words become values.
//!
//! Which operator fits which kind of field is the table in [`test_for`].

use super::evaluate::{Match, Node, Step, Test};
use super::fields::{Kind, Shape};
use super::grammar::{Comparison, Expression, Operator};
use super::{FilterError, PATTERNS_MAX, literal, pattern};

/// Turns a parsed expression into one that can be asked of objects of this shape.
pub(super) fn check(expression: Expression, shape: &'static Shape) -> Result<Node, FilterError> {
    Checker { shape, patterns: 0 }.node(expression)
}

struct Checker {
    shape: &'static Shape,
    /// Regular expressions compiled so far, at most `PATTERNS_MAX`.
    patterns: usize,
}

impl Checker {
    fn node(&mut self, expression: Expression) -> Result<Node, FilterError> {
        Ok(match expression {
            Expression::Any(parts) => Node::Any(self.nodes(parts)?),
            Expression::All(parts) => Node::All(self.nodes(parts)?),
            Expression::Not(part) => Node::Not(Box::new(self.node(*part)?)),
            Expression::Match(comparison) => Node::Match(self.comparison(comparison)?),
        })
    }

    fn nodes(&mut self, parts: Vec<Expression>) -> Result<Vec<Node>, FilterError> {
        parts.into_iter().map(|part| self.node(part)).collect()
    }

    fn comparison(&mut self, comparison: Comparison) -> Result<Match, FilterError> {
        let Comparison { selector, operator, is_negated } = comparison;
        let (path, kind) = resolve(self.shape, &selector)?;
        if matches!(operator, Operator::Matches(_)) {
            self.patterns += 1;
            if self.patterns > PATTERNS_MAX {
                let of = "regular expressions";
                return Err(FilterError::TooLarge { limit: PATTERNS_MAX, of });
            }
        }
        let test = test_for(operator, is_negated, kind, &selector)?;
        Ok(Match { path, test, is_negated })
    }
}

/// Follows a selector through the shape, from a field of the object onward.
fn resolve(shape: &'static Shape, selector: &[String]) -> Result<(Vec<Step>, Kind), FilterError> {
    let mut path = Vec::with_capacity(selector.len());
    let mut here = Kind::Struct(shape);
    for (nth, name) in selector.iter().enumerate() {
        let next = match here {
            Kind::Struct(shape) | Kind::Structs(shape) => field(shape, name),
            Kind::Map(Some(values)) => Some((Step::Key(name.clone()), *values)),
            _ => None,
        };
        let Some((step, kind)) = next else {
            return Err(FilterError::UnknownField { selector: selector[..=nth].join(".") });
        };
        path.push(step);
        here = kind;
    }
    Ok((path, here))
}

fn field(shape: &'static Shape, name: &str) -> Option<(Step, Kind)> {
    let position = shape.fields.iter().position(|(known, _)| *known == name)?;
    Some((Step::Field(position), shape.fields[position].1))
}

/// The one place that says which operator fits which kind, and what its value becomes.
fn test_for(
    operator: Operator,
    is_negated: bool,
    kind: Kind,
    selector: &[String],
) -> Result<Test, FilterError> {
    let name = operator.name(is_negated);
    let wrong_value = |value: &str, problem| FilterError::WrongValue {
        value: value.to_owned(),
        selector: selector.join("."),
        problem,
    };
    match (operator, kind) {
        (Operator::Equal(text), Kind::Text) => Ok(Test::EqualText(text)),
        (Operator::Equal(text), Kind::Integer(range)) => literal::integer(&text, range)
            .map(Test::EqualInteger)
            .map_err(|problem| wrong_value(&text, problem)),
        (Operator::Equal(text), Kind::Flag) => {
            literal::flag(&text).map(Test::EqualFlag).map_err(|problem| wrong_value(&text, problem))
        }
        (Operator::In(text), Kind::Text | Kind::Texts | Kind::Map(_)) => Ok(Test::In(text)),
        (Operator::Empty, Kind::Texts | Kind::Map(_) | Kind::Structs(_)) => Ok(Test::Empty),
        (Operator::Matches(text), Kind::Text) => pattern::compile(&text).map(Test::Matches),
        _ => Err(FilterError::WrongOperator { operator: name, selector: selector.join(".") }),
    }
}
