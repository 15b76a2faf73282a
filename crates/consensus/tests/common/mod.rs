//! A machine whose state is every command it was given, and a folder to run it in.
#![allow(unreachable_pub, dead_code, reason = "each test file uses its part of this")]
#![allow(clippy::unwrap_used, reason = "this is test code")]

pub mod site;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use muster_consensus::{
    Committed, Consensus, Folder, Frozen, Machine, NoPeers, OnFatal, Peers, Settings, StartError,
};
use muster_world::World;
use tokio::time::Instant;

/// What was applied, by index. Shared with the test.
#[derive(Clone, Default)]
pub struct Applied(pub Arc<Mutex<BTreeMap<u64, Bytes>>>);

impl Applied {
    pub fn commands(&self) -> Vec<Bytes> {
        self.0.lock().unwrap().values().cloned().collect()
    }
}

impl Machine for Applied {
    fn apply(&mut self, batch: &[Committed], outcomes: &mut Vec<Bytes>) {
        let mut applied = self.0.lock().unwrap();
        for committed in batch {
            applied.insert(committed.index, committed.command.clone());
            outcomes.push(Bytes::from(format!("did {}", committed.command.len())));
        }
    }

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(Standing(self.0.lock().unwrap().clone()))
    }

    fn restore(&mut self, _replaced_at: Option<u64>, from: &mut dyn Read) -> io::Result<()> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        let mut restored = BTreeMap::new();
        let mut rest = &bytes[..];
        while let Some((head, tail)) = rest.split_first_chunk::<16>() {
            let index = u64::from_le_bytes(head[..8].try_into().unwrap());
            let length = u64::from_le_bytes(head[8..].try_into().unwrap()) as usize;
            let command = tail.get(..length).ok_or(io::ErrorKind::UnexpectedEof)?;
            restored.insert(index, Bytes::copy_from_slice(command));
            rest = &tail[length..];
        }
        if !rest.is_empty() {
            return Err(io::Error::other("this is no state"));
        }
        *self.0.lock().unwrap() = restored;
        Ok(())
    }
}

struct Standing(BTreeMap<u64, Bytes>);

impl Frozen for Standing {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        for (index, command) in &self.0 {
            to.write_all(&index.to_le_bytes())?;
            to.write_all(&(command.len() as u64).to_le_bytes())?;
            to.write_all(command)?;
        }
        Ok(())
    }
}

pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

pub async fn start(
    world: &Arc<dyn World>,
    path: &Path,
    settings: Settings,
) -> Result<(Consensus, Applied), StartError> {
    let died: OnFatal = Arc::new(|fatal| panic!("the process would end: {fatal}"));
    start_mortal(world, path, settings, died).await
}

/// Like [`start`], for a server that may die.
pub async fn start_mortal(
    world: &Arc<dyn World>,
    path: &Path,
    settings: Settings,
    on_fatal: OnFatal,
) -> Result<(Consensus, Applied), StartError> {
    start_among(world, path, 7, settings, Arc::new(NoPeers), on_fatal).await
}

/// Like [`start`], for a server with an id of its own and a way to others.
pub async fn start_among(
    world: &Arc<dyn World>,
    path: &Path,
    id: u64,
    settings: Settings,
    peers: Arc<dyn Peers>,
    on_fatal: OnFatal,
) -> Result<(Consensus, Applied), StartError> {
    let (opening, at) = (world.clone(), path.to_owned());
    let opened = tokio::task::spawn_blocking(move || Folder::open(opening, &at, Some(id))).await;
    let applied = Applied::default();
    let machine = Box::new(applied.clone());
    let consensus = Consensus::start(settings, opened.unwrap()?, machine, peers, on_fatal).await?;
    Ok((consensus, applied))
}
