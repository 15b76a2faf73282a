//! The real world on loopback: ports, shared sockets, Unix sockets, files, locks.
#![allow(clippy::unwrap_used, reason = "this is test code")]

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use muster_world::{Address, Permit, Real, World, blocking};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A folder of this test, empty.
fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("muster-world-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

async fn echo_once(world: &dyn World, at: Address) -> Address {
    let listener = world.listen(&at).unwrap();
    let address = listener.local_address().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut word = [0; 5];
        stream.read_exact(&mut word).await.unwrap();
        stream.write_all(&word).await.unwrap();
    });
    let mut stream = world.connect(&address).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"hello");
    server.await.unwrap();
    address
}

#[tokio::test]
async fn streams_carry_bytes_over_tcp_and_unix_sockets() {
    let world = Real::new();
    let Address::Inet(address) = echo_once(&world, loopback().into()).await else { panic!() };
    assert_ne!(address.port(), 0);
    let path = scratch("unix").join("socket");
    echo_once(&world, Address::Unix(path.clone())).await;
    assert!(path.exists(), "the dead listener left its file");
    echo_once(&world, Address::Unix(path.clone())).await;
    let _held = world.listen(&Address::Unix(path.clone())).unwrap();
    let second = world.listen(&Address::Unix(path)).map(|_| ()).unwrap_err();
    assert_eq!(second.kind(), io::ErrorKind::AddrInUse, "one that answers is not replaced");
}

#[tokio::test]
async fn datagram_sockets_share_a_port_only_when_told_to() {
    let world = Real::new();
    let first = world.bind(loopback(), true).unwrap();
    let port = first.local_address().unwrap();
    let second = world.bind(port, true).unwrap();
    assert_eq!(second.local_address().unwrap(), port);
    let alone = world.bind(loopback(), false).unwrap();
    let taken = world.bind(alone.local_address().unwrap(), false).map(|_| ()).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);

    first.send(b"ping", alone.local_address().unwrap()).await.unwrap();
    let mut buffer = [0; 16];
    let (length, from) = alone.receive(&mut buffer).await.unwrap();
    assert_eq!((&buffer[..length], from), (&b"ping"[..], port));
}

#[tokio::test]
async fn files_are_replaced_listed_and_locked() {
    let outer = Arc::new(Real::new());
    let (world, folder) = (outer.clone(), scratch("files"));
    let done = blocking(&*outer, move || {
        let files = world.files();
        files.replace(&folder.join("a"), b"one")?;
        files.replace(&folder.join("a"), b"two")?;
        assert_eq!(files.read(&folder.join("a"), 10)?, b"two");
        assert_eq!(
            files.read(&folder.join("a"), 2).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
        assert_eq!(files.list(&folder)?, ["a"]);
        let lock = files.lock(&folder.join("lock"))?;
        let held = files.lock(&folder.join("lock")).map(|_| ()).unwrap_err();
        assert_eq!(held.kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        files.lock(&folder.join("lock"))?;
        assert!(files.free_space(&folder)? > 0);
        files.remove(&folder.join("a"))?;
        assert!(!files.exists(&folder.join("a"))?);
        std::fs::remove_dir_all(&folder)
    });
    done.await.expect("the work does not panic").unwrap();
}

#[test]
fn seeds_differ_and_the_clock_is_past_the_year_this_was_written() {
    let world = Real::new();
    assert_ne!(world.seed(), world.seed());
    assert!(world.wall_clock().as_secs() > 1_700_000_000);
}

#[test]
fn the_machines_own_addresses_are_no_loopback_and_can_be_bound() {
    // A machine without a network has none, and one without /proc tells none.
    for address in Real::new().addresses().unwrap_or_default() {
        assert!(!address.is_loopback() && !address.is_unspecified(), "{address}");
        if address.is_ipv4() {
            std::net::UdpSocket::bind((address, 0)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_socket_has_the_permissions_that_it_was_given() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let world = Real::new();
    let path = scratch("permit").join("socket");
    let _held = world.listen(&Address::Unix(path.clone())).unwrap();
    let own = std::fs::metadata(&path).unwrap();
    let permit = Permit { user: Some(own.uid()), group: Some(own.gid()), mode: Some(0o640) };
    world.permit(&path, permit).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    world.permit(&path, Permit::default()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}
