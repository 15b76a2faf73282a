//! `PUT` and `DELETE apps/APP/ID/status`: an operator's word over that of an instance. Of one that
//! another tongue registered, `switch` makes of it what it can.

use muster_registry::Call;

use crate::alter::{Decision, own};
use crate::failure::Failure;
use crate::front::Front;
use crate::info::Action;
use crate::mapping::{self, Standing};
use crate::word::Word;

impl Front {
    /// Sets an operator's word. One that changes nothing leaves no trace.
    pub(crate) async fn overrule(
        &self,
        call: &Call,
        app: &str,
        id: &str,
        word: Word,
        dirty_at: Option<u64>,
    ) -> Result<(), Failure> {
        if let Some(foreign) = self.look_for_foreign(call, app, id).await? {
            return self.switch(call, &foreign, word).await;
        }
        let now = self.now_ms();
        self.alter(call, app, id, |found| {
            let mut standing = mapping::standing(own(found)?.detail());
            if standing.info.word == word {
                return Ok(None);
            }
            // Whatever it reported before; what it reports next counts again.
            standing.reported = word;
            standing.overridden = Some(word);
            Ok(Some(altered(standing, dirty_at, now)))
        })
        .await
    }

    /// Takes an operator's word back: the instance is as `word` says, or as nobody knows, until it
    /// registers again. A maintenance that another tongue began is over; where there is neither,
    /// nothing happens.
    pub(crate) async fn take_back(
        &self,
        call: &Call,
        app: &str,
        id: &str,
        word: Option<Word>,
        dirty_at: Option<u64>,
    ) -> Result<(), Failure> {
        if let Some(foreign) = self.look_for_foreign(call, app, id).await? {
            return self.switch(call, &foreign, Word::Up).await;
        }
        let now = self.now_ms();
        self.alter(call, app, id, |found| {
            let detail = own(found)?.detail();
            let mut standing = mapping::standing(detail);
            let fallback = match standing.overridden {
                Some(_) => Word::Unknown,
                None if mapping::is_switched_off_elsewhere(detail) => standing.reported,
                None => return Ok(None),
            };
            standing.overridden = None;
            standing.reported = word.unwrap_or(fallback);
            Ok(Some(altered(standing, dirty_at, now)))
        })
        .await
    }
}

fn altered(mut standing: Standing, dirty_at: Option<u64>, now: u64) -> Decision {
    let info = &mut standing.info;
    info.last_updated_at = now;
    info.last_dirty_at = info.last_dirty_at.max(dirty_at.unwrap_or(0));
    info.action = Action::Modified;
    if info.lease.up_at == 0 && standing.word() == Word::Up {
        standing.info.lease.up_at = now;
    }
    Decision { standing, lifts_maintenance: true }
}
