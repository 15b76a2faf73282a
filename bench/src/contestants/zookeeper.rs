//! ZooKeeper of Debian, by its own protocol.
//!
//! A pair is a znode of 256 bytes that is written over; an instance is a znode of 256 bytes that is
//! created, or written over the next time. Reads are what `getData` gives: what the server knows,
//! which is not linearizable.

mod wire;

use std::path::{Path, PathBuf};

use self::wire::{NO_NODE, NODE_EXISTS, Session};
use crate::Result;
use crate::contestant::{
    Addresses, Connection, Contestant, Deed, Doing, Instance, Kind, Plan, Watched, value,
};
use crate::install;
use crate::process::{Launch, free_ports};

/// ZooKeeper, in the version of the machine's Debian.
pub(crate) struct ZooKeeper;

const PROGRAM: &str = "/usr/bin/java";
const CLASSES: &str = "/usr/share/java/zookeeper.jar";
/// The heap that ZooKeeper's own start script gives a server.
const HEAP: &str = "-Xmx1000m";

impl Contestant for ZooKeeper {
    fn name(&self) -> &str {
        "ZooKeeper"
    }

    fn can(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Put | Kind::Get | Kind::Create)
            || matches!(kind, Kind::Register | Kind::Deregister | Kind::WatchPair)
    }

    fn install(&self) -> Result<String> {
        install::debian("zookeeper", Path::new(CLASSES))?;
        let asked = ["-W", "-f=${Version}", "zookeeper"];
        install::said(std::process::Command::new("dpkg-query").args(asked))
    }

    fn plans(&self, folders: &[PathBuf]) -> Result<Vec<Plan>> {
        let ports = free_ports(3 * folders.len())?;
        let ports: Vec<&[u16]> = ports.chunks(3).collect();
        let mut plans = Vec::new();
        for (number, folder) in folders.iter().enumerate() {
            std::fs::write(folder.join("zoo.cfg"), settings(folder, &ports, number))?;
            let data = folder.join("data");
            std::fs::create_dir_all(&data)?;
            std::fs::write(data.join("myid"), (number + 1).to_string())?;
            let main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
            let arguments = [HEAP, "-cp", CLASSES, main, "zoo.cfg"].map(String::from).into();
            let launch = Launch {
                program: PROGRAM.into(),
                arguments,
                folder: folder.clone(),
                ..Launch::default()
            };
            let client = ([127, 0, 0, 1], ports[number][0]).into();
            let addresses = Addresses::from([("client".into(), client)]);
            plans.push(Plan { launch, addresses, ready_file: None });
        }
        Ok(plans)
    }

    fn connect<'a>(&'a self, to: &'a Addresses) -> Doing<'a, Box<dyn Connection>> {
        Box::pin(async move {
            let at = *to.get("client").ok_or("no address for clients")?;
            let mut session = Session::open(at).await?;
            for folder in ["/bench", "/services"] {
                session.create(folder, "").await?.unless(NODE_EXISTS)?;
            }
            Ok(Box::new(Client { session }) as Box<dyn Connection>)
        })
    }

    fn leads<'a>(&'a self, server: &'a Addresses) -> Doing<'a, bool> {
        Box::pin(async move {
            let at = *server.get("client").ok_or("no address for clients")?;
            Ok(wire::word(at, "srvr").await?.contains("Mode: leader"))
        })
    }
}

/// The manual's example, on these ports, with every client from one address.
fn settings(folder: &Path, ports: &[&[u16]], number: usize) -> String {
    let mut out = format!(
        "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={}\n\
         clientPortAddress=127.0.0.1\nmaxClientCnxns=0\nmaxSessionTimeout=3600000\n\
         admin.enableServer=false\n",
        folder.join("data").display(),
        ports[number][0]
    );
    for (number, ports) in ports.iter().enumerate().filter(|_| ports.len() > 1) {
        let (peers, election, id) = (ports[1], ports[2], number + 1);
        out.push_str(&format!("server.{id}=127.0.0.1:{peers}:{election}\n"));
    }
    out
}

struct Client {
    session: Session,
}

impl Connection for Client {
    fn perform(&mut self, deed: Deed) -> Doing<'_, usize> {
        Box::pin(async move {
            match deed {
                Deed::Put(number) => self.write(&pair(number)).await,
                Deed::Get(number) => self.session.read(&pair(number), false).await?.well(),
                Deed::Create(number) => {
                    self.session.create(&format!("/bench/new-{number}"), &value()).await?.well()
                }
                Deed::Register(instance) => self.write(&znode(instance)).await,
                Deed::Deregister(instance) => {
                    self.session.delete(&znode(instance)).await?.unless(NO_NODE)
                }
                deed => Err(format!("ZooKeeper does not know {deed:?}").into()),
            }
        })
    }

    fn park(&mut self, watched: Watched) -> Doing<'_, ()> {
        Box::pin(async move {
            let Watched::Pair(number) = watched else { return Err("no services".into()) };
            self.session.read(&pair(number), true).await?.well()?;
            Ok(())
        })
    }

    /// Is told, and reads what there is now, as a client does.
    fn woken(&mut self) -> Doing<'_, ()> {
        Box::pin(async move {
            let path = self.session.told().await?;
            self.session.read(&path, false).await?.well()?;
            Ok(())
        })
    }

    fn is_silent(&mut self) -> Doing<'_, bool> {
        Box::pin(async move {
            let told = tokio::time::timeout(std::time::Duration::ZERO, self.session.told());
            Ok(told.await.is_err())
        })
    }
}

impl Client {
    /// Writes a znode over, or creates it.
    async fn write(&mut self, path: &str) -> Result<usize> {
        let value = value();
        let reply = self.session.write(path, &value).await?;
        if reply.error != NO_NODE {
            return reply.well();
        }
        self.session.create(path, &value).await?.unless(NODE_EXISTS)
    }
}

fn pair(number: usize) -> String {
    format!("/bench/{number}")
}

fn znode(instance: Instance) -> String {
    format!("/services/{}", instance.id())
}
