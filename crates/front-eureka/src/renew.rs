//! `PUT apps/APP/ID`: a client renews; `DELETE apps/APP/ID`: it is gone.

use muster_model::command::Target;
use muster_model::{Command, LeaseId};
use muster_registry::Call;

use crate::failure::Failure;
use crate::front::Front;
use crate::info::InstanceInfo;
use crate::mapping;
use crate::word::Word;

/// What became of a renewal.
pub(crate) enum Renewed {
    /// It holds.
    Done,
    /// It holds, and what is known here is newer than what the sender has.
    Newer(Box<InstanceInfo>),
}

impl Front {
    /// Renews the lease of an instance. `dirty_at` is when its sender changed it last.
    ///
    /// # Errors
    /// 404 where there is no such instance, where an operator's word was taken back without another,
    /// and where the sender has a newer one: each time the client registers it again.
    pub(crate) async fn renew(
        &self,
        call: &Call,
        app: &str,
        id: &str,
        dirty_at: Option<u64>,
    ) -> Result<Renewed, Failure> {
        let entry = self.look_for_own(call, app, id).await?;
        let detail = entry.detail();
        let standing = mapping::standing(detail);
        if standing.word() == Word::Unknown {
            return Err(Failure::not_found());
        }
        let lease = LeaseId::instance(&detail.node.name, &detail.instance.id);
        self.door().registry.renew(call, &lease).await?;
        let known_at = standing.info.last_dirty_at;
        match dirty_at {
            Some(dirty_at) if dirty_at > known_at => Err(Failure::not_found()),
            Some(dirty_at) if dirty_at < known_at => Ok(Renewed::Newer(Box::new(entry.info()))),
            _ => Ok(Renewed::Done),
        }
    }

    /// Deregisters an instance.
    ///
    /// # Errors
    /// 404 where there is no such instance.
    pub(crate) async fn cancel(&self, call: &Call, app: &str, id: &str) -> Result<(), Failure> {
        let entry = self.look_for_own(call, app, id).await?;
        let node = entry.detail().node.name.clone();
        let target = Target::Instance(entry.detail().instance.id.clone());
        self.door().registry.submit(call, Command::Deregister { node, target }).await?;
        Ok(())
    }
}
