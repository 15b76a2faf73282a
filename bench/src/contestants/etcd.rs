//! etcd of Debian, through gRPC as its real clients speak it; a connection is one of HTTP/2.
//!
//! An instance is a key with 256 bytes, which is what people keep in etcd for one.

mod wire;

use std::path::{Path, PathBuf};

use self::wire::Channel;
use crate::Result;
use crate::contestant::{
    Addresses, Connection, Contestant, Deed, Doing, Instance, Kind, LISTED, Plan, Watched, value,
};
use crate::install;
use crate::process::{Launch, free_ports};

/// etcd, in the version of the machine's Debian.
pub(crate) struct Etcd;

const PROGRAM: &str = "/usr/bin/etcd";

impl Contestant for Etcd {
    fn name(&self) -> &str {
        "etcd"
    }

    fn can(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Put | Kind::Get | Kind::Create | Kind::List)
            || matches!(kind, Kind::Register | Kind::Deregister)
            || matches!(kind, Kind::WatchPair | Kind::WatchTogether | Kind::WatchOnStream)
    }

    fn install(&self) -> Result<String> {
        install::debian("etcd-server", Path::new(PROGRAM))?;
        let said = install::said(std::process::Command::new(PROGRAM).arg("--version"))?;
        Ok(said.lines().next().unwrap_or_default().replace("etcd Version: ", ""))
    }

    fn plans(&self, folders: &[PathBuf]) -> Result<Vec<Plan>> {
        let ports = free_ports(2 * folders.len())?;
        let at = |port: u16| format!("http://127.0.0.1:{port}");
        let cluster = ports.chunks(2).enumerate();
        let cluster = cluster.map(|(number, ports)| format!("bench-{number}={}", at(ports[1])));
        let cluster = cluster.collect::<Vec<_>>().join(",");
        let plan = |(number, folder): (usize, &PathBuf)| {
            let (client, peer) = (ports[2 * number], ports[2 * number + 1]);
            let options = [
                ("name", format!("bench-{number}")),
                ("data-dir", folder.join("data").display().to_string()),
                ("listen-client-urls", at(client)),
                ("advertise-client-urls", at(client)),
                ("listen-peer-urls", at(peer)),
                ("initial-advertise-peer-urls", at(peer)),
                ("initial-cluster", cluster.clone()),
                ("logger", "zap".into()),
                ("log-level", "warn".into()),
            ];
            let arguments = options.map(|(name, value)| format!("--{name}={value}")).into();
            let (program, folder) = (PROGRAM.into(), folder.clone());
            let addresses = Addresses::from([("grpc".into(), ([127, 0, 0, 1], client).into())]);
            let launch = Launch { program, arguments, folder, ..Launch::default() };
            Plan { launch, addresses, ready_file: None }
        };
        Ok(folders.iter().enumerate().map(plan).collect())
    }

    fn connect<'a>(&'a self, to: &'a Addresses) -> Doing<'a, Box<dyn Connection>> {
        Box::pin(async move {
            let at = *to.get("grpc").ok_or("no address for gRPC")?;
            let channel = Channel::open(at).await?;
            Ok(Box::new(Client { channel, watches: Vec::new() }) as Box<dyn Connection>)
        })
    }

    fn leads<'a>(&'a self, server: &'a Addresses) -> Doing<'a, bool> {
        Box::pin(async move {
            let at = *server.get("grpc").ok_or("no address for gRPC")?;
            let status = Channel::open(at).await?.call("Maintenance/Status", Vec::new()).await?;
            wire::is_leader(&status)
        })
    }
}

struct Client {
    channel: Channel,
    watches: Vec<wire::Stream>,
}

impl Client {
    async fn watch(&mut self, number: usize) -> Result<()> {
        self.watch_on_stream(number, 1).await
    }

    async fn watch_on_stream(&mut self, number: usize, n_watches: usize) -> Result<()> {
        let mut stream = self.channel.watch(wire::watch(&pair(number)), n_watches).await?;
        // The first message for each says that it stands.
        stream.next_of_each().await?;
        self.watches.push(stream);
        Ok(())
    }
}

impl Connection for Client {
    fn perform(&mut self, deed: Deed) -> Doing<'_, usize> {
        Box::pin(async move {
            let (method, message) = match deed {
                Deed::Put(number) => ("KV/Put", wire::put(&pair(number), &value())),
                Deed::Get(number) => ("KV/Range", wire::range(&pair(number))),
                Deed::Create(number) => {
                    ("KV/Txn", wire::create(&format!("created/{number}"), &value()))
                }
                Deed::List => ("KV/Range", wire::range_of(&format!("bench/{LISTED}"))),
                Deed::Register(instance) => ("KV/Put", wire::put(&key(instance), &value())),
                Deed::Deregister(instance) => ("KV/DeleteRange", wire::range(&key(instance))),
                deed => return Err(format!("etcd does not know {deed:?}").into()),
            };
            let answer = self.channel.call(method, message).await?;
            let is_right = match deed.kind() {
                Kind::Get | Kind::List => wire::has_pair(&answer),
                Kind::Create => wire::has_succeeded(&answer),
                _ => true,
            };
            if is_right {
                Ok(answer.len())
            } else {
                Err(format!("{deed:?} came to nothing").into())
            }
        })
    }

    fn park(&mut self, watched: Watched) -> Doing<'_, ()> {
        Box::pin(async move {
            let Watched::Pair(number) = watched else { return Err("no services".into()) };
            self.watch(number).await
        })
    }

    fn woken(&mut self) -> Doing<'_, ()> {
        Box::pin(async move {
            self.watches.first_mut().ok_or("it watches nothing")?.next().await?;
            Ok(())
        })
    }

    fn park_together(&mut self, pair: usize, n_watches: usize) -> Doing<'_, ()> {
        Box::pin(async move {
            for _ in 0..n_watches {
                self.watch(pair).await?;
            }
            Ok(())
        })
    }

    fn park_on_stream(&mut self, pair: usize, n_watches: usize) -> Doing<'_, ()> {
        Box::pin(self.watch_on_stream(pair, n_watches))
    }

    fn all_woken(&mut self) -> Doing<'_, ()> {
        Box::pin(async move {
            for watch in &mut self.watches {
                watch.next_of_each().await?;
            }
            Ok(())
        })
    }

    fn is_silent(&mut self) -> Doing<'_, bool> {
        Box::pin(async move {
            let watch = self.watches.first_mut().ok_or("it watches nothing")?;
            Ok(tokio::time::timeout(std::time::Duration::ZERO, watch.next()).await.is_err())
        })
    }
}

fn pair(number: usize) -> String {
    format!("bench/{number}")
}

fn key(instance: Instance) -> String {
    format!("services/{}/{}", instance.service.name(), instance.id())
}
