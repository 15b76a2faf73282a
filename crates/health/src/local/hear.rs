//! Observations, renewals, and what follows from time alone.

use std::time::Duration;

use muster_model::command::Target;
use muster_model::definition::Rule;
use muster_model::{Status, Text};

use super::{Local, LocalChange, Unfit};
use crate::Moment;
use crate::check::{Heard, Observation};

impl Local {
    /// A runner's observation. One of a check that is gone means nothing.
    pub fn observe(&mut self, check_id: &Text, observation: Observation, now: Moment) -> Heard {
        let Some(own) = self.checks.get_mut(check_id) else { return Heard::Nothing };
        own.is_heard = true;
        let at = (now, &mut self.chance);
        let definition = &own.definition;
        let heard = own.pulse.observe(&mut own.check, definition, &self.settings, observation, at);
        self.heard(check_id, heard);
        self.set_alarm(check_id);
        heard
    }

    /// A caller's word on a TTL check: it holds for the check's ttl.
    pub fn renew(
        &mut self,
        check_id: &Text,
        observation: Observation,
        now: Moment,
    ) -> Result<Heard, Unfit> {
        match self.checks.get(check_id) {
            None => Err(Unfit::UnknownCheck(check_id.clone())),
            Some(own) if !matches!(own.definition.rule, Rule::Ttl { .. }) => {
                Err(Unfit::NotTtl(check_id.clone()))
            }
            Some(_) => Ok(self.observe(check_id, observation, now)),
        }
    }

    /// Takes up the word that an earlier process had on a TTL check, and that holds for `rest`.
    pub fn restore_word(
        &mut self,
        check_id: &Text,
        word: Observation,
        rest: Duration,
        now: Moment,
    ) {
        let Some(own) = self.checks.get_mut(check_id) else { return };
        let Rule::Ttl { ttl } = own.definition.rule else { return };
        own.pulse.restore(rest.min(ttl), now);
        own.check.status = word.status;
        own.check.output = word.output;
        own.is_heard = true;
        self.heard(check_id, Heard::Status);
        self.set_alarm(check_id);
    }

    /// Time has passed: TTL checks expire, outputs that waited are told, instances that were
    /// critical for too long are withdrawn.
    pub fn advance(&mut self, now: Moment) {
        while let Some((at, _)) = self.alarms.first()
            && *at <= now
        {
            let (_, id) = self.alarms.pop_first().expect("the first was just seen");
            self.on_alarm(&id, now);
        }
    }

    /// When [`Local::advance`] has something to look at. May be early, never late.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.alarms.first().map(|(at, _)| *at)
    }

    fn on_alarm(&mut self, check_id: &Text, now: Moment) {
        let own = self.checks.get_mut(check_id).expect("each alarm has its check");
        own.alarm_at = None;
        let heard = own.pulse.expire(&mut own.check, &own.definition, &self.settings, now);
        let has_output = own.pulse.take_due_output(now);
        let is_lost = own.check.status == Status::Critical
            && !own.check.is_about_node()
            && own.pulse.deregisters_at(&own.definition).is_some_and(|at| at <= now);
        let instance_id = own.check.instance_id.clone();
        self.heard(check_id, heard);
        if has_output {
            self.ledger.mark(Target::Check(check_id.clone()));
        }
        if is_lost && self.withdraw_instance(&instance_id).is_ok() {
            return;
        }
        self.set_alarm(check_id);
    }

    fn heard(&mut self, check_id: &Text, heard: Heard) {
        let target = Target::Check(check_id.clone());
        if heard == Heard::Status {
            self.ledger.mark(target.clone());
        }
        if heard != Heard::Nothing {
            self.changes.push(LocalChange::Heard(target));
        }
    }

    /// Sees to it that the check has an alarm no later than its next deadline. An earlier one is
    /// left: renewals then cost nothing here.
    pub(super) fn set_alarm(&mut self, check_id: &Text) {
        let Some(own) = self.checks.get_mut(check_id) else { return };
        let is_about_node = own.check.is_about_node();
        let deadline = own.pulse.next_deadline(&own.definition, is_about_node);
        let Some(deadline) = deadline else { return };
        if let Some(alarm_at) = own.alarm_at {
            if alarm_at <= deadline {
                return;
            }
            self.alarms.remove(&(alarm_at, check_id.clone()));
        }
        own.alarm_at = Some(deadline);
        self.alarms.insert((deadline, check_id.clone()));
    }
}
