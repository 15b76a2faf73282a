//! Conversations in DNS, as text files that a stranger can read (`tests/scripts`).
//!
//! A script fills a registry and asks questions; under each question stands what the answer says,
//! read back by another DNS library than the one that wrote it. Answers that are drawn by lot are
//! sorted here. `UPDATE_SCRIPTS=1 cargo test -p muster-front-dns --test scripts` writes the files
//! anew; read the difference before you commit it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/mod.rs"]
mod support;

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::base::iana::{Class, Rtype};
use domain::base::message_builder::MessageBuilder;
use domain::base::opt::ClientSubnet;
use domain::base::{Message, Name, ParsedName};
use domain::rdata::AllRecordData;
use muster_front_dns::{Client, Given, Need, Reply, Responder, Scratch, Settings, Transport};
use muster_registry::{Call, Freshness, Registry};
use support::{Tables, identity};

#[test]
fn every_script_is_answered_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut failed = Vec::new();
    for path in paths {
        let script = std::fs::read_to_string(&path).unwrap();
        let played = Stage::new().play(&script);
        if std::env::var_os("UPDATE_SCRIPTS").is_some() {
            std::fs::write(&path, played).unwrap();
        } else if played != script {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            failed.push(format!("--- {name}, as answered:\n{}", difference(&script, &played)));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The lines around the first one that differs.
fn difference(expected: &str, actual: &str) -> String {
    let same = expected.lines().zip(actual.lines()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| {
        let lines = text.lines().skip(same.saturating_sub(3)).take(12);
        lines.collect::<Vec<_>>().join("\n")
    };
    format!("expected:\n{}\nactual:\n{}\n", part(expected), part(actual))
}

/// A registry and a responder that a script plays on.
struct Stage {
    tables: Arc<Tables>,
    settings: Settings,
    responder: Responder,
}

impl Stage {
    fn new() -> Stage {
        let tables = Arc::new(Tables::default());
        let settings = Settings::default();
        let clock = Arc::new(|| Duration::from_secs(1_700_000_000));
        let responder =
            Responder::new(tables.clone(), &identity(), settings.clone(), clock).unwrap();
        Stage { tables, settings, responder }
    }

    /// The script with what was really answered under each question.
    fn play(&mut self, script: &str) -> String {
        let mut out = String::new();
        let mut is_in_answer = false;
        for line in script.lines() {
            if is_in_answer && !line.is_empty() {
                continue;
            }
            is_in_answer = false;
            writeln!(out, "{line}").unwrap();
            if let Some(question) = line.strip_prefix("? ") {
                out.push_str(&self.ask(question));
                is_in_answer = true;
            } else if let Some(setting) = line.strip_prefix("set ") {
                self.set(setting);
            } else if !line.is_empty() && !line.starts_with('#') {
                assert!(self.tables.obey(line), "cannot read {line:?}");
            }
        }
        out
    }

    fn set(&mut self, line: &str) {
        let (key, value) = line.split_once(' ').expect("set KEY VALUE");
        let settings = &mut self.settings;
        let number = || value.parse::<usize>().unwrap();
        let seconds = |text: &str| Duration::from_secs(text.parse().unwrap());
        match key {
            "domain" => settings.domain = value.into(),
            "alt_domain" => settings.alt_domain = value.into(),
            "template" => settings.templates.push(value.into()),
            "node_ttl" => settings.node_ttl = seconds(value),
            "service_ttl" => {
                let (service, ttl) = value.split_once(' ').unwrap();
                settings.service_ttl.push((service.into(), seconds(ttl)));
            }
            "only_passing" => settings.only_passing = value == "true",
            "allow_stale" => settings.allow_stale = value == "true",
            "udp_answer_limit" => settings.udp_answer_limit = number(),
            "a_record_limit" => settings.a_record_limit = number(),
            "enable_truncate" => settings.enable_truncate = value == "true",
            "disable_compression" => settings.disable_compression = value == "true",
            "node_meta_txt" => settings.node_meta_txt = value == "true",
            "soa_min_ttl" => settings.soa.min_ttl = number() as u32,
            "soa_refresh" => settings.soa.refresh = number() as u32,
            _ => panic!("no setting {key:?}"),
        }
        self.responder.reload(self.settings.clone()).unwrap();
    }

    /// `KIND NAME [tcp] [edns=N] [ecs=ADDRESS/BITS] [from=ADDRESS]`
    fn ask(&self, question: &str) -> String {
        let words: Vec<&str> = question.split_whitespace().collect();
        let find = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
        let transport = if words.contains(&"tcp") { Transport::Tcp } else { Transport::Udp };
        let ip = find("from=").map_or([127, 0, 0, 1].into(), |ip| ip.parse::<IpAddr>().unwrap());
        let message = query(words[0], words[1], find("edns="), find("ecs="));
        let client = Client { transport, ip };
        let mut scratch = Scratch::new(7);
        let mut given = Given::default();
        loop {
            scratch.out.clear();
            match self.responder.answer_given(&message, client, &given, &mut scratch) {
                Reply::Ready => return render(&scratch.out, &words),
                Reply::Wait(Need::Registry { datacenter, query }) => {
                    let call = Call { datacenter: datacenter.clone(), ..Call::default() };
                    let asking = self.tables.ask(&call, &query, Freshness::Default);
                    let result = now(asking);
                    given.put(Need::Registry { datacenter, query }, result);
                }
                other => return format!("{other:?}\n"),
            }
        }
    }
}

/// What a future that waits for nothing gives.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("the test registry never waits"),
    }
}

fn query(kind: &str, name: &str, edns: Option<&str>, subnet: Option<&str>) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(0x1234);
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    let kind: Rtype = kind.parse().unwrap();
    let name: Name<Vec<u8>> = name.parse().unwrap();
    builder.push((name, kind, Class::IN)).unwrap();
    let mut builder = builder.additional();
    if edns.is_some() || subnet.is_some() {
        let size = edns.map_or(1_232, |size| size.parse().unwrap());
        let write = |opt: &mut domain::base::message_builder::OptBuilder<'_, Vec<u8>>| {
            opt.set_udp_payload_size(size);
            if let Some((address, bits)) = subnet.and_then(|told| told.split_once('/')) {
                let (bits, address) = (bits.parse().unwrap(), address.parse().unwrap());
                opt.push(&ClientSubnet::new(bits, 0, address))?;
            }
            Ok(())
        };
        builder.opt(write).unwrap();
    }
    builder.finish()
}

/// A response in words: code and flags, then the records of each section. What is drawn by lot is
/// sorted. With `count` in the question, only numbers.
fn render(response: &[u8], words: &[&str]) -> String {
    let message = Message::from_octets(response).expect("a response is a message");
    let (header, counts) = (message.header(), message.header_counts());
    let flags = [("aa", header.aa()), ("tc", header.tc()), ("ra", header.ra())];
    let flags: Vec<&str> = flags.iter().filter(|(_, is)| *is).map(|(word, _)| *word).collect();
    let mut out = format!("{} {}", header.rcode(), flags.join(" ")).trim_end().to_owned();
    if let Some(opt) = message.opt() {
        write!(out, " edns={}", opt.udp_payload_size()).unwrap();
        for subnet in opt.opt().iter::<ClientSubnet>() {
            let subnet = subnet.unwrap();
            let (address, bits) = (subnet.addr(), subnet.source_prefix_len());
            write!(out, " ecs={address}/{bits} scope={}", subnet.scope_prefix_len()).unwrap();
        }
    }
    out.push('\n');
    if words.contains(&"count") {
        let bytes = response.len();
        let (answers, extras) = (counts.ancount(), counts.arcount());
        writeln!(out, "{answers} answers, {extras} additional, {bytes} bytes").unwrap();
        return out;
    }
    let (_, answers, authority, additional) = message.sections().unwrap();
    for (title, section) in
        [("answer", answers), ("authority", authority), ("additional", additional)]
    {
        let records = section.limit_to::<AllRecordData<&[u8], ParsedName<&[u8]>>>();
        let mut lines: Vec<String> = records
            .map(|record| record.expect("every record can be read"))
            .filter(|record| record.rtype() != Rtype::OPT)
            .map(|record| format!("  {title}: {record}\n"))
            .collect();
        lines.sort();
        out.extend(lines);
    }
    out
}
