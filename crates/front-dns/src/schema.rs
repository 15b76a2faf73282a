//! What a name means: naming schemas, each a way to read the labels in front of a domain.
//!
//! A schema sees the labels left of its domain and says what is asked for; it asks nobody. Consul's
//! schema is one of them, operators can add others as templates. To teach the front another way of
//! naming, add a variant here and a file that reads labels into a [`Meaning`].

pub(crate) mod consul;
pub(crate) mod template;

use std::net::IpAddr;

use crate::wire::name::Name;
use template::Template;

/// A way to read labels.
#[derive(Clone, Debug)]
pub(crate) enum Schema {
    /// Consul's names.
    Consul,
    /// A pattern that an operator wrote.
    Template(Template),
}

/// What a name asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning<'n> {
    /// A place in the domain that carries nothing but has names below it, as the domain itself.
    Branch,
    /// The instances of a service.
    Service(ServiceName<'n>),
    /// A node.
    Node {
        /// Its name.
        name: &'n str,
        /// Its datacenter, where the name says one.
        datacenter: Option<&'n str>,
    },
    /// A prepared query.
    Prepared {
        /// Its id or name, or what a template fits.
        name: &'n str,
        /// The datacenter to ask, where the name says one.
        datacenter: Option<&'n str>,
    },
    /// An address spelled in the name itself.
    Address(IpAddr),
    /// There can be no such name.
    Nothing,
}

/// The instances of a service, as a name can ask for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceName<'n> {
    /// The service.
    pub(crate) service: &'n str,
    /// A tag they must carry.
    pub(crate) tag: Option<&'n str>,
    /// The named port that is meant.
    pub(crate) port: Option<&'n str>,
    /// The environment they must be in: their meta `env`, else their datacenter.
    pub(crate) env: Option<&'n str>,
    /// Their datacenter, where the name says one.
    pub(crate) datacenter: Option<&'n str>,
}

impl Schema {
    /// What the first `n_labels` labels of `name` mean to a question for `kind`: the readings in
    /// the order in which they are tried. The first that something is found for wins.
    pub(crate) fn readings<'n>(
        &'n self,
        name: &'n Name<'_>,
        n_labels: usize,
        kind: u16,
    ) -> Readings<'n> {
        match self {
            Schema::Consul => Readings::One(Some(consul::meaning(name, n_labels, kind))),
            Schema::Template(template) => Readings::Fits(template.fits(name, n_labels)),
        }
    }
}

/// Readings of one name.
pub(crate) enum Readings<'n> {
    /// A schema without doubt.
    One(Option<Meaning<'n>>),
    /// The ways in which a template fits.
    Fits(template::Fits<'n>),
}

impl<'n> Iterator for Readings<'n> {
    type Item = Meaning<'n>;

    fn next(&mut self) -> Option<Meaning<'n>> {
        match self {
            Readings::One(meaning) => meaning.take(),
            Readings::Fits(fits) => fits.next(),
        }
    }
}
