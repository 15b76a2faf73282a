//! Filling in the template of a stored question.
//!
//! A template answers for every name that starts with its own. Its texts may hold `${name.full}`,
//! `${name.prefix}`, `${name.suffix}`, `${match(N)}` (the N-th group of its regular expression) and
//! `${agent.segment}`; `$${` stands for `${` itself. Both, texts and expression, are looked at when
//! the question is stored, so filling in cannot fail later.
//!
//! Expressions are bounded in size, and matching takes time linear in the name.

use muster_model::Text;
use muster_model::prepared::{PreparedQuery, PreparedService, Template};
use regex::{Regex, RegexBuilder};

/// Bytes that a compiled expression may take.
const REGEX_BYTES_MAX: usize = 256 * 1024;

/// What a template's variables stand for.
struct Variables<'a> {
    name: &'a str,
    prefix: &'a str,
    groups: Vec<&'a str>,
}

/// What is wrong with a template, for its author.
pub(crate) fn fault(query: &PreparedQuery) -> Option<String> {
    let template = query.as_template()?;
    if let Err(error) = compile(template) {
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default();
        return Some(format!("the expression of the template is not valid: {reason}"));
    }
    let mut fault = None;
    let mut service = query.service.clone();
    for_each_text(&mut service, &mut |text| {
        if let Err(unknown) = expand(text, &|_| Some(String::new())) {
            fault.get_or_insert(unknown);
        }
    });
    fault
}

/// The question that `name` leads to. A question without a template is given as it is.
pub(crate) fn filled_in(query: &PreparedQuery, name: &str) -> PreparedQuery {
    let mut query = query.clone();
    let Some(template) = query.as_template().cloned() else { return query };
    let regex = compile(&template).ok().flatten();
    let captures = regex.as_ref().and_then(|regex| regex.captures(name));
    let groups = captures.iter().flat_map(|found| found.iter());
    let groups = groups.map(|group| group.map_or("", |own| own.as_str())).collect();
    let prefix = query.name.clone();
    let variables = Variables { name, prefix: &prefix, groups };
    for_each_text(&mut query.service, &mut |text| {
        if let Ok(filled) = expand(text, &|variable| variables.value(variable)) {
            *text = filled.into();
        }
    });
    if template.remove_empty_tags {
        query.service.tags.retain(|tag| !tag.is_empty());
    }
    query
}

fn compile(template: &Template) -> Result<Option<Regex>, regex::Error> {
    if template.regexp.is_empty() {
        return Ok(None);
    }
    RegexBuilder::new(&template.regexp).size_limit(REGEX_BYTES_MAX).build().map(Some)
}

impl Variables<'_> {
    fn value(&self, variable: &Variable) -> Option<String> {
        Some(match variable {
            Variable::Full => self.name.into(),
            Variable::Prefix => self.prefix.into(),
            Variable::Suffix => self.name.get(self.prefix.len()..)?.into(),
            Variable::Match(number) => (*self.groups.get(*number).unwrap_or(&"")).into(),
            Variable::Segment => String::new(),
        })
    }
}

enum Variable {
    Full,
    Prefix,
    Suffix,
    Match(usize),
    Segment,
}

impl Variable {
    fn parse(word: &str) -> Result<Variable, String> {
        Ok(match word.trim() {
            "name.full" => Variable::Full,
            "name.prefix" => Variable::Prefix,
            "name.suffix" => Variable::Suffix,
            "agent.segment" => Variable::Segment,
            other => {
                let number = other.strip_prefix("match(").and_then(|rest| rest.strip_suffix(')'));
                let number = number.and_then(|digits| digits.trim().parse().ok());
                Variable::Match(number.ok_or_else(|| format!("${{{word}}} is no variable"))?)
            }
        })
    }
}

/// Replaces every variable of `text`.
fn expand(text: &str, value: &impl Fn(&Variable) -> Option<String>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            filled.push_str(&rest[..at - 1]);
            filled.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        filled.push_str(&rest[..at]);
        let inside = &rest[at + 2..];
        let end = inside.find('}').ok_or("a ${ is not closed")?;
        filled.push_str(&value(&Variable::parse(&inside[..end])?).unwrap_or_default());
        rest = &inside[end + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Visits every text of what a question asks for.
fn for_each_text(service: &mut PreparedService, visit: &mut dyn FnMut(&mut Text)) {
    visit(&mut service.service);
    visit(&mut service.near);
    service.failover_datacenters.iter_mut().for_each(&mut *visit);
    service.ignored_check_ids.iter_mut().for_each(&mut *visit);
    service.tags.iter_mut().for_each(&mut *visit);
    for target in &mut service.failover_targets {
        visit(&mut target.datacenter);
        visit(&mut target.peer);
    }
    for meta in [&mut service.node_meta, &mut service.meta] {
        let filled: muster_model::Meta = meta
            .iter()
            .map(|(key, value)| {
                let mut value = value.clone();
                visit(&mut value);
                (key.clone(), value)
            })
            .collect();
        *meta = filled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(service: &str, regexp: &str) -> PreparedQuery {
        let mut query = PreparedQuery { name: "geo-".into(), ..PreparedQuery::default() };
        query.service.service = service.into();
        query.template = Some(Template {
            kind: "name_prefix_match".into(),
            regexp: regexp.into(),
            ..Template::default()
        });
        query
    }

    #[test]
    fn variables_are_filled_in() {
        let cases = [
            ("${name.full}", "", "geo-web-eu"),
            ("${name.prefix}x", "", "geo-x"),
            ("${name.suffix}", "", "web-eu"),
            ("${match(1)}.${match(2)}", "^geo-(.*)-(.*)$", "web.eu"),
            ("${match(9)}", "^geo-(.*)$", ""),
            ("${ match(0) }", "w.b", "web"),
            ("$${name.full}", "", "${name.full}"),
            ("a${agent.segment}b", "", "ab"),
        ];
        for (service, regexp, expected) in cases {
            let query = template(service, regexp);
            assert_eq!(fault(&query), None, "{service}");
            assert_eq!(filled_in(&query, "geo-web-eu").service.service, expected, "{service}");
        }
    }

    #[test]
    fn a_faulty_template_says_what_is_wrong() {
        assert!(fault(&template("${name.whole}", "")).unwrap().contains("no variable"));
        assert!(fault(&template("${name.full", "")).unwrap().contains("not closed"));
        assert!(fault(&template("web", "(")).unwrap().contains("not valid"));
        assert!(fault(&template("web", "(a{1000}){1000}")).is_some());
    }
}
