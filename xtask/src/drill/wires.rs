//! Servers in network namespaces of their own, and the wires between them, to be cut.
//!
//! A hub, itself a namespace, holds a bridge to which each server is wired for what servers say to
//! each other, and beside it one wire to each server for clients, which is never cut. The clients
//! of the drill live in the hub. A wire that is cut is taken off the bridge: frames vanish, and
//! nobody is told. One direction is cut by giving a neighbor a hardware address that nobody has.
//!
//! A namespace lives as long as a process in it: the processes that keep these end with the drill,
//! and nothing is left behind on the machine.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::geteuid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::lab::Plan;
use crate::process::{self, Group};

/// How long the keeper of a namespace may take to be in it.
const KEPT_WITHIN: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_millis(5);
/// A hardware address that nobody has (locally administered, IEEE 802).
const NOBODY: &str = "02:00:00:00:0f:ff";

/// The hub and the servers' namespaces.
pub(super) struct Wires {
    _hub: Group,
    servers: Vec<Group>,
}

impl Wires {
    /// Makes the namespaces and wires for so many servers, and moves the calling thread into the
    /// hub: what it starts from now on is there too. Says why if this machine does not let it.
    pub(super) fn lay(n_servers: usize) -> Result<Self, String> {
        if !geteuid().is_root() {
            return Err("only root may make network namespaces".to_owned());
        }
        for program in ["ip", "unshare", "nsenter", "sleep"] {
            if !process::is_on_path(program) {
                return Err(format!("{program} is not installed"));
            }
        }
        let hub = keeper()?;
        let net = File::open(format!("/proc/{}/ns/net", hub.id()));
        let net = net.map_err(|error| error.to_string())?;
        move_into_link_name_space(net.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| format!("the hub cannot be entered: {error}"))?;
        ip("link set lo up")?;
        ip("link add hub type bridge")?;
        ip("link set hub up")?;
        let servers = (0..n_servers).map(|_| keeper()).collect::<Result<_, _>>()?;
        let wires = Self { _hub: hub, servers };
        for at in 0..n_servers {
            wires.wire(at)?;
        }
        Ok(wires)
    }

    fn wire(&self, at: usize) -> Result<(), String> {
        let keeper = self.servers[at].id();
        for (outside, inside) in [("peers", "servers"), ("door", "clients")] {
            ip(&format!("link add {outside}{at} type veth peer name {inside} netns {keeper}"))?;
            ip(&format!("link set {outside}{at} up"))?;
        }
        ip(&format!("link set peers{at} master hub"))?;
        ip(&format!("addr add {}/24 dev door{at}", client_host(at, 254)))?;
        self.inside(at, "link set lo up")?;
        self.inside(at, &format!("addr add {}/24 dev servers", server_host(at)))?;
        self.inside(at, "link set servers up")?;
        self.inside(at, &format!("addr add {}/24 dev clients", client_host(at, 1)))?;
        self.inside(at, "link set clients up")
    }

    /// How servers are started in their namespaces.
    pub(super) fn plan(&self, scratch: &Path) -> Plan {
        let n_servers = self.servers.len();
        let prefix = |keeper: &Group| {
            vec!["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", keeper.id())]
        };
        Plan {
            hosts: (0..n_servers).map(server_host).collect(),
            client_hosts: (0..n_servers).map(|at| client_host(at, 1)).collect(),
            prefixes: self.servers.iter().map(prefix).collect(),
            // These addresses are not of loopback, and yet nobody else reaches them.
            flags: vec!["--insecure-bind".to_owned()],
            ..Plan::usual(scratch)
        }
    }

    /// No other server hears this one, nor does it hear them.
    pub(super) fn cut(&self, at: usize) -> Result<(), String> {
        ip(&format!("link set peers{at} nomaster"))
    }

    /// What one server sends to another is lost.
    pub(super) fn mute(&self, from: usize, to: usize) -> Result<(), String> {
        let to = server_host(to);
        self.inside(from, &format!("neigh replace {to} lladdr {NOBODY} nud permanent dev servers"))
    }

    /// All hear each other again.
    pub(super) fn heal(&self) -> Result<(), String> {
        for at in 0..self.servers.len() {
            ip(&format!("link set peers{at} master hub"))?;
            self.inside(at, "neigh flush nud permanent dev servers")?;
        }
        Ok(())
    }

    fn inside(&self, at: usize, words: &str) -> Result<(), String> {
        let net = format!("--net=/proc/{}/ns/net", self.servers[at].id());
        run(Command::new("nsenter").args([&net, "ip"]).args(words.split(' ')))
    }
}

fn server_host(at: usize) -> String {
    format!("10.77.0.{}", at + 1)
}

fn client_host(at: usize, end: u8) -> String {
    format!("10.78.{at}.{end}")
}

/// A process that does nothing, in a new network namespace.
fn keeper() -> Result<Group, String> {
    let mut command = Command::new("unshare");
    command.args(["--net", "--", "sleep", "infinity"]);
    let keeper = Group::start(&mut command, Path::new("/dev/null"));
    let mut keeper = keeper.map_err(|error| error.to_string())?;
    let own = std::fs::read_link("/proc/thread-self/ns/net").map_err(|error| error.to_string())?;
    let started_at = std::time::Instant::now();
    loop {
        let its = std::fs::read_link(format!("/proc/{}/ns/net", keeper.id()));
        if its.is_ok_and(|its| its != own) {
            return Ok(keeper);
        }
        let has_ended = keeper.ended().map_err(|error| error.to_string())?.is_some();
        if has_ended || started_at.elapsed() > KEPT_WITHIN {
            return Err("this machine allows no network namespaces".to_owned());
        }
        std::thread::sleep(GLANCE);
    }
}

fn ip(words: &str) -> Result<(), String> {
    run(Command::new("ip").args(words.split(' ')))
}

fn run(command: &mut Command) -> Result<(), String> {
    let out = command.output().map_err(|error| error.to_string())?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&out.stderr).trim()))
}
