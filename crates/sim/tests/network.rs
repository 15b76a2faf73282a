//! The simulated network and its hosts, seen by toy programs.
#![allow(clippy::unwrap_used, reason = "this is test code")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_sim::network::ip_of;
use muster_sim::{
    HostNumber, Latency, LinkFaults, Program, SimWorld, Simulation, Standing, Telling,
};
use muster_world::{Address, Datagram, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// What programs note down, with the host that notes it.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn have(&self, note: &str) -> bool {
        self.0.lock().unwrap().iter().any(|own| own == note)
    }
}

fn program<F>(run: impl Fn(Arc<SimWorld>) -> F + Send + Sync + 'static) -> Program
where
    F: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |world| {
        let running = run(world);
        Box::pin(async move {
            running.await;
            "done".to_owned()
        })
    })
}

fn idle() -> Program {
    program(|_| std::future::pending())
}

fn at(host: HostNumber, port: u16) -> Address {
    Address::Inet(SocketAddr::from((ip_of(host), port)))
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

/// Gives back what it is sent, on port 7.
fn echo() -> Program {
    program(|world| async move {
        let listener = world.listen(&Address::Inet(any(7))).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(n) = stream.read(&mut buffer).await
                    && n > 0
                    && stream.write_all(&buffer[..n]).await.is_ok()
                {}
            });
        }
    })
}

/// Sends a number to the echo at host 0 every 100 ms and notes what comes back, or what went wrong.
fn caller(notes: Notes) -> Program {
    program(move |world| {
        let notes = notes.clone();
        async move {
            let mut stream = match world.connect(&at(0, 7)).await {
                Ok(stream) => stream,
                Err(error) => return notes.add(error.kind().to_string()),
            };
            for number in 0_u32.. {
                let bytes = number.to_be_bytes();
                let mut back = [0; 4];
                let exchange = async {
                    stream.write_all(&bytes).await?;
                    stream.read_exact(&mut back).await
                };
                match exchange.await {
                    Ok(_) => notes.add(u32::from_be_bytes(back).to_string()),
                    Err(error) => return notes.add(error.kind().to_string()),
                }
                sleep(SECOND / 10).await;
            }
        }
    })
}

fn echo_and_caller(seed: u64) -> (Simulation, Notes) {
    let notes = Notes::default();
    let mut simulation = Simulation::new(seed, Latency::default(), Telling::Little);
    simulation.add_host("echo", echo());
    simulation.add_host("caller", caller(notes.clone()));
    simulation.boot(0);
    simulation.boot(1);
    (simulation, notes)
}

#[test]
fn streams_carry_bytes_both_ways_and_in_order() {
    let (mut simulation, notes) = echo_and_caller(1);
    simulation.run_for(2 * SECOND);
    let expected: Vec<String> = (0..notes.all().len()).map(|n| n.to_string()).collect();
    assert_eq!(notes.all(), expected);
    assert!(expected.len() > 15, "{expected:?}");
    assert_eq!(simulation.failure(), None);
}

#[test]
fn a_stream_to_a_port_without_listener_is_refused() {
    let notes = Notes::default();
    let mut simulation = Simulation::new(1, Latency::default(), Telling::Little);
    simulation.add_host("idle", idle());
    simulation.add_host("caller", caller(notes.clone()));
    simulation.boot(0);
    simulation.boot(1);
    simulation.run_for(SECOND);
    assert_eq!(notes.all(), ["connection refused"]);
}

#[test]
fn streams_to_a_killed_process_end_and_those_to_a_dead_machine_fall_silent() {
    let (mut simulation, notes) = echo_and_caller(1);
    simulation.run_for(SECOND);
    simulation.kill(0);
    simulation.run_for(SECOND);
    let said = notes.all();
    let last = said.last().unwrap();
    assert!(last == "unexpected end of file" || last == "connection reset", "{last}");

    let (mut simulation, notes) = echo_and_caller(1);
    simulation.run_for(SECOND);
    simulation.cut_power(0);
    simulation.run_for(SECOND / 2);
    let n_notes = notes.all().len();
    simulation.run_for(10 * SECOND);
    assert_eq!(notes.all().len(), n_notes, "nobody tells");
    simulation.boot(0);
    simulation.run_for(3 * SECOND);
    assert_eq!(notes.all().last().unwrap(), "connection reset", "the machine knows no such stream");
}

#[test]
fn a_cut_link_stalls_a_stream_which_then_goes_on_or_is_reset() {
    let (mut went_on, mut were_reset) = (0, 0);
    for seed in 0..12 {
        let (mut simulation, notes) = echo_and_caller(seed);
        simulation.run_for(SECOND);
        let one_way = LinkFaults { is_cut: true, ..LinkFaults::default() };
        simulation.network().set_faults(0, 1, one_way);
        simulation.run_for(SECOND / 2);
        let n_notes = notes.all().len();
        simulation.run_for(2 * SECOND);
        assert_eq!(notes.all().len(), n_notes, "nothing passes");
        simulation.network().heal();
        simulation.run_for(3 * SECOND);
        match notes.all().last().unwrap().parse::<usize>() {
            Ok(number) => {
                went_on += 1;
                assert_eq!(number + 1, notes.all().len(), "nothing is lost or doubled");
            }
            Err(_) => were_reset += 1,
        }
    }
    assert!(went_on > 3 && were_reset > 1, "{went_on} went on, {were_reset} were reset");
}

#[test]
fn a_reader_that_does_not_read_stops_the_writer() {
    let notes = Notes::default();
    let lazy = program(|world| async move {
        let listener = world.listen(&Address::Inet(any(7))).unwrap();
        let _unread = listener.accept().await.unwrap();
        std::future::pending().await
    });
    let eager = {
        let notes = notes.clone();
        program(move |world| {
            let notes = notes.clone();
            async move {
                let mut stream = world.connect(&at(0, 7)).await.unwrap();
                let mut n_bytes = 0;
                while let Ok(Ok(n)) = timeout(SECOND, stream.write(&[7; 10_000])).await {
                    n_bytes += n;
                }
                notes.add(n_bytes.to_string());
            }
        })
    };
    let mut simulation = Simulation::new(1, Latency::default(), Telling::Little);
    simulation.add_host("lazy", lazy);
    simulation.add_host("eager", eager);
    simulation.boot(0);
    simulation.boot(1);
    simulation.run_for(10 * SECOND);
    assert_eq!(notes.all(), [muster_sim::limits::WINDOW.to_string()]);
}

/// Sends a thousand numbered datagrams to host 0; and host 0 notes what comes.
fn datagrams(faults: LinkFaults) -> Vec<u32> {
    let notes = Notes::default();
    let hearer = {
        let notes = notes.clone();
        program(move |world| {
            let notes = notes.clone();
            async move {
                let socket = world.bind(any(9), false).unwrap();
                let mut buffer = [0; 16];
                loop {
                    let (n, _) = socket.receive(&mut buffer).await.unwrap();
                    notes.add(String::from_utf8_lossy(&buffer[..n]));
                }
            }
        })
    };
    let sender = program(|world| async move {
        let socket = world.bind(any(0), false).unwrap();
        for number in 0..1_000 {
            let to = SocketAddr::from((ip_of(0), 9));
            socket.send(number.to_string().as_bytes(), to).await.unwrap();
            sleep(Duration::from_millis(2)).await;
        }
        std::future::pending().await
    });
    let mut simulation = Simulation::new(1, Latency::default(), Telling::Little);
    simulation.add_host("hearer", hearer);
    simulation.add_host("sender", sender);
    simulation.network().set_faults(1, 0, faults);
    simulation.boot(0);
    simulation.boot(1);
    simulation.run_for(5 * SECOND);
    notes.all().iter().map(|note| note.parse().unwrap()).collect()
}

#[test]
fn datagrams_are_lost_doubled_and_overtake_each_other_only_by_faults() {
    let whole = datagrams(LinkFaults::default());
    assert!(whole.iter().copied().eq(0..1_000));
    let lossy = datagrams(LinkFaults { loss: 0.2, ..LinkFaults::default() });
    assert!(lossy.len() > 700 && lossy.len() < 900, "{}", lossy.len());
    let doubled = datagrams(LinkFaults { duplication: 0.2, ..LinkFaults::default() });
    assert!(doubled.len() > 1_100 && doubled.len() < 1_300, "{}", doubled.len());
    let late = datagrams(LinkFaults { delay: SECOND / 50, ..LinkFaults::default() });
    assert!(late.len() == 1_000 && !late.is_sorted());
    assert!(datagrams(LinkFaults { is_cut: true, ..LinkFaults::default() }).is_empty());
}

#[test]
fn a_connected_datagram_socket_hears_that_nobody_listens() {
    let notes = Notes::default();
    let asking = {
        let notes = notes.clone();
        program(move |world| {
            let notes = notes.clone();
            async move {
                let to = SocketAddr::from((ip_of(0), 9));
                let socket = world.connect_datagram(to).unwrap();
                socket.send(b"?", to).await.unwrap();
                let answer = socket.receive(&mut [0; 16]).await;
                notes.add(answer.unwrap_err().kind().to_string());
            }
        })
    };
    let mut simulation = Simulation::new(1, Latency::default(), Telling::Little);
    simulation.add_host("idle", idle());
    simulation.add_host("asking", asking);
    simulation.boot(0);
    simulation.boot(1);
    simulation.run_for(SECOND);
    assert_eq!(notes.all(), ["connection refused"]);
}

#[test]
fn ports_are_handed_out_and_taken_once() {
    let notes = Notes::default();
    let binding = {
        let notes = notes.clone();
        program(move |world| {
            let notes = notes.clone();
            async move {
                let first = world.listen(&Address::Inet(any(0))).unwrap();
                let second = world.listen(&Address::Inet(any(0))).unwrap();
                assert_ne!(first.local_address().unwrap(), second.local_address().unwrap());
                let taken = world.listen(&first.local_address().unwrap());
                notes.add(taken.err().unwrap().kind().to_string());
                let abroad = world.listen(&at(5, 80));
                notes.add(abroad.err().unwrap().kind().to_string());
                drop(first);
                let shared: Vec<Box<dyn Datagram>> =
                    (0..3).map(|_| world.bind(any(53), true).unwrap()).collect();
                notes.add(shared.len().to_string());
                notes.add(world.bind(any(53), false).err().unwrap().kind().to_string());
                let named = world.resolve("binding:8300").await.unwrap();
                notes.add(named[0].to_string());
            }
        })
    };
    let mut simulation = Simulation::new(1, Latency::default(), Telling::Little);
    simulation.add_host("binding", binding);
    simulation.boot(0);
    simulation.run_for(SECOND);
    let expected =
        ["address in use", "address not available", "3", "address in use", "10.0.0.1:8300"];
    assert_eq!(notes.all(), expected);
}

#[test]
fn a_paused_process_finds_that_time_has_passed() {
    let notes = Notes::default();
    let ticking = {
        let notes = notes.clone();
        program(move |world| {
            let notes = notes.clone();
            async move {
                let (began, wall) = (Instant::now(), world.wall_clock());
                loop {
                    sleep(SECOND).await;
                    let passed = (world.wall_clock() - wall).as_secs();
                    notes.add(format!("{} {passed}", began.elapsed().as_secs()));
                }
            }
        })
    };
    let mut simulation = Simulation::new(1, Latency::default(), Telling::Little);
    let host = simulation.add_host("ticking", ticking);
    simulation.boot(host);
    simulation.run_for(SECOND * 3 / 2);
    simulation.pause(host);
    simulation.run_for(10 * SECOND);
    assert_eq!(notes.all(), ["1 1"], "a process that is paused does nothing");
    simulation.resume(host);
    simulation.run_for(SECOND * 6 / 5);
    assert!(notes.have("11 11"), "{:?}", notes.all());
    simulation.set_pace(host, 2.0);
    simulation.run_for(10 * SECOND);
    assert!(notes.all().len() > 20, "a fast clock: {:?}", notes.all());
    assert_eq!(simulation.standing(host), Standing::Up);
}

#[test]
fn a_process_that_exits_or_panics_is_told_of() {
    let mut simulation = Simulation::new(1, Latency::default(), Telling::Little);
    let exits = simulation.add_host("exits", program(|_| async { sleep(SECOND).await }));
    simulation.boot(exits);
    assert!(simulation.run_until(2 * SECOND, |now| now.exited() == [(exits, "done".to_owned())]));
    assert_eq!(simulation.standing(exits), Standing::Down);
    let panics = program(|_| async {
        let broken = tokio::spawn(async { panic!("on purpose") });
        // The runtime goes down with it.
        let _ = broken.await;
    });
    let panics = simulation.add_host("panics", panics);
    simulation.boot(panics);
    simulation.run_for(SECOND);
    assert!(simulation.failure().unwrap().starts_with("panics panicked"));
}

#[test]
fn tasks_that_turn_in_circles_are_told_of() {
    let mut simulation = Simulation::new(1, Latency::default(), Telling::Little);
    let circling = program(|_| async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let host = simulation.add_host("circling", circling);
    simulation.boot(host);
    simulation.run_for(SECOND);
    assert!(simulation.failure().unwrap().contains("turn in circles"));
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let run = |seed| {
        let (mut simulation, _) = echo_and_caller(seed);
        let lossy = LinkFaults { loss: 0.1, delay: SECOND / 50, ..LinkFaults::default() };
        simulation.network().set_faults(0, 1, lossy);
        simulation.run_for(5 * SECOND);
        simulation.kill(1);
        simulation.boot(1);
        simulation.run_for(5 * SECOND);
        (simulation.trace().hash(), simulation.trace().work())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
    assert!(run(1).1.n_messages > 100);
}
