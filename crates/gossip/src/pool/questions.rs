//! Questions: asked of all, answered to one.
//!
//! Datagrams are lost, so an answer is sent again until the asker has confirmed it, and the asker
//! brings its question directly to those who have not answered when half the time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use minicbor::bytes::ByteVec;
use rand::RngCore;

use crate::broadcasts::Topic;
use crate::event::SeenClock;
use crate::keyring::KeyError;
use crate::limits::{ANSWERS_MAX, ASKED_AGAIN_MAX, QUESTION_TIMEOUT_MAX, QUESTIONS_MAX};
use crate::member::Name;
use crate::moment::Moment;
use crate::port::{KeyringResult, Notice, Output, Turn};
use crate::question::{Answer, KeyringAnswer, KeyringWish, Question, shortened};
use crate::timers::Timer;
use crate::wire::Message;

use super::Pool;

/// How often an answer is sent if it is not confirmed.
const ANSWER_SENDS_MAX: u32 = 6;
/// How much later answers of a large pool are spread, per member.
const ANSWER_SPREAD: Duration = Duration::from_millis(1);

/// Questions of this member, and its answers to those of others.
#[derive(Debug, Default)]
pub(super) struct Questions {
    pub(super) clock: SeenClock,
    open: BTreeMap<u64, OpenQuestion>,
    unconfirmed: BTreeMap<u64, Unconfirmed>,
}

#[derive(Debug)]
struct OpenQuestion {
    token: u64,
    question: Question,
    /// Members that took part when it was asked, this one included.
    n_asked: usize,
    ends_at: Moment,
    answered: BTreeSet<Name>,
    answers: Vec<KeyringAnswer>,
}

#[derive(Debug)]
struct Unconfirmed {
    to: SocketAddr,
    answer: Answer,
    n_sent: u32,
}

impl Pool {
    /// Has every member do something to its keyring. What they answered is told by
    /// [`Notice::KeyringAnswered`] with this token, after `wait` at the latest.
    ///
    /// # Errors
    /// If the pool is not sealed, or there are too many questions.
    pub fn ask_keyring(
        &mut self,
        wish: &KeyringWish,
        token: u64,
        wait: Duration,
        now: Moment,
        out: &mut Vec<Output>,
    ) -> Result<(), KeyError> {
        self.check_sealing()?;
        if self.questions.open.len() >= QUESTIONS_MAX {
            return Err(KeyError::TooManyQuestions);
        }
        let wait = wait.min(QUESTION_TIMEOUT_MAX);
        self.turn(now, out, |pool, turn| {
            let question = Question {
                id: pool.rng.next_u64(),
                time: pool.questions.clock.time(),
                asker: pool.me.address(),
                wait_ms: wait.as_millis() as u32,
                what: wish.to_asked(),
            };
            pool.ask(question, token, turn);
        });
        Ok(())
    }

    fn ask(&mut self, question: Question, token: u64, turn: &mut Turn<'_>) {
        let (id, wait) = (question.id, Duration::from_millis(question.wait_ms.into()));
        let ends_at = turn.now + wait;
        self.questions.open.insert(
            id,
            OpenQuestion {
                token,
                question: question.clone(),
                n_asked: self.n_active(),
                ends_at,
                answered: BTreeSet::new(),
                answers: Vec::new(),
            },
        );
        self.timers.set(turn.now + wait / 2, Timer::AskAgain(id));
        self.timers.set(ends_at, Timer::QuestionEnds(id));
        self.take_question(question, turn);
    }

    /// A question is asked, by this member or another.
    pub(super) fn take_question(&mut self, question: Question, turn: &mut Turn<'_>) {
        if self.check_sealing().is_err() || self.phase.has_left() {
            return;
        }
        let id = question.id;
        if !self.questions.clock.see(question.time, id) {
            // Asked again: the answer may have been lost.
            if self.questions.unconfirmed.contains_key(&id) {
                self.timers.set(turn.now, Timer::AnswerAgain(id));
            }
            return;
        }
        self.broadcast(Topic::Question(id), &Message::Question(question.clone()));
        let answer = self.answer_to(&question, turn);
        if question.asker == self.me.address() {
            return self.take_answer(answer, question.asker, turn);
        }
        if self.questions.unconfirmed.len() >= ANSWERS_MAX {
            self.questions.unconfirmed.pop_first();
        }
        let to = question.asker;
        self.questions.unconfirmed.insert(id, Unconfirmed { to, answer, n_sent: 0 });
        let wait = Duration::from_millis(question.wait_ms.into());
        let spread = (ANSWER_SPREAD * self.n_active() as u32).min(wait / 8);
        let at = turn.now + self.up_to(spread);
        self.timers.set(at, Timer::AnswerAgain(id));
    }

    /// Does what a question wishes.
    fn answer_to(&mut self, question: &Question, turn: &mut Turn<'_>) -> Answer {
        let wish = KeyringWish::of_asked(&question.what);
        let granted = match (&wish, &mut self.envelope.keyring) {
            (Ok(wish), Some(keyring)) => wish.grant(keyring),
            (Err(error), _) => Err(error.clone()),
            (_, None) => Err(KeyError::NoKeyring),
        };
        let keys = self.keyring().map(|keyring| keyring.keys().to_vec()).unwrap_or_default();
        if granted.is_ok() && wish.is_ok_and(|wish| wish.is_change()) {
            turn.tell(Notice::KeyringChanged(keys.clone()));
        }
        Answer {
            question: question.id,
            from: self.me.name().clone(),
            keys: keys.iter().map(|key| ByteVec::from(key.as_bytes().to_vec())).collect(),
            refusal: granted.err().map(|error| shortened(error.to_string())),
        }
    }

    /// Sends an answer, and again if it is not confirmed.
    pub(super) fn answer_again(&mut self, question: u64, turn: &mut Turn<'_>) {
        let Some(unconfirmed) = self.questions.unconfirmed.get_mut(&question) else { return };
        if unconfirmed.n_sent >= ANSWER_SENDS_MAX {
            self.questions.unconfirmed.remove(&question);
            return;
        }
        unconfirmed.n_sent += 1;
        let (to, n_sent) = (unconfirmed.to, unconfirmed.n_sent);
        let message = Message::Answer(unconfirmed.answer.clone());
        let again_at = turn.now + self.settings.probe_timeout * n_sent;
        self.timers.set(again_at, Timer::AnswerAgain(question));
        self.send(to, &[message], turn);
    }

    pub(super) fn answer_taken(&mut self, question: u64) {
        self.questions.unconfirmed.remove(&question);
    }

    /// A member answered a question of this one.
    pub(super) fn take_answer(&mut self, answer: Answer, from: SocketAddr, turn: &mut Turn<'_>) {
        let id = answer.question;
        if from != self.me.address() {
            self.send(from, &[Message::AnswerTaken { question: id }], turn);
        }
        let is_known = self.member(answer.from.as_str()).is_some();
        let Some(open) = self.questions.open.get_mut(&id) else { return };
        let Some(told) = KeyringAnswer::of(&answer).filter(|_| is_known) else { return };
        if open.answered.insert(answer.from) {
            open.answers.push(told);
        }
        if self.is_complete(id) {
            self.end_question(id, turn);
        }
    }

    /// Whether all who take part have answered.
    fn is_complete(&self, question: u64) -> bool {
        let Some(open) = self.questions.open.get(&question) else { return false };
        open.answered.contains(self.me.name())
            && self
                .members
                .iter()
                .all(|record| !record.is_active() || open.answered.contains(record.member.name()))
    }

    /// Brings a question to those who have not answered.
    pub(super) fn ask_again(&mut self, question: u64, turn: &mut Turn<'_>) {
        if self.is_complete(question) {
            return self.end_question(question, turn);
        }
        let Some(open) = self.questions.open.get(&question) else { return };
        let (asked, left) = (open.question.clone(), open.ends_at.since(turn.now));
        let silent = self.members.sample(ASKED_AGAIN_MAX, &mut self.rng, |record| {
            record.is_active() && !open.answered.contains(record.member.name())
        });
        let silent: Vec<SocketAddr> =
            silent.into_iter().map(|record| record.member.address()).collect();
        for to in silent {
            self.send(to, &[Message::Question(asked.clone())], turn);
        }
        if left > self.settings.probe_timeout {
            self.timers.set(turn.now + left / 2, Timer::AskAgain(question));
        }
    }

    pub(super) fn end_question(&mut self, question: u64, turn: &mut Turn<'_>) {
        let Some(open) = self.questions.open.remove(&question) else { return };
        let n_asked = open.n_asked.max(open.answers.len());
        let mut answers = open.answers;
        answers.sort_by(|a, b| a.member.cmp(&b.member));
        let result = KeyringResult { token: open.token, n_asked, answers };
        turn.tell(Notice::KeyringAnswered(result));
    }

    /// Keys go round only where all that is said is sealed.
    fn check_sealing(&self) -> Result<(), KeyError> {
        let keyring = self.keyring().ok_or(KeyError::NoKeyring)?;
        if keyring.seals_outgoing { Ok(()) } else { Err(KeyError::NotSealing) }
    }
}
