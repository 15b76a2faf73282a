//! What is packed is unpacked as it was, and no bytes make the reader panic.

use muster_model::answer::Body;
use proptest::prelude::*;

use super::*;

fn refusals() -> Vec<Refusal> {
    let (n_bytes, n_bytes_max) = (9, 8);
    vec![
        Refusal::Invalid("a".into()),
        Refusal::Unknown("b".into()),
        Refusal::Forbidden("c".into()),
        Refusal::TooLarge { what: "the command", n_bytes, n_bytes_max },
        Refusal::TooMany("writes are waiting"),
        Refusal::NoDatacenter("dc9".into()),
        Refusal::NoLeader,
        Refusal::Unwritable("the disk is full".into()),
        Refusal::Stalled("the disk is full".into()),
        Refusal::Late,
        Refusal::Stopping,
        Refusal::Unsupported("d".into()),
        Refusal::Internal("e".into()),
    ]
}

fn answered(n_bytes: usize) -> Answered {
    let body = Body::Keys(vec!["k".repeat(n_bytes).into()]);
    let answer = Answer::new(7, vec![Scope::PairsUnder("k".into())], body).into();
    let last_contact = Duration::from_millis(1_250);
    let standing = Standing { knows_leader: true, last_contact, freshness: Freshness::Consistent };
    Answered { answer, as_of: 9, standing }
}

#[test]
fn every_refusal_arrives_as_it_was() {
    for refusal in refusals() {
        assert_eq!(unpack_done(&pack_done(Err(refusal.clone()))), Err(refusal.clone()));
        let bytes = pack_committed(Err(refusal.clone()));
        assert_eq!(unpack_committed(&bytes), Err(refusal.clone()));
        let bytes = pack_answer(Err(refusal.clone()), false);
        assert_eq!(unpack_answer(&bytes).unwrap_err(), refusal);
    }
    let strange = RefusalForm::TooMany("pigeons are waiting".into());
    assert_eq!(strange.refusal(), Refusal::TooMany("the request"));
}

#[test]
fn an_answer_arrives_with_how_fresh_it_is() {
    let sent = answered(3);
    let Ok(Unpacked::Answer(came, _)) = unpack_answer(&pack_answer(Ok(sent.clone()), false)) else {
        panic!("no answer");
    };
    assert_eq!((came.as_of, came.standing), (sent.as_of, sent.standing));
    assert_eq!(format!("{:?}", came.answer.body), format!("{:?}", sent.answer.body));
    let committed = Committed { index: 4, outcome: Outcome::Unmet };
    assert_eq!(unpack_committed(&pack_committed(Ok(committed.clone()))), Ok(committed));
    assert_eq!(unpack_done(&pack_done(Ok(()))), Ok(()));
}

#[test]
fn a_long_answer_is_announced_and_sent_only_to_who_takes_it_in_pieces() {
    let long = answered(ANSWER_AT_ONCE_BYTES_MAX + 1);
    let announced = pack_answer(Ok(long.clone()), false);
    assert!(announced.len() < 100);
    assert!(matches!(unpack_answer(&announced), Ok(Unpacked::Elsewhere)));
    let whole = pack_answer(Ok(long), true);
    assert!(matches!(unpack_answer(&whole), Ok(Unpacked::Answer(..))));
}

#[test]
fn a_token_is_in_no_printed_form() {
    let token: Text = "s3cret".into();
    let caller = Caller { token: token.clone().into() };
    let call = Call { caller, ..Call::default() };
    let renew = Renew { asker: Asker::of(&call), lease: LeaseId::Session("s".into()) };
    assert!(!format!("{renew:?}").contains("s3cret"));
    let came: Renew = muster_model::decode(&muster_model::encode(&renew)).unwrap();
    assert_eq!(*came.asker.call(Instant::now()).caller.token.reveal(), token);
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = muster_model::decode::<Submit>(&bytes);
        let _ = muster_model::decode::<Ask>(&bytes);
        let _ = muster_model::decode::<Renew>(&bytes);
        let _ = muster_model::decode::<Follow>(&bytes);
        let _ = muster_model::decode::<Wanted>(&bytes);
        let _ = muster_model::decode::<News>(&bytes);
        let _ = unpack_committed(&bytes);
        let _ = unpack_done(&bytes);
        let _ = unpack_answer(&bytes);
    }
}
