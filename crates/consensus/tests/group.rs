//! Several servers agree, survive the loss of one, take others in and let them go.
#![allow(clippy::unwrap_used, reason = "this is test code")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::site::{Links, Server, leader_of, voter};
use common::soon;
use muster_consensus::{Founding, ProposeError, Settings};
use tokio::time::Instant;

async fn write(server: &Server, text: &str) -> Result<u64, ProposeError> {
    let text = Bytes::copy_from_slice(text.as_bytes());
    server.consensus.propose(text, soon()).await.map(|decided| decided.index)
}

fn commands(server: &Server) -> Vec<String> {
    let commands = server.applied.commands();
    commands.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
}

async fn until_has(server: &Server, index: u64) {
    assert!(server.consensus.wait_applied(index, soon()).await, "{} is behind", server.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_any_server_proposes_all_apply_in_one_order() {
    let links = Arc::new(Links::default());
    let servers = links.group(3).await;
    let mut last = 0;
    for (n, server) in servers.iter().cycle().take(9).enumerate() {
        last = write(server, &format!("{n}")).await.unwrap();
        assert_eq!(commands(server).last(), Some(&n.to_string()), "it is applied where it came");
    }
    for server in &servers {
        until_has(server, last).await;
        assert_eq!(commands(server), (0..9).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_at_a_follower_sees_what_was_acknowledged_elsewhere() {
    let links = Arc::new(Links::default());
    let servers = links.group(3).await;
    let leader = leader_of(&servers).await;
    for n in 0..20 {
        let written = write(&servers[leader], &n.to_string()).await.unwrap();
        let follower = &servers[(leader + 1 + n % 2) % 3];
        let confirmed = follower.consensus.confirm(soon()).await.unwrap();
        assert!(confirmed >= written, "confirmed {confirmed}, written {written}");
        until_has(follower, confirmed).await;
        assert_eq!(commands(follower).last(), Some(&n.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_dies_another_leads_and_nothing_acknowledged_is_lost() {
    let links = Arc::new(Links::default());
    let mut servers = links.group(3).await;
    let mut written = Vec::new();
    for n in 0..10 {
        write(&servers[n % 3], &n.to_string()).await.unwrap();
        written.push(n.to_string());
    }
    let leader = leader_of(&servers).await;
    let died = servers.remove(leader);
    let id = died.id;
    let world = links.kill(died);
    write(&servers[0], "after").await.unwrap();
    written.push("after".to_owned());
    assert_eq!(commands(&servers[0]), written);

    let settings =
        Settings { address: voter(id).address, founding: Founding::Wait, ..Settings::default() };
    servers.push(links.start_on(id, world, settings).await);
    let last = write(&servers[2], "again").await.unwrap();
    written.push("again".to_owned());
    until_has(&servers[2], last).await;
    assert_eq!(commands(&servers[2]), written, "who comes back catches up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_cannot_be_reached_is_tried_now_and_then() {
    let links = Arc::new(Links::default());
    let mut servers = links.group(3).await;
    let leader = leader_of(&servers).await;
    let down = servers.remove((leader + 1) % 3);
    links.kill(down);
    let leader = leader_of(&servers).await;
    let (n_before, began_at) = (links.n_opened(), Instant::now());
    while began_at.elapsed() < Duration::from_secs(1) {
        write(&servers[leader], "one more").await.unwrap();
    }
    let n_tries = links.n_opened() - n_before;
    assert!(n_tries < 50, "{n_tries} tries in a second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_falls_silent_is_not_waited_for_once_another_leads() {
    let links = Arc::new(Links::default());
    let servers = links.group(3).await;
    write(&servers[0], "before").await.unwrap();
    let leader = leader_of(&servers).await;
    let follower = &servers[(leader + 1) % 3];
    links.silence(servers[leader].id);
    let silent_since = Instant::now();
    let deadline = silent_since + Duration::from_secs(60);
    let proposed = follower.consensus.propose(Bytes::from_static(b"lost"), deadline);
    let (proposed, confirmed) = tokio::join!(proposed, follower.consensus.confirm(deadline));
    assert!(matches!(proposed, Err(ProposeError::Unknown)), "{proposed:?}");
    assert!(confirmed.is_ok(), "another confirms it: {confirmed:?}");
    assert!(silent_since.elapsed() < Duration::from_secs(20), "neither waited for its deadline");
    write(follower, "after").await.unwrap();
    assert_eq!(commands(follower), ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_writes_and_confirmed_reads_are_refused_soon() {
    let links = Arc::new(Links::default());
    let servers = links.group(3).await;
    write(&servers[0], "before").await.unwrap();
    let leader = leader_of(&servers).await;
    links.cut(servers[leader].id);
    let deadline = Instant::now() + Duration::from_secs(1);
    let refused = servers[leader].consensus.propose(Bytes::from_static(b"lost"), deadline).await;
    assert!(
        matches!(refused, Err(ProposeError::Unknown | ProposeError::NotLeader(_))),
        "{refused:?}"
    );
    let refused = servers[leader].consensus.confirm(soon()).await;
    assert!(matches!(refused, Err(ProposeError::NotLeader(None))), "{refused:?}");
    assert!(servers[leader].consensus.leader().is_none(), "it no longer claims that anybody leads");
    write(&servers[(leader + 1) % 3], "meanwhile").await.unwrap();
    links.heal();
    leader_of(&servers).await;
    let last = write(&servers[leader], "healed").await.unwrap();
    for server in &servers {
        until_has(server, last).await;
        assert_eq!(commands(server), ["before", "meanwhile", "healed"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_grows_to_three_and_shrinks_to_one_again() {
    let links = Arc::new(Links::default());
    let first = links.start_with(1, |settings| settings.founding = Founding::Alone).await;
    write(&first, "alone").await.unwrap();
    assert!(first.consensus.confirmed().is_some(), "alone it confirms reads by itself");
    let mut servers = vec![first];
    for id in [2, 3] {
        servers.push(links.start(id).await);
        servers[0].consensus.put_learner(&voter(id), soon()).await.unwrap();
        servers[0].consensus.promote(id, soon()).await.unwrap();
    }
    let last = write(&servers[2], "three").await.unwrap();
    assert!(servers[0].consensus.confirmed().is_none(), "it needs a quorum now");
    until_has(&servers[1], last).await;
    assert_eq!(servers[0].consensus.servers().iter().filter(|s| s.is_voter).count(), 3);

    for id in [2, 3] {
        servers[0].consensus.remove(id, soon()).await.unwrap();
    }
    assert!(servers[0].consensus.confirmed().is_some(), "alone again");
    write(&servers[0], "one").await.unwrap();
    let refused = servers[0].consensus.remove(1, soon()).await.unwrap_err();
    assert!(refused.to_string().contains("last server that votes"), "{refused}");
    assert_eq!(commands(&servers[0]), ["alone", "three", "one"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_far_behind_is_brought_a_snapshot() {
    let links = Arc::new(Links::default());
    let first = links
        .start_with(1, |settings| {
            settings.founding = Founding::Alone;
            settings.snapshot_after = 32;
            settings.entries_kept = 0;
            settings.segment_bytes = 16 << 10;
        })
        .await;
    for n in 0..200 {
        write(&first, &n.to_string()).await.unwrap();
    }
    first.consensus.snapshot_now(soon()).await.unwrap();
    let second = links.start(2).await;
    first.consensus.put_learner(&voter(2), soon()).await.unwrap();
    let last = write(&first, "last").await.unwrap();
    until_has(&second, last).await;
    assert_eq!(commands(&second), commands(&first));
    assert!(second.consensus.stats().snapshot_index >= 100, "{:?}", second.consensus.stats());
    let files = second.world.files().list("/d/snapshot".as_ref()).unwrap();
    assert_eq!(files.len(), 1, "nothing of the way stays behind: {files:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leadership_is_handed_over_when_asked() {
    let links = Arc::new(Links::default());
    let servers = links.group(3).await;
    let leader = leader_of(&servers).await;
    let next = servers[(leader + 1) % 3].id;
    servers[leader].consensus.transfer(Some(next), soon()).await.unwrap();
    assert_eq!(servers[leader_of(&servers).await].id, next);
    let refused = servers[leader].consensus.transfer(Some(99), soon()).await.unwrap_err();
    assert!(refused.to_string().contains("no such voter"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_taken_out_hands_over() {
    let links = Arc::new(Links::default());
    let mut servers = links.group(3).await;
    let leader = leader_of(&servers).await;
    let gone = servers[leader].id;
    servers[leader].consensus.remove(gone, soon()).await.unwrap();
    let removed = servers.remove(leader);
    write(&servers[0], "without").await.unwrap();
    leader_of(&servers).await;
    let left = servers[0].consensus.servers();
    assert!(left.iter().all(|server| server.voter.id != gone), "{left:?}");
    drop(removed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_survivor_goes_on_alone_with_all_that_it_had() {
    let links = Arc::new(Links::default());
    let mut servers = links.group(3).await;
    let mut last = 0;
    for n in 0..5 {
        last = write(&servers[0], &n.to_string()).await.unwrap();
    }
    until_has(&servers[2], last).await;
    let survivor = servers.pop().unwrap();
    for lost in servers {
        links.kill(lost);
    }
    let refused = survivor.consensus.propose(Bytes::from_static(b"no"), soon()).await;
    assert!(refused.is_err(), "one of three decides nothing");
    let id = survivor.id;
    survivor.consensus.shutdown().await;
    let world = links.kill(survivor);

    let (opening, applied) = (world.clone(), common::Applied::default());
    let folder = tokio::task::spawn_blocking(move || {
        muster_consensus::Folder::open(opening, "/d".as_ref(), Some(id))
    });
    let folder = folder.await.unwrap().unwrap();
    let rescued = muster_consensus::rescue(folder, Box::new(applied)).await.unwrap();
    assert!(rescued >= last);

    let address = voter(id).address;
    let settings = Settings { address, founding: Founding::Wait, ..Settings::default() };
    let alone = links.start_on(id, world, settings).await;
    assert!(alone.consensus.confirmed().is_some(), "it leads alone from its start on");
    write(&alone, "alone").await.unwrap();
    assert_eq!(commands(&alone)[..5], ["0", "1", "2", "3", "4"]);
    assert_eq!(commands(&alone).last().map(String::as_str), Some("alone"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_group_is_founded_with_a_server_of_another() {
    let links = Arc::new(Links::default());
    let member = links.start_with(1, |settings| settings.founding = Founding::Alone).await;
    let new = links.start(2).await;
    let refused = new.consensus.found(&[voter(2), voter(1)]).await.unwrap_err();
    assert_eq!(refused, "server-1 belongs to a group already");
    let refused = new.consensus.found(&[voter(2), voter(3)]).await.unwrap_err();
    assert!(refused.starts_with("server-3 is silent"), "{refused}");
    assert!(!new.consensus.is_member().await.unwrap());
    drop(member);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_makes_no_sense_is_refused_with_a_sentence() {
    let links = Arc::new(Links::default());
    let server = links.start(1).await;
    let refused = server.consensus.answer(b"\xff\x00garbage", soon()).await.unwrap_err();
    assert!(refused.to_string().contains("cannot be read"), "{refused}");
}
