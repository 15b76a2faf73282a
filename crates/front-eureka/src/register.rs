//! `POST apps/APP`: a client registers its instance, or registers it again with what changed.

use muster_registry::Call;

use crate::alter::{Decision, refuse_unfit};
use crate::codec::read::Wish;
use crate::failure::Failure;
use crate::front::Front;
use crate::info::{Action, InstanceInfo, LeaseInfo};
use crate::mapping::{self, Standing};
use crate::view::Entry;
use crate::word::Word;

impl Front {
    /// Registers what a client wishes under an application.
    pub(crate) async fn register(
        &self,
        call: &Call,
        app: &str,
        wish: &Wish,
    ) -> Result<(), Failure> {
        refuse_incomplete(app, wish)?;
        let now = self.now_ms();
        let id = wish.info.id();
        let first = standing(wish, None, now);
        refuse_unfit(&first.node(), &first.instance())?;
        self.alter(call, app, &id, |found| {
            let Some(found) = found else { return Ok(Some(decision(wish, None, now))) };
            if !found.is_own() {
                let text = format!("instanceId {id:?} is that of an instance registered elsewhere");
                return Err(Failure::bad_request(text));
            }
            let old = mapping::standing(found.detail());
            if is_older(wish, &old.info) {
                Ok(None)
            } else {
                Ok(Some(decision(wish, Some(&old), now)))
            }
        })
        .await?;
        // Who registers is alive, also where what is known of it is newer than what it says.
        if self.look(call, app, &id).await?.is_some_and(|found| is_older(wish, &found.info())) {
            self.renew(call, app, &id, None).await?;
        }
        Ok(())
    }
}

fn is_older(wish: &Wish, known: &InstanceInfo) -> bool {
    wish.last_dirty_at.is_some_and(|dirty_at| dirty_at < known.last_dirty_at)
}

fn decision(wish: &Wish, old: Option<&Standing>, now: u64) -> Decision {
    Decision { standing: standing(wish, old, now), lifts_maintenance: false }
}

/// How an instance stands once it is registered: an operator's word outlives what it reports.
fn standing(wish: &Wish, old: Option<&Standing>, now: u64) -> Standing {
    let own = Some(wish.info.overridden).filter(|word| *word != Word::Unknown);
    let overridden = old.and_then(|old| old.overridden).or(own);
    let reported = wish.info.word;
    let is_up = reported.overruled(overridden) == Word::Up;
    let up_before = old.map(|old| old.info.lease.up_at).filter(|at| *at > 0);
    let info = InstanceInfo {
        lease: LeaseInfo {
            registered_at: now,
            renewed_at: now,
            up_at: up_before.unwrap_or(if is_up { now } else { 0 }),
            ..wish.info.lease
        },
        last_updated_at: now,
        last_dirty_at: wish.last_dirty_at.unwrap_or(now),
        action: Action::Added,
        ..wish.info.clone()
    };
    Standing { info, reported, overridden }
}

/// What a registration needs, in the order and the words of the original.
fn refuse_incomplete(app: &str, wish: &Wish) -> Result<(), Failure> {
    let info = &wish.info;
    let path_app = app.to_uppercase();
    let missing = |what: &'static str| Err(Failure::bad_request(what));
    if info.id().is_empty() {
        return missing("Missing instanceId");
    }
    if info.host_name.is_empty() {
        return missing("Missing hostname");
    }
    if info.ip_address.is_empty() {
        return missing("Missing ip address");
    }
    if info.app.is_empty() {
        return missing("Missing appName");
    }
    if *info.app != *path_app {
        let text = format!("Mismatched appName, expecting {path_app} but was {}", info.app);
        return Err(Failure::bad_request(text));
    }
    if !wish.has_data_center {
        return missing("Missing dataCenterInfo");
    }
    if info.data_center.name.is_empty() {
        return missing("Missing dataCenterInfo Name");
    }
    Ok(())
}

impl Front {
    /// `PUT apps/APP/ID/metadata`: adds facts to an instance, which is thereby registered anew.
    pub(crate) async fn add_metadata(
        &self,
        call: &Call,
        app: &str,
        id: &str,
        facts: &[(String, String)],
    ) -> Result<(), Failure> {
        let now = self.now_ms();
        self.alter(call, app, id, |found: Option<&Entry>| {
            let mut standing = mapping::standing(crate::alter::own(found)?.detail());
            let metadata = &mut standing.info.metadata;
            for (name, value) in facts {
                metadata.retain(|(own, _)| own != name.as_str());
                metadata.push((name.into(), value.into()));
            }
            metadata.sort();
            standing.info.lease.registered_at = now;
            standing.info.last_updated_at = now;
            standing.info.action = Action::Added;
            Ok(Some(Decision { standing, lifts_maintenance: false }))
        })
        .await
    }
}
