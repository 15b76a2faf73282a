//! A cluster: servers on hosts, and whoever starts them again when they exit.
//!
//! This is what a nemesis works on and what clients talk to. It adds to the simulation which
//! server sits on which host, and that a process that ended by itself is started again, as a
//! service manager would.

use std::time::Duration;

use muster_world::memory::Faults;

use crate::history::Leadership;
use crate::host::Standing;
use crate::network::Latency;
use crate::plant::{Plant, forget_vote};
use crate::servers::{Seat, Server, server_program};
use crate::simulation::Simulation;
use crate::trace::{HostNumber, Telling};

/// How long a service manager waits before it starts an exited process again.
const RESTART_AFTER: Duration = Duration::from_millis(500);

/// Servers on hosts.
pub struct Cluster {
    /// The hosts and the network: host number n carries server number n.
    pub simulation: Simulation,
    seats: Vec<Seat>,
    /// When an exited process is started again.
    restarts: Vec<Option<Duration>>,
    disk_faults: Vec<Faults>,
    /// What each server was last seen to lead: life and term.
    led: Vec<(u32, u64)>,
    leaderships: Vec<Leadership>,
    /// Why processes exited, oldest first.
    exits: Vec<(HostNumber, String)>,
    plant: Option<Plant>,
}

impl Cluster {
    /// Servers that are told these setups, all booted.
    #[must_use]
    pub fn start(
        seed: u64,
        latency: Latency,
        telling: Telling,
        setups: Vec<muster_agent::Setup>,
    ) -> Cluster {
        let mut simulation = Simulation::new(seed, latency, telling);
        let mut seats = Vec::new();
        for (number, setup) in setups.into_iter().enumerate() {
            let seat = Seat::default();
            let program = server_program(seat.clone(), move || setup.clone());
            let host = simulation.add_host(&format!("server-{number}"), program);
            simulation.boot(host);
            seats.push(seat);
        }
        let n = seats.len();
        Cluster {
            simulation,
            seats,
            restarts: vec![None; n],
            disk_faults: vec![Faults::default(); n],
            led: vec![(0, 0); n],
            leaderships: Vec::new(),
            exits: Vec::new(),
            plant: None,
        }
    }

    /// Lets the servers seem to make a mistake from now on.
    pub fn plant(&mut self, plant: Plant) {
        self.plant = Some(plant);
        for server in 0..self.n_servers() {
            self.change_disk_faults(server, |_| {});
        }
    }

    /// The mistake that the servers seem to make.
    #[must_use]
    pub fn planted(&self) -> Option<Plant> {
        self.plant
    }

    /// Servers there are.
    #[must_use]
    pub fn n_servers(&self) -> usize {
        self.seats.len()
    }

    /// A server, if it runs and has come up.
    #[must_use]
    pub fn server(&self, number: HostNumber) -> Option<Server> {
        self.seats[number].server()
    }

    /// Who took itself for the leader so far, each time a server began to.
    #[must_use]
    pub fn leaderships(&self) -> &[Leadership] {
        &self.leaderships
    }

    /// Why processes exited, oldest first.
    #[must_use]
    pub fn exits(&self) -> &[(HostNumber, String)] {
        &self.exits
    }

    /// Lets one quantum pass.
    pub fn step(&mut self) {
        self.simulation.step();
        for (host, why) in self.simulation.exited().to_vec() {
            self.seats[host].clear();
            self.exits.push((host, why));
            self.restarts[host] = Some(self.simulation.now() + RESTART_AFTER);
        }
        for host in 0..self.n_servers() {
            if self.restarts[host].is_some_and(|at| at <= self.simulation.now()) {
                self.boot(host);
            }
        }
        self.note_leaders();
    }

    /// Lets some time pass.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.simulation.now() + time;
        while self.simulation.now() < until {
            self.step();
        }
    }

    /// Lets time pass until something holds, at most so long; whether it came to hold.
    pub fn run_until(&mut self, at_most: Duration, holds: impl Fn(&Cluster) -> bool) -> bool {
        let until = self.simulation.now() + at_most;
        while !holds(self) {
            if self.simulation.now() >= until {
                return false;
            }
            self.step();
        }
        true
    }

    fn note_leaders(&mut self) {
        for server in 0..self.n_servers() {
            let Some(running) = self.seats[server].server() else { continue };
            let (is_leader, term) = {
                let leadership = running.agent.leadership();
                let now = leadership.borrow();
                (now.is_leader, now.term)
            };
            let life = self.simulation.n_lives(server);
            if is_leader && self.led[server] != (life, term) {
                self.led[server] = (life, term);
                self.simulation.trace().tell_of(server, &format!("leads in term {term}"));
                let since = self.simulation.now();
                self.leaderships.push(Leadership { server, term, since });
            }
        }
    }
}

// ------------------------------------------------------------------------------------------------
// What a nemesis does
// ------------------------------------------------------------------------------------------------

impl Cluster {
    /// Starts a server that is down.
    pub fn boot(&mut self, server: HostNumber) {
        self.restarts[server] = None;
        let standing = self.simulation.standing(server);
        if matches!(standing, Standing::Down | Standing::WithoutPower) {
            if self.plant == Some(Plant::LosesVotes) {
                forget_vote(self.simulation.disk(server));
            }
            self.simulation.boot(server);
        }
    }

    /// Kills a server; it stays down until it is booted.
    pub fn kill(&mut self, server: HostNumber) {
        self.restarts[server] = None;
        if matches!(self.simulation.standing(server), Standing::Up | Standing::Paused) {
            self.simulation.kill(server);
        }
        self.seats[server].clear();
    }

    /// Cuts a server's power; it stays down until it is booted.
    pub fn cut_power(&mut self, server: HostNumber) {
        self.restarts[server] = None;
        self.simulation.cut_power(server);
        self.seats[server].clear();
    }

    /// Changes what is wrong with a server's disk, beside what is wrong with it already.
    pub fn change_disk_faults(&mut self, server: HostNumber, change: impl FnOnce(&mut Faults)) {
        change(&mut self.disk_faults[server]);
        let lies = self.plant == Some(Plant::AcknowledgesBeforeSync);
        self.disk_faults[server].syncs_do_nothing = lies;
        self.simulation.set_disk_faults(server, self.disk_faults[server].clone());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The agents go before the runtimes that they run on.
        self.seats.iter().for_each(Seat::clear);
    }
}
