//! The life of an agent's process: started, told by signals, stopped in order.
//!
//! SIGINT and SIGTERM stop it (and, where it is configured so, leave the cluster first), SIGHUP
//! reads the configuration again. Stopping goes against the order of the assembly: no new
//! connections, answers under way are finished, the log is closed. Exit codes are Consul's: 0 after
//! a graceful leave, 1 otherwise.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use muster_agent::agent::Stop;
use muster_registry::{Call, Operator};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::assemble::{self, Running};
use crate::cli::Launch;

/// How long answers under way may take once the agent stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs an agent until it is stopped.
pub fn run(launch: Launch) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no runtime can be had: {error}")),
    };
    let code = runtime.block_on(Box::pin(live(launch)));
    // What still blocks (a check's program, a disk that hangs) does not keep the process.
    runtime.shutdown_background();
    code
}

/// Who is woken waits its turn behind those who are ready. By default it would go first, and so
/// consensus, or whoever writes to a socket, would be woken by the first of many and find one thing
/// to do where a moment later there are dozens to be done together (docs/performance.md).
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().disable_lifo_slot().enable_all().build()
}

async fn live(launch: Launch) -> ExitCode {
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("signals cannot be received: {error}")),
    };
    let running = match Box::pin(assemble::assemble(launch)).await {
        Ok(running) => running,
        Err(why) => return fail(&why),
    };
    let files = match announce(&running) {
        Ok(files) => files,
        Err(why) => {
            running.stop(DRAIN_TIMEOUT).await;
            return fail(&why);
        }
    };
    let end = wait(&running, signals).await;
    for path in files {
        // Somebody may have removed it already.
        let _ = running.world.files().remove(path.as_ref());
    }
    running.stop(DRAIN_TIMEOUT).await;
    match end {
        End::Left => ExitCode::SUCCESS,
        End::Stopped | End::Broken => ExitCode::FAILURE,
    }
}

/// How the life of an agent ended.
enum End {
    /// It left gracefully.
    Left,
    /// It was stopped.
    Stopped,
    /// It had to end.
    Broken,
}

/// The signals that an agent obeys.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

async fn wait(running: &Running, mut signals: Signals) -> End {
    let mut stopping = running.agent.stopping();
    loop {
        tokio::select! {
            stop = stopping.wait_for(|stop| !matches!(stop, Stop::No)) => {
                return match stop.as_deref() {
                    Ok(Stop::Fatal(_)) => End::Broken,
                    _ => End::Left,
                };
            }
            _ = signals.interrupt.recv() => {
                info!("interrupted");
                return depart(running, running.leaves_on_interrupt).await;
            }
            _ = signals.terminate.recv() => {
                info!("terminated");
                return depart(running, running.leaves_on_terminate).await;
            }
            _ = signals.hang_up.recv() => reload(&*running.agent.operator()).await,
        }
    }
}

/// Leaves the cluster first, where that is wished.
async fn depart(running: &Running, leaves: bool) -> End {
    if !leaves {
        return End::Stopped;
    }
    if let Err(refusal) = running.agent.operator().leave(&Call::default()).await {
        warn!(%refusal, "the cluster was not left in good order");
    }
    End::Left
}

async fn reload(operator: &dyn Operator) {
    match operator.reload(&Call::default()).await {
        Ok(_) => info!("reloaded"),
        Err(refusal) => warn!(%refusal, "not reloaded; the configuration in effect stays"),
    }
}

/// Writes the files that tell others that this agent serves; gives those that end with it.
fn announce(running: &Running) -> Result<Vec<String>, String> {
    let write = |path: &str, content: &str| {
        running
            .host
            .files()
            .replace(path.as_ref(), content.as_bytes())
            .map_err(|error| format!("{path} cannot be written: {error}"))
    };
    let mut written = Vec::new();
    if !running.pid_file.is_empty() {
        write(&running.pid_file, &format!("{}\n", std::process::id()))?;
        written.push(running.pid_file.clone());
    }
    if !running.ready_file.is_empty() {
        write(&running.ready_file, &running.bound.to_string())?;
        written.push(running.ready_file.clone());
    }
    Ok(written)
}

fn fail(why: &str) -> ExitCode {
    error!("{why}");
    // Logs may not be there yet; a closed standard error changes nothing.
    let _ = writeln!(std::io::stderr(), "==> {why}");
    ExitCode::FAILURE
}
