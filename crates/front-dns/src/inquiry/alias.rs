//! Aliases: what an address that is a name leads to.
//!
//! Inside our domains names are looked up as any question would, a few steps at most and never the
//! same name twice; the first name outside is left to a recursor with all that follows it.

use super::{Inquiry, Need, Stop};
use crate::compose::{Followed, Found, Records};
use crate::limits::{ALIAS_DEPTH_MAX, ALIAS_RECORDS_MAX, ALIAS_TARGETS_MAX};
use crate::records::{Entry, RecordSet};
use crate::wire::kind;
use crate::wire::name::Name;

impl Inquiry<'_> {
    /// Looks up where the aliases among the records lead to.
    pub(super) fn follow_aliases(&self, records: &mut Records) -> Result<(), Stop> {
        let set = records.set.clone();
        if self.query.kind == kind::CNAME || !set.has_aliases {
            return Ok(());
        }
        let wanted = if self.query.kind == kind::AAAA { kind::AAAA } else { kind::A };
        if let Some(entry) = self.only_entry(&set) {
            self.follow(self.query.name.asked(), set.target(entry), wanted, &mut records.followed)?;
            return Ok(());
        }
        for entry in set.entries().iter().filter(|own| own.is_alias).take(ALIAS_TARGETS_MAX) {
            self.follow(&[], set.target(entry), wanted, &mut records.followed)?;
        }
        Ok(())
    }

    /// The alias that is given where only one may be. The same for the same question, so that what
    /// was waited for is what is given.
    fn only_entry<'s>(&self, set: &'s RecordSet) -> Option<&'s Entry> {
        set.only_entry(self.query.id).map(|i| &set.entries()[i])
    }

    /// Appends the records that `target` leads to.
    fn follow(
        &self,
        asked: &[u8],
        target: &[u8],
        kind: u16,
        out: &mut Vec<Followed>,
    ) -> Result<(), Stop> {
        let mut target = target.to_vec();
        for _ in 0..ALIAS_DEPTH_MAX {
            let Ok(name) = Name::parse(&target) else { return Ok(()) };
            let is_known = |owner: &[u8]| owner.eq_ignore_ascii_case(&target);
            if is_known(asked) || out.iter().any(|record| is_known(&record.owner)) {
                return Ok(());
            }
            let records = match self.find(&name, kind)? {
                Some((Found::Records(records), _)) => records,
                Some(_) => return Ok(()),
                None => return self.follow_outside(&target, kind, out),
            };
            let own = |entry: &Entry| Followed {
                owner: target.clone(),
                piece: records.set.piece(entry).to_vec(),
                ttl: records.ttl,
            };
            let Some(alias) = self.only_entry(&records.set) else {
                let room = ALIAS_RECORDS_MAX.saturating_sub(out.len());
                out.extend(records.set.entries().iter().take(room).map(own));
                return Ok(());
            };
            out.push(own(alias));
            target = records.set.target(alias).to_vec();
        }
        Ok(())
    }

    fn follow_outside(
        &self,
        target: &[u8],
        kind: u16,
        out: &mut Vec<Followed>,
    ) -> Result<(), Stop> {
        if self.setup.settings.recursors.is_empty() {
            return Ok(());
        }
        let need = Need::Addresses { name: target.to_vec(), kind };
        match self.given.addresses.iter().find(|(own, _)| *own == need) {
            Some((_, found)) => {
                out.extend(found.iter().take(ALIAS_RECORDS_MAX).cloned());
                Ok(())
            }
            None => Err(Stop::Need(need)),
        }
    }
}
