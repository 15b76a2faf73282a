//! Definition files read again: what they no longer mention is withdrawn, what they mention is
//! declared anew and keeps its status.

use std::collections::BTreeSet;

use muster_model::Text;
use muster_model::definition::Source;

use super::{CheckDeclaration, InstanceDeclaration, Local, Unfit};
use crate::Moment;

/// Everything that definition files declare.
#[derive(Clone, Debug, Default)]
pub struct FileDeclarations {
    /// Instances with their checks.
    pub instances: Vec<InstanceDeclaration>,
    /// Checks that stand by themselves, of the node or of an instance.
    pub checks: Vec<CheckDeclaration>,
}

impl Local {
    /// Replaces what files declared before. What clients registered stays, unless a file declares
    /// the same id. Of declarations that do not fit the errors are given; the others count.
    pub fn reload(&mut self, files: FileDeclarations, now: Moment) -> Vec<Unfit> {
        let mut unfit = Vec::new();
        let mut instances = BTreeSet::new();
        let mut checks = BTreeSet::new();
        for mut declaration in files.instances {
            declaration.source = Source::File;
            declaration.name();
            instances.insert(declaration.instance.id.clone());
            for check in &mut declaration.checks {
                check.source = Source::File;
                checks.insert(check.check.id.clone());
            }
            unfit.extend(self.declare_instance(declaration, now).err());
        }
        for mut declaration in files.checks {
            declaration.source = Source::File;
            match self.declare_check(declaration, now) {
                Ok(id) => _ = checks.insert(id),
                Err(error) => unfit.push(error),
            }
        }
        self.withdraw_unmentioned(&instances, &checks);
        unfit
    }

    fn withdraw_unmentioned(&mut self, instances: &BTreeSet<Text>, checks: &BTreeSet<Text>) {
        let gone: Vec<Text> = self
            .instances
            .iter()
            .filter(|(id, own)| own.source == Source::File && !instances.contains(*id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.withdraw_instance(&id).expect("it was just seen");
        }
        let gone: Vec<Text> = self
            .checks
            .iter()
            .filter(|(id, own)| own.source == Source::File && !checks.contains(*id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.remove_check(&id);
        }
    }
}
