//! An operator's word over an instance that another tongue registered: `PUT` and `DELETE
//! apps/APP/ID/status` of what an agent vouches for or stands in the catalog.
//!
//! Out of service is a maintenance of the instance, as Consul's API begins it, so that every tongue
//! obeys; up, or the word taken back, ends it. It stands in the catalog beside what the agent says,
//! and the agent's sync leaves it alone. A maintenance that the agent itself began ends only there.
//!
//! Left out: the other words. How such an instance is, its checks say.

use muster_model::command::{ObjectVerb, Operation};
use muster_model::node::Origin;
use muster_model::{Check, Command, Outcome};
use muster_registry::Call;

use crate::failure::Failure;
use crate::front::Front;
use crate::mapping::{self, Standing};
use crate::view::Entry;
use crate::word::Word;

impl Front {
    /// Switches an instance off, or on again.
    ///
    /// # Errors
    /// 400 where the word is another, and where the instance's agent has switched it off.
    pub(crate) async fn switch(
        &self,
        call: &Call,
        entry: &Entry,
        word: Word,
    ) -> Result<(), Failure> {
        let detail = entry.detail();
        let present = mapping::maintenance_of(detail);
        let (verb, check) = match (word, present) {
            (Word::OutOfService, Some(_)) | (Word::Up, None) => return Ok(()),
            (Word::OutOfService, None) => {
                let check = Standing::maintenance_check(&detail.instance.id);
                (ObjectVerb::Put, Check { origin: Origin::Catalog, ..check })
            }
            (Word::Up, Some(check)) if check.origin == Origin::Agent => {
                let node = &detail.node.name;
                let text = format!("its agent, on {node}, switched it off: end that there");
                return Err(Failure::bad_request(text));
            }
            (Word::Up, Some(check)) => (ObjectVerb::Delete, check.value.clone()),
            (Word::Down | Word::Starting | Word::Unknown, _) => {
                let text = "it was not registered by a client of Eureka: it can be put \
                            OUT_OF_SERVICE, and UP again; how it is else, its checks say";
                return Err(Failure::bad_request(text));
            }
        };
        let node = detail.node.name.clone();
        let operations = vec![Operation::Check { verb, node, check }];
        let committed = self.door().registry.submit(call, Command::Transact { operations }).await?;
        match committed.outcome {
            // It went in the same moment.
            Outcome::RolledBack(_) => Err(Failure::not_found()),
            Outcome::Denied(denial) => Err(denial.into()),
            _ => Ok(()),
        }
    }
}
