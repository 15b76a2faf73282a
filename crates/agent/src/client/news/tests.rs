//! What waiters may rely on, whatever a server tells and when.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use muster_model::scope::{ChangeKind, Object};

use super::*;
use crate::wire::News as Word;

fn news() -> Arc<News> {
    News::new(&ClientSettings { scopes_max: 4, ..ClientSettings::default() })
}

fn scope(name: &str) -> Scope {
    Scope::Service(name.into())
}

fn still(index: Index) -> Word {
    let standing = Standing { knows_leader: true, ..Standing::default() };
    Word::Still { index, standing, term: 1 }
}

fn changed(name: &str, index: Index) -> Word {
    let object = Object::Session("s".into());
    let change = Change { scopes: vec![scope(name)], object, kind: ChangeKind::Changed };
    Word::Changed(index, vec![change])
}

fn poll(changes: &mut Changes) -> Poll<Index> {
    pin!(changes.touched()).poll(&mut Context::from_waker(Waker::noop()))
}

/// What the server is told next.
fn told(news: &News) -> Option<(u64, Index, Vec<Scope>)> {
    let item = news.lock().untold()?;
    match muster_model::decode(&item).unwrap() {
        Wanted::More { number, since, scopes } => Some((number, since, scopes)),
        other => panic!("{other:?}"),
    }
}

/// Tells the server what is wanted, and has it agree.
fn settle(news: &News) {
    while let Some((number, ..)) = told(news) {
        news.take_in(Word::Settled(number));
    }
}

#[test]
fn a_new_scope_is_wanted_from_the_position_at_which_it_was_wanted() {
    let news = news();
    news.take_in(still(10));
    let mut web = news.changes(&[scope("web")], 10);
    // The position moves on before the server is told.
    news.take_in(still(20));
    assert_eq!(told(&news), Some((1, 10, vec![scope("web")])));
    assert!(poll(&mut web).is_pending());
    // What came late happened before the position, and after the answer.
    news.take_in(changed("web", 15));
    assert_eq!(poll(&mut web), Poll::Ready(20));
    assert_eq!(told(&news), None);
}

#[test]
fn at_another_server_everything_goes_on_from_where_it_was() {
    let news = news();
    news.take_in(still(10));
    let mut web = news.changes(&[scope("web")], 10);
    settle(&news);
    news.take_in(changed("web", 12));
    assert_eq!(poll(&mut web), Poll::Ready(12));
    let mut web = news.changes(&[scope("web")], 12);
    // This one is behind.
    news.lock().begin_to_tell();
    news.take_in(still(11));
    assert_eq!(told(&news).unwrap().1, 12);
    assert!(poll(&mut web).is_pending());
    // This one is ahead.
    news.lock().begin_to_tell();
    news.take_in(still(30));
    assert_eq!(told(&news).unwrap().1, 12);
    assert_eq!(news.position(), 30);
}

#[test]
fn a_scope_that_was_given_up_counts_as_touched_when_it_is_wanted_again() {
    let news = news();
    news.take_in(still(10));
    drop(news.changes(&[scope("web")], 10));
    settle(&news);
    let kept = news.changes(&[scope("api")], 10);
    settle(&news);
    assert_eq!(news.lock().sweep(), [scope("web")]);
    assert_eq!(news.n_scopes(), 1);
    news.take_in(still(20));
    assert_eq!(poll(&mut news.changes(&[scope("web")], 15)), Poll::Ready(20));
    assert!(poll(&mut news.changes(&[scope("web")], 20)).is_pending());
    drop(kept);
}

#[test]
fn lost_changes_send_everybody_to_look_again() {
    let news = news();
    news.take_in(still(10));
    let (mut web, marks) = (news.changes(&[scope("web")], 10), news.marks(&[scope("api")]));
    settle(&news);
    news.take_in(Word::Lost(500));
    assert!(poll(&mut web).is_ready() && marks.unwrap().latest() > 500);
    assert_eq!((news.position(), news.n_hubs()), (500, 2));
    assert!(poll(&mut news.changes(&[scope("web")], 500)).is_pending());
}

#[test]
fn who_was_given_an_answer_that_was_behind_is_nudged_once_a_server_gets_there() {
    let news = news();
    news.take_in(still(10));
    news.owe_a_look(&[scope("web")]);
    let (mut web, mut api) = (news.changes(&[scope("web")], 10), news.changes(&[scope("api")], 10));
    assert!(poll(&mut web).is_pending() && poll(&mut api).is_pending());
    news.take_in(still(9));
    assert!(poll(&mut web).is_pending());
    news.take_in(still(10));
    assert_eq!(poll(&mut web), Poll::Ready(10));
    assert!(poll(&mut web).is_pending() && poll(&mut api).is_pending());
}

#[test]
fn readers_of_more_scopes_than_are_followed_look_again_from_time_to_time() {
    let news = news();
    news.take_in(still(10));
    let scopes: Vec<Scope> = (0..5).map(|n| scope(&n.to_string())).collect();
    let mut many = news.changes(&scopes, 10);
    assert!(news.marks(&scopes).is_none());
    assert!(poll(&mut many).is_pending());
    news.close_overflow();
    assert!(poll(&mut many).is_ready());
    assert_eq!(news.n_scopes(), 0);
}

#[tokio::test(start_paused = true)]
async fn how_old_the_last_word_is_grows_and_a_lost_server_knows_no_leader() {
    let news = news();
    news.take_in(still(10));
    assert!(news.standing().knows_leader);
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(news.standing().last_contact, Duration::from_secs(3));
    news.lose_contact();
    assert!(!news.standing().knows_leader && !news.is_in_contact());
    assert_eq!(*news.n_leaders.borrow(), 1);
    news.take_in(still(11));
    assert_eq!((*news.n_leaders.borrow(), news.standing().last_contact), (2, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn the_age_of_an_index_is_known_from_when_the_server_told_of_it() {
    let news = news();
    news.take_in(still(10));
    tokio::time::advance(Duration::from_secs(2)).await;
    news.take_in(changed("web", 12));
    tokio::time::advance(Duration::from_secs(2)).await;
    news.take_in(still(20));
    tokio::time::advance(Duration::from_secs(3)).await;
    let ages = [10, 12, 20].map(|index| news.age_of(index).map(|age| age.as_secs()));
    assert_eq!(ages, [None, Some(5), Some(3)]);
}
