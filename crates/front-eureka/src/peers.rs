//! `POST peerreplication/batch`: an Eureka server sends on what its clients told it.
//!
//! So a cluster of Eureka servers can be moved over: they name this server as one of their own, and
//! whatever reaches them is here too. Renewals are most of a batch and are taken side by side; other
//! tasks one after another, because their order means something. Nothing is sent back to them: a
//! client of theirs does not see what is registered here.

use futures_util::future::join_all;
use http::StatusCode;
use muster_registry::Call;

use crate::codec::read::{self, Task, TaskAction};
use crate::codec::shapes::{self, TaskReply};
use crate::failure::Failure;
use crate::front::Front;
use crate::info::InstanceInfo;
use crate::limits::{BATCH_BYTES_MAX, BATCH_TASKS_AT_A_TIME};
use crate::renew::Renewed;
use crate::reply::{self, Reply};
use crate::request::Request;
use crate::word::Word;

impl Front {
    /// Takes a batch: one reply for each task, in their order.
    pub(crate) async fn take_batch(&self, mut request: Request) -> Result<Reply, Failure> {
        let (call, notation) = (request.call(), request.form()?.notation);
        let tasks = request.document(BATCH_BYTES_MAX, read::tasks).await?;
        let mut replies = Vec::with_capacity(tasks.len());
        let is_renewal = |task: &Task| task.action == TaskAction::Heartbeat;
        for alike in tasks.chunk_by(|a, b| is_renewal(a) && is_renewal(b)) {
            for some in alike.chunks(BATCH_TASKS_AT_A_TIME) {
                replies.extend(join_all(some.iter().map(|task| self.take_task(&call, task))).await);
            }
        }
        let body = shapes::batch_reply(notation, &replies);
        Ok(reply::document(StatusCode::OK, notation, body))
    }

    async fn take_task(&self, call: &Call, task: &Task) -> TaskReply {
        match self.carry_out(call, task).await {
            Ok(None) => TaskReply { status: StatusCode::OK.as_u16(), instance: None },
            Ok(Some(newer)) => {
                TaskReply { status: StatusCode::CONFLICT.as_u16(), instance: Some(newer) }
            }
            Err(failure) => TaskReply { status: failure.status.as_u16(), instance: None },
        }
    }

    /// Does what a task asks for; gives the instance where it is newer here.
    async fn carry_out(&self, call: &Call, task: &Task) -> Result<Option<InstanceInfo>, Failure> {
        let Task { app, id, action, word, last_dirty_at, wish } = task;
        match action {
            TaskAction::Heartbeat => match self.renew(call, app, id, *last_dirty_at).await? {
                Renewed::Done => return Ok(None),
                Renewed::Newer(info) => return Ok(Some(*info)),
            },
            TaskAction::Register => {
                let missing = || Failure::bad_request("instanceInfo is missing");
                self.register(call, app, wish.as_ref().ok_or_else(missing)?).await?;
            }
            TaskAction::Cancel => self.cancel(call, app, id).await?,
            TaskAction::StatusUpdate => {
                self.overrule(call, app, id, word.unwrap_or(Word::Unknown), *last_dirty_at).await?;
            }
            TaskAction::DeleteStatusOverride => {
                self.take_back(call, app, id, *word, *last_dirty_at).await?;
            }
        }
        Ok(None)
    }
}
