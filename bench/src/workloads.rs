//! The workloads, one file each, in the order of the table.

mod churn;
mod discover;
pub(crate) mod disk;
mod dns;
mod fleet;
mod gap;
mod idle;
mod keys;
mod kv;
mod register;
mod registry;
mod replicated;
mod start;
mod steady;
mod wake;

use std::pin::Pin;

use crate::Result;
use crate::bench::Bench;

/// A workload by its name.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) says: &'static str,
    run: for<'a> fn(&'a mut Bench) -> Running<'a>,
    /// Whether a quick run has it.
    pub(crate) is_quick: bool,
}

/// A workload under way. An error is one of the bench itself: a contestant that fails is left out.
type Running<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

impl Workload {
    const fn quick(
        name: &'static str,
        says: &'static str,
        run: for<'a> fn(&'a mut Bench) -> Running<'a>,
    ) -> Workload {
        Workload { name, says, run, is_quick: true }
    }

    const fn full(
        name: &'static str,
        says: &'static str,
        run: for<'a> fn(&'a mut Bench) -> Running<'a>,
    ) -> Workload {
        Workload { name, says, run, is_quick: false }
    }

    /// Does it.
    pub(crate) async fn run(&self, bench: &mut Bench) -> Result<()> {
        eprintln!("{}: {}", self.name, self.says);
        (self.run)(bench).await
    }
}

/// All of them.
pub(crate) const ALL: &[Workload] = &[
    Workload::quick("start", start::SAYS, |bench| Box::pin(start::run(bench))),
    Workload::quick("idle", idle::SAYS, |bench| Box::pin(idle::run(bench))),
    Workload::quick("disk", disk::SAYS, |bench| Box::pin(disk::run(bench))),
    Workload::quick("kv", kv::SAYS, |bench| Box::pin(kv::run(bench))),
    Workload::quick("replicated", replicated::SAYS, |bench| Box::pin(replicated::run(bench))),
    Workload::quick("steady", steady::SAYS, |bench| Box::pin(steady::run(bench))),
    Workload::quick("register", register::SAYS, |bench| Box::pin(register::run(bench))),
    Workload::quick("discover", discover::SAYS, |bench| Box::pin(discover::run(bench))),
    Workload::quick("dns", dns::SAYS, |bench| Box::pin(dns::run(bench))),
    Workload::quick("registry", registry::SAYS, |bench| Box::pin(registry::run(bench))),
    Workload::quick("wake", wake::SAYS, |bench| Box::pin(wake::run(bench))),
    Workload::quick("fleet", fleet::SAYS, |bench| Box::pin(fleet::run(bench))),
    Workload::quick("gap", gap::SAYS, |bench| Box::pin(gap::run(bench))),
    Workload::full("churn", churn::SAYS, |bench| Box::pin(churn::run(bench))),
    Workload::full("keys", keys::SAYS, |bench| Box::pin(keys::run(bench))),
];
