//! Naming schemas that an operator writes: `{service}-{env}.example.org`.
//!
//! A template is a pattern over the labels in front of its domain. `{service}` names the service,
//! `{env}` the environment (an instance's meta `env`, else its datacenter), `{tag}` a tag; all else
//! stands for itself. Names with the separator in them fit in more than one way
//! (`web-api-prod`): every way is tried, the longest service first, and the first that has an
//! instance wins.

use muster_model::Text;

use super::{Meaning, ServiceName};
use crate::limits::LABEL_BYTES_MAX;
use crate::settings::BadSettings;
use crate::wire::name::Name;

/// A pattern with the domain cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Field(Field),
    Literal(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Service,
    Env,
    Tag,
}

/// Ways in which one name may fit; more are not tried.
const FITS_MAX: usize = LABEL_BYTES_MAX;

impl Template {
    /// Reads a schema; gives it with its domain.
    pub(crate) fn parse(schema: &Text) -> Result<(Template, String), BadSettings> {
        let bad = |why| BadSettings::Template(schema.clone(), why);
        let folded = schema.to_lowercase();
        let folded = folded.trim_end_matches('.');
        let end = folded.rfind('}').ok_or(bad("it has no {service}"))? + 1;
        let (pattern, rest) = folded.split_at(end);
        // What follows the last field in its label belongs to the pattern, the rest is the domain.
        let (tail, domain) = rest.split_once('.').ok_or(bad("it has no domain"))?;
        let mut parts = read_parts(pattern).map_err(bad)?;
        if !tail.is_empty() {
            parts.push(Part::Literal(tail.to_owned()));
        }
        let count = |field| parts.iter().filter(|part| **part == Part::Field(field)).count();
        if count(Field::Service) != 1 || count(Field::Env) > 1 || count(Field::Tag) > 1 {
            return Err(bad("it needs {service} once, and {env} and {tag} at most once"));
        }
        let is_field = |part: &Part| matches!(part, Part::Field(_));
        if parts.windows(2).any(|pair| is_field(&pair[0]) && is_field(&pair[1])) {
            return Err(bad("two fields need something between them"));
        }
        Ok((Template { parts }, domain.to_owned()))
    }

    /// The ways in which the first `n_labels` labels of `name` fit.
    pub(crate) fn fits<'n>(&self, name: &'n Name<'_>, n_labels: usize) -> Fits<'n> {
        let mut found = Vec::new();
        if n_labels == 0 {
            // Where a label of the pattern is part of the domain's first, the rest is not ours.
            let is_ours = !matches!(self.parts.last(), Some(Part::Literal(_)));
            found.extend(is_ours.then_some(Meaning::Branch));
        } else if let Some(text) = name.text(0, n_labels) {
            self.fit(0, text, ServiceName::default(), &mut found);
        }
        found.sort_by_key(|meaning| match meaning {
            Meaning::Service(named) => std::cmp::Reverse(named.service.len()),
            _ => std::cmp::Reverse(0),
        });
        Fits(found.into_iter())
    }

    /// Fits the parts from `at` on to `text`. The depth is the number of parts, bounded by the
    /// length of the schema; the number of results by [`FITS_MAX`].
    fn fit<'n>(
        &self,
        at: usize,
        text: &'n str,
        so_far: ServiceName<'n>,
        found: &mut Vec<Meaning<'n>>,
    ) {
        match self.parts.get(at) {
            None if text.is_empty() && found.len() < FITS_MAX => {
                found.push(Meaning::Service(so_far));
            }
            None => {}
            Some(Part::Literal(literal)) => {
                if let Some(rest) = text.strip_prefix(literal.as_str()) {
                    self.fit(at + 1, rest, so_far, found);
                }
            }
            Some(Part::Field(field)) => {
                for (end, _) in text.match_indices(self.literal_after(at)) {
                    let value = &text[..end];
                    let may_have_dots = *field == Field::Tag;
                    if !value.is_empty() && (may_have_dots || !value.contains('.')) {
                        self.fit(at + 1, &text[end..], field.set(so_far, value), found);
                    }
                }
                if at + 1 == self.parts.len() && !text.is_empty() && !text.contains('.') {
                    self.fit(at + 1, "", field.set(so_far, text), found);
                }
            }
        }
    }

    /// What follows the field at `at`; for the last one something that no name holds.
    fn literal_after(&self, at: usize) -> &str {
        match self.parts.get(at + 1) {
            Some(Part::Literal(literal)) => literal,
            _ => "\0",
        }
    }
}

impl Field {
    fn set<'n>(self, mut named: ServiceName<'n>, value: &'n str) -> ServiceName<'n> {
        match self {
            Field::Service => named.service = value,
            Field::Env => named.env = Some(value),
            Field::Tag => named.tag = Some(value),
        }
        named
    }
}

fn read_parts(pattern: &str) -> Result<Vec<Part>, &'static str> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(open) = rest.find('{') {
        if open > 0 {
            parts.push(Part::Literal(rest[..open].to_owned()));
        }
        let close = rest.find('}').filter(|close| *close > open).ok_or("a { has no }")?;
        parts.push(Part::Field(match &rest[open + 1..close] {
            "service" => Field::Service,
            "env" => Field::Env,
            "tag" => Field::Tag,
            _ => return Err("the fields are {service}, {env} and {tag}"),
        }));
        rest = &rest[close + 1..];
    }
    if rest.is_empty() { Ok(parts) } else { Err("a } has no {") }
}

/// The ways in which a name fits.
pub(crate) struct Fits<'n>(std::vec::IntoIter<Meaning<'n>>);

impl<'n> Iterator for Fits<'n> {
    type Item = Meaning<'n>;

    fn next(&mut self) -> Option<Meaning<'n>> {
        self.0.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::name_bytes;

    fn fits(schema: &str, labels: &str) -> Vec<(String, String)> {
        let (template, _) = Template::parse(&schema.into()).unwrap();
        let wire = name_bytes(labels).unwrap();
        let name = Name::parse(&wire).unwrap();
        let fits = template.fits(&name, name.n_labels());
        fits.map(|meaning| match meaning {
            Meaning::Service(named) => (named.service.into(), named.env.unwrap_or("").into()),
            other => panic!("{other:?}"),
        })
        .collect()
    }

    #[test]
    fn a_name_with_the_separator_in_it_fits_in_several_ways() {
        let found = fits("{service}-{env}.example.org", "web-api-prod");
        let expected =
            [("web-api", "prod"), ("web", "api-prod")].map(|(a, b)| (a.into(), b.into()));
        assert_eq!(found, expected);
        assert_eq!(fits("{service}-{env}.example.org", "web"), []);
        assert_eq!(fits("{service}-{env}.example.org", "web-"), []);
    }

    #[test]
    fn the_three_schemas_of_the_plan_are_read() {
        let expected = [("web".to_owned(), "prod".to_owned())];
        assert_eq!(fits("{service}.{env}.example.org", "web.prod"), expected);
        assert_eq!(fits("{service}.{env}-svc.example.org", "web.prod-svc"), expected);
        assert_eq!(fits("{service}.{env}.example.org", "a.web.prod"), []);
        let (_, domain) = Template::parse(&"{service}.{env}-svc.example.org".into()).unwrap();
        assert_eq!(domain, "example.org");
    }

    #[test]
    fn a_schema_that_makes_no_sense_is_refused() {
        for schema in ["example.org", "{env}.org", "{service}{env}.org", "{service", "{x}.org"] {
            assert!(Template::parse(&schema.into()).is_err(), "{schema}");
        }
    }
}
