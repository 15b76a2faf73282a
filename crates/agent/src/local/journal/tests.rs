//! On a disk in memory: what was acknowledged is there after a power cut, a torn tail is cut, other
//! damage is refused.

use std::time::Duration;

use muster_model::command::Target;
use muster_model::{Check, Instance, Status, Text};
use muster_world::memory::Faults;
use muster_world::{Memory, Real};

use super::super::saved::{SavedCheck, SavedInstance, SavedWord};
use super::*;

fn world(disk: &Memory) -> Arc<dyn World> {
    Arc::new(Real::with_files(Arc::new(disk.clone())))
}

fn instance(id: &str) -> Record {
    let instance = Instance { id: id.into(), service: "web".into(), ..Instance::default() };
    Record::Instance(SavedInstance { instance, token: Text::default() })
}

fn check(id: &str) -> Record {
    let check = Check { id: id.into(), ..Check::default() };
    Record::Check(SavedCheck { check, definition: Default::default(), token: "t".into() })
}

async fn open(disk: &Memory) -> Result<(Arc<Journal>, Saved), JournalError> {
    let folder = PathBuf::from("/data/local");
    let (journal, saved, keeping) = Journal::open(world(disk), folder, Saved::default).await?;
    tokio::spawn(keeping);
    Ok((journal, saved))
}

fn ids(saved: &Saved) -> Vec<&str> {
    saved.instances.keys().chain(saved.checks.keys()).map(Text::as_str).collect()
}

fn path() -> PathBuf {
    PathBuf::from("/data/local/vouched")
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_power_cut() {
    for seed in 0..20 {
        let disk = Memory::new();
        let (journal, _) = open(&disk).await.unwrap();
        journal.append(&[instance("a"), check("c")]).await.unwrap().unwrap();
        journal.append(&[instance("b")]).await.unwrap().unwrap();
        journal.append(&[Record::Withdrawn(Target::Instance("a".into()))]).await.unwrap().unwrap();
        let word = SavedWord {
            check_id: "c".into(),
            status: Status::Passing,
            output: "ok".into(),
            holds_until: Duration::from_secs(7),
        };
        journal.hint(&Record::Word(word));
        let (_, saved) = open(&disk.power_cut(seed)).await.unwrap();
        assert_eq!(ids(&saved), ["b", "c"]);
    }
}

#[tokio::test]
async fn what_was_never_synced_may_be_torn_anywhere_and_keeps_nobody_from_starting() {
    for seed in 0..100 {
        let disk = Memory::new();
        let (journal, _) = open(&disk).await.unwrap();
        journal.append(&[instance("kept")]).await.unwrap().unwrap();
        disk.set_faults(Faults { syncs_fail: true, ..Faults::default() });
        let several: Vec<Record> = (0..60).map(|n| instance(&format!("lost-{n}"))).collect();
        journal.append(&several).await.unwrap().unwrap_err();
        disk.set_faults(Faults::default());
        let (journal, saved) = open(&disk.power_cut(seed)).await.unwrap();
        assert!(ids(&saved).contains(&"kept"), "seed {seed}: {:?}", ids(&saved));
        journal.append(&[instance("after")]).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_group_torn_at_any_byte_is_cut_and_what_came_before_stays() {
    let mut bytes = MAGIC.to_vec();
    frame(&muster_model::encode(&instance("a")), &mut bytes);
    let whole = bytes.len();
    frame(&muster_model::encode(&instance("b")), &mut bytes);
    for length in whole..bytes.len() {
        let (records, good) = read(&bytes[..length]).unwrap();
        assert_eq!((records.len(), good), (1, whole));
    }
    assert_eq!(read(&bytes).unwrap().0.len(), 2);
}

#[tokio::test]
async fn a_flipped_bit_that_good_records_follow_is_refused_with_its_offset() {
    let disk = Memory::new();
    let (journal, _) = open(&disk).await.unwrap();
    journal.append(&[instance("a")]).await.unwrap().unwrap();
    journal.append(&[instance("b")]).await.unwrap().unwrap();
    disk.flip_bit(&path(), (MAGIC.len() as u64 + 20) * 8);
    let error = open(&disk).await.err().unwrap().to_string();
    assert!(error.contains("damaged at offset 8"), "{error}");
    assert!(error.contains("/data/local/vouched"), "{error}");
}

#[tokio::test]
async fn after_a_failure_the_file_is_written_anew() {
    let disk = Memory::new();
    let (journal, _) = open(&disk).await.unwrap();
    journal.append(&[instance("lost")]).await.unwrap().unwrap();
    disk.set_faults(Faults { syncs_fail: true, ..Faults::default() });
    let refused = journal.append(&[instance("a")]).await.unwrap();
    assert!(refused.unwrap_err().contains("/data/local/vouched"));
    disk.set_faults(Faults::default());
    // The journal's keeper here vouches for nothing, and so nothing is what a new file holds.
    journal.append(&[instance("a")]).await.unwrap().unwrap();
    let (_, saved) = open(&disk).await.unwrap();
    assert!(ids(&saved).is_empty());
}

#[tokio::test]
async fn a_journal_mostly_out_of_date_is_written_anew() {
    let disk = Memory::new();
    let (journal, _) = open(&disk).await.unwrap();
    let large = |number: usize| {
        let tag = Text::from(number.to_string().repeat(1_000));
        let instance = Instance { id: "a".into(), tags: [tag].into(), ..Instance::default() };
        Record::Instance(SavedInstance { instance, token: Text::default() })
    };
    for number in 0..1_000 {
        journal.append(&[large(number)]).await.unwrap().unwrap();
    }
    assert!(disk.n_bytes() < SLACK_BYTES + 10_000, "{} bytes", disk.n_bytes());
}
