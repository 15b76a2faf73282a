//! The servers of one contestant, started together, and what they cost in sum.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::Result;
use crate::contestant::{Addresses, Connection, Contestant, Plan};
use crate::process::{Process, data_folder};
use crate::written;

/// How long servers may take to do their first deed.
const READY_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a server may take over a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one attempt at it may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server is let alone between attempts.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(2);

/// One server, or several that form one cluster.
pub(crate) struct Cluster {
    pub(crate) contestant: Rc<dyn Contestant>,
    servers: Vec<Server>,
    /// From the start until every server had done its first deed.
    pub(crate) ready_after: Duration,
}

struct Server {
    plan: Plan,
    /// Nothing while it is down.
    process: Option<Process>,
}

impl Cluster {
    /// Starts as many servers on new folders, and waits until each has done a first deed.
    pub(crate) async fn start(
        contestant: &Rc<dyn Contestant>,
        n_servers: usize,
    ) -> Result<Cluster> {
        let folders: Result<Vec<PathBuf>> = (0..n_servers).map(|_| data_folder()).collect();
        let plans = contestant.plans(&folders?)?;
        let servers = plans.into_iter().map(|plan| Server { plan, process: None }).collect();
        let (contestant, ready_after) = (contestant.clone(), Duration::ZERO);
        let mut cluster = Cluster { contestant, servers, ready_after };
        let begun = Instant::now();
        for server in &mut cluster.servers {
            server.start()?;
        }
        for number in 0..n_servers {
            cluster.until_ready(number).await?;
        }
        cluster.ready_after = begun.elapsed();
        Ok(cluster)
    }

    /// How many servers it has, running or not.
    pub(crate) fn n_servers(&self) -> usize {
        self.servers.len()
    }

    /// The addresses of a server.
    pub(crate) fn addresses(&self, number: usize) -> &Addresses {
        &self.servers[number].plan.addresses
    }

    /// Opens a connection to a server.
    pub(crate) async fn connect(&self, number: usize) -> Result<Box<dyn Connection>> {
        let connecting = self.contestant.connect(self.addresses(number));
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        connected.map_err(|_| "it does not take a connection: it hangs")?
    }

    /// Opens so many connections, to the leader first and then to all servers in turn.
    pub(crate) async fn crew(&self, n_connections: usize) -> Result<Vec<Box<dyn Connection>>> {
        let first = if self.n_servers() == 1 { 0 } else { self.leader().await? };
        let mut crew = Vec::with_capacity(n_connections);
        for number in 0..n_connections {
            crew.push(self.connect((first + number) % self.n_servers()).await?);
        }
        Ok(crew)
    }

    /// The server that leads.
    pub(crate) async fn leader(&self) -> Result<usize> {
        let begun = Instant::now();
        while begun.elapsed() < READY_TIMEOUT {
            for number in 0..self.n_servers() {
                // One that is down does not lead.
                if self.contestant.leads(self.addresses(number)).await.unwrap_or(false) {
                    return Ok(number);
                }
            }
            tokio::time::sleep(ATTEMPT_INTERVAL).await;
        }
        Err("no server leads".into())
    }

    /// Kills a server at once.
    pub(crate) fn kill(&mut self, number: usize) {
        self.servers[number].process = None;
    }

    /// Kills all of them.
    pub(crate) fn kill_all(&mut self) {
        (0..self.n_servers()).for_each(|number| self.kill(number));
    }

    /// Ends a server in good order.
    pub(crate) fn stop(&mut self, number: usize) -> Result<()> {
        self.servers[number].process.take().map_or(Ok(()), Process::stop)
    }

    /// Starts a server again on its folder; gives the time until it had done a deed.
    pub(crate) async fn start_again(&mut self, number: usize) -> Result<Duration> {
        let begun = Instant::now();
        self.servers[number].start()?;
        self.until_ready(number).await?;
        Ok(begun.elapsed())
    }

    /// CPU time of all servers.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.processes().map(Process::cpu).sum()
    }

    /// Bytes that all servers have resident.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        self.processes().map(Process::resident_bytes).sum()
    }

    /// Bytes written so far to the disk of the servers, by whomever.
    pub(crate) fn written_bytes(&self) -> Option<u64> {
        written::on_disk_of(&self.servers.first()?.plan.launch.folder)
    }

    /// The process ids of the servers that run.
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.processes().map(Process::id).collect()
    }

    /// An error with the last words of a server that has ended unasked.
    pub(crate) fn is_running(&mut self) -> Result<()> {
        let mut processes = self.servers.iter_mut().filter_map(|server| server.process.as_mut());
        processes.try_for_each(Process::is_running)
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        self.servers.iter().filter_map(|server| server.process.as_ref())
    }

    /// Waits until a server does what it is asked first.
    async fn until_ready(&mut self, number: usize) -> Result<()> {
        let begun = Instant::now();
        loop {
            if let Some(process) = &mut self.servers[number].process {
                process.is_running()?;
            }
            let attempt = self.servers[number].learn_addresses();
            let attempt = match attempt {
                Ok(()) => {
                    let attempt = self.do_first(number);
                    tokio::time::timeout(ATTEMPT_TIMEOUT, attempt)
                        .await
                        .unwrap_or_else(|_| Err("it does not answer".into()))
                }
                Err(error) => Err(error),
            };
            match attempt {
                Ok(_) => return Ok(()),
                Err(error) if begun.elapsed() > READY_TIMEOUT => {
                    return Err(format!("not ready after {READY_TIMEOUT:?}: {error}").into());
                }
                Err(_) => tokio::time::sleep(ATTEMPT_INTERVAL).await,
            }
        }
    }

    async fn do_first(&self, number: usize) -> Result<usize> {
        self.connect(number).await?.perform(self.contestant.first_deed()).await
    }
}

impl Server {
    fn start(&mut self) -> Result<()> {
        if let Some(path) = &self.plan.ready_file {
            // What an earlier start left would say that it serves already.
            let _ = std::fs::remove_file(path);
        }
        self.process = Some(Process::start(&self.plan.launch)?);
        Ok(())
    }

    /// Reads where it serves, if it is the one who chooses.
    fn learn_addresses(&mut self) -> Result<()> {
        let Some(path) = &self.plan.ready_file else { return Ok(()) };
        let bound: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&std::fs::read(path)?)?;
        for (name, address) in bound {
            if let Some(address) = address.as_str() {
                self.plan.addresses.insert(name, address.parse()?);
            }
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in &mut self.servers {
            server.process = None;
            let _ = std::fs::remove_dir_all(&server.plan.launch.folder);
        }
    }
}
