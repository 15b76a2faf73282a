//! What waiters may rely on.

use std::task::Poll;

use super::*;

fn service(name: &str) -> Scope {
    Scope::Service(name.into())
}

fn change(scopes: &[Scope], id: &str) -> Change {
    Change { scopes: scopes.into(), object: Object::Session(id.into()), kind: ChangeKind::Changed }
}

fn poll(changes: &mut Changes) -> Poll<Index> {
    changes.poll_touched(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_watch_wakes_for_its_own_scope_only() {
    let hub = Arc::new(Hub::new(10));
    let mut web = hub.changes(&[service("web")], 10);
    let mut api = hub.changes(&[service("api")], 10);
    assert!(poll(&mut web).is_pending());
    assert!(poll(&mut api).is_pending());

    hub.publish(11, vec![change(&[service("web")], "s")]);

    assert_eq!(poll(&mut web), Poll::Ready(11));
    assert!(poll(&mut api).is_pending());
}

#[test]
fn a_change_of_a_key_touches_each_of_its_prefixes() {
    let hub = Arc::new(Hub::new(1));
    let mut all = hub.changes(&[Scope::PairsUnder("".into())], 1);
    let mut folder = hub.changes(&[Scope::PairsUnder("config/".into())], 1);
    let mut other = hub.changes(&[Scope::PairsUnder("confix".into())], 1);

    hub.publish(2, vec![change(&[Scope::Pair("config/é".into())], "s")]);

    assert_eq!(poll(&mut all), Poll::Ready(2));
    assert_eq!(poll(&mut folder), Poll::Ready(2));
    assert!(poll(&mut other).is_pending());
}

#[test]
fn a_prefix_that_ends_inside_a_character_of_the_key_is_no_prefix() {
    let hub = Arc::new(Hub::new(1));
    let mut three = hub.changes(&[Scope::PairsUnder("abc".into())], 1);
    hub.publish(2, vec![change(&[Scope::Pair("abé".into())], "s")]);
    assert!(poll(&mut three).is_pending());
}

#[test]
fn a_watch_registered_late_sees_what_was_published_before() {
    let hub = Arc::new(Hub::new(1));
    hub.publish(5, vec![change(&[service("web")], "s")]);
    // The mark is made now, so it must assume that the last batch touched it.
    let mut web = hub.changes(&[service("web")], 4);
    assert_eq!(poll(&mut web), Poll::Ready(5));
    let mut later = hub.changes(&[service("web")], 5);
    assert!(poll(&mut later).is_pending());
}

#[tokio::test]
async fn the_stream_gives_every_batch_of_its_scopes_in_order() {
    let hub = Arc::new(Hub::new(1));
    let mut web = hub.changes(&[service("web")], 1);
    hub.publish(2, vec![change(&[service("web")], "a"), change(&[service("api")], "b")]);
    hub.publish(3, vec![change(&[service("api")], "c")]);
    hub.publish(4, vec![change(&[service("web")], "d")]);

    let (index, objects) = web.next().await.unwrap();
    assert_eq!((index, objects), (2, vec![(Object::Session("a".into()), ChangeKind::Changed)]));
    assert_eq!(web.next().await.unwrap().0, 4);
}

#[tokio::test]
async fn a_reader_that_comes_too_late_is_told_that_it_lost_changes() {
    let hub = Arc::new(Hub::new(1));
    for index in 2..(HISTORY_CHANGES_MAX as Index + 4) {
        hub.publish(index, vec![change(&[service("web")], "s")]);
    }
    assert_eq!(hub.changes(&[service("web")], 1).next().await, Err(Lost));
    assert!(hub.changes(&[service("web")], 10).next().await.is_ok());
}

#[tokio::test]
async fn a_replaced_state_wakes_every_waiter_and_loses_its_history() {
    let hub = Arc::new(Hub::new(1));
    let mut web = hub.changes(&[service("web")], 1);
    let reset = hub.clone();
    let waiting = tokio::spawn(async move { web.next().await });
    tokio::task::yield_now().await;
    reset.reset(9);
    assert_eq!(waiting.await.unwrap(), Err(Lost));
}

#[test]
fn marks_that_nobody_holds_are_swept() {
    let hub = Arc::new(Hub::new(1));
    for n in 0..10 * MARKS_BEFORE_SWEEP {
        drop(hub.changes(&[service(&n.to_string())], 1));
    }
    assert!(hub.n_marks() <= MARKS_BEFORE_SWEEP);
}

#[test]
fn a_waiter_that_went_away_leaves_no_waker() {
    let hub = Arc::new(Hub::new(1));
    let mut web = hub.changes(&[service("web")], 1);
    let mark = web.marks.0[0].clone();
    assert!(poll(&mut web).is_pending());
    assert_eq!(lock(&mark.waiters).places.iter().flatten().count(), 1);
    drop(web);
    assert_eq!(lock(&mark.waiters).places.iter().flatten().count(), 0);
}

/// A waker that notes its number.
struct Noting(usize, Arc<Mutex<Vec<usize>>>);

impl std::task::Wake for Noting {
    fn wake(self: Arc<Self>) {
        lock(&self.1).push(self.0);
    }
}

#[test]
fn waiters_wake_in_the_order_in_which_their_scopes_were_first_waited_for() {
    let hub = Arc::new(Hub::new(1));
    let woken = Arc::new(Mutex::new(Vec::new()));
    let names: Vec<Scope> = (0..100).map(|n| service(&format!("s{n}"))).collect();
    let mut all: Vec<Changes> =
        names.iter().map(|name| hub.changes(std::slice::from_ref(name), 1)).collect();
    let wait = |all: &mut [Changes]| {
        for (number, changes) in all.iter_mut().enumerate().rev() {
            let waker = Waker::from(Arc::new(Noting(number, woken.clone())));
            assert!(changes.poll_touched(&mut Context::from_waker(&waker)).is_pending());
        }
    };
    wait(&mut all);
    hub.publish(
        2,
        names.iter().rev().map(|name| change(std::slice::from_ref(name), "s")).collect(),
    );
    let expected: Vec<usize> = (0..100).collect();
    assert_eq!(std::mem::take(&mut *lock(&woken)), expected);
    all.iter_mut().for_each(|changes| changes.after = 2);
    wait(&mut all);
    hub.reset(3);
    assert_eq!(*lock(&woken), expected);
}

// ---------------------------------------------------------------- following many scopes

fn indexes(followed: &[Followed]) -> Vec<Index> {
    followed.iter().map(|(index, _)| *index).collect()
}

fn poll_following(following: &mut Following) -> Poll<Result<Followed, Lost>> {
    let next = std::pin::pin!(following.next());
    next.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_follower_is_given_each_change_with_those_of_its_scopes_that_it_follows() {
    let hub = Arc::new(Hub::new(1));
    let mut following = hub.changes(&[], 1).follow();
    let scopes = vec![service("web"), Scope::PairsUnder("a/".into())];
    assert_eq!(following.add(scopes, 1), Ok(Vec::new()));
    assert!(poll_following(&mut following).is_pending());
    hub.publish(2, vec![change(&[service("web"), service("api")], "a")]);
    hub.publish(3, vec![change(&[service("api")], "b")]);
    hub.publish(4, vec![change(&[Scope::Pair("a/k".into())], "c")]);

    let web = (2, vec![change(&[service("web")], "a")]);
    assert_eq!(poll_following(&mut following), Poll::Ready(Ok(web)));
    let pair = (4, vec![change(&[Scope::Pair("a/k".into())], "c")]);
    assert_eq!(poll_following(&mut following), Poll::Ready(Ok(pair)));
    assert!(poll_following(&mut following).is_pending());
    assert_eq!(following.after(), 4);
}

#[test]
fn who_follows_a_scope_later_is_given_what_was_missed_of_it() {
    let hub = Arc::new(Hub::new(1));
    hub.publish(2, vec![change(&[service("web")], "a")]);
    hub.publish(3, vec![change(&[service("api")], "b")]);
    let mut following = hub.changes(&[], 3).follow();
    let missed = following.add(vec![service("web"), service("db")], 1).unwrap();
    assert_eq!(indexes(&missed), [2]);
    assert_eq!(following.add(vec![service("api")], 3), Ok(Vec::new()));
    assert!(poll_following(&mut following).is_pending());
}

#[test]
fn a_follower_moves_along_while_nothing_concerns_it() {
    let hub = Arc::new(Hub::new(1));
    let mut following = hub.changes(&[], 1).follow();
    following.add(vec![service("web")], 1).unwrap();
    for index in 2..(2 * HISTORY_CHANGES_MAX as Index) {
        hub.publish(index, vec![change(&[service("api")], "b")]);
        assert_eq!(following.next_up_to(index), Ok(None));
    }
    let last = 2 * HISTORY_CHANGES_MAX as Index;
    hub.publish(last, vec![change(&[service("web")], "a")]);
    assert_eq!(
        indexes(&following.next_up_to(last).unwrap().into_iter().collect::<Vec<_>>()),
        [last]
    );
}

#[test]
fn a_follower_that_reads_too_slowly_has_lost_and_starts_over() {
    let hub = Arc::new(Hub::new(1));
    let mut following = hub.changes(&[], 1).follow();
    following.add(vec![service("web")], 1).unwrap();
    let last = HISTORY_CHANGES_MAX as Index + 4;
    for index in 2..=last {
        hub.publish(index, vec![change(&[service("web")], "s")]);
    }
    assert_eq!(poll_following(&mut following), Poll::Ready(Err(Lost)));
    assert_eq!(following.start_over(), last);
    assert!(poll_following(&mut following).is_pending());
    assert_eq!(following.add(vec![service("api")], 1), Err(Lost));
}

#[test]
fn what_is_followed_no_longer_leaves_no_waker_and_wakes_nobody() {
    let hub = Arc::new(Hub::new(1));
    let mut following = hub.changes(&[], 1).follow();
    following.add(vec![service("web"), service("api")], 1).unwrap();
    assert!(poll_following(&mut following).is_pending());
    following.remove(&[service("web")]);
    let mark = hub.marks(&[service("web")]).0[0].clone();
    assert_eq!(lock(&mark.waiters).places.iter().flatten().count(), 0);
    hub.publish(2, vec![change(&[service("web")], "a")]);
    assert!(poll_following(&mut following).is_pending());
    drop(following);
    let mark = hub.marks(&[service("api")]).0[0].clone();
    assert_eq!(lock(&mark.waiters).places.iter().flatten().count(), 0);
}

#[tokio::test]
async fn a_follower_that_waits_wakes_again_and_again() {
    let hub = Arc::new(Hub::new(1));
    let mut following = hub.changes(&[], 1).follow();
    following.add(vec![service("web"), service("api")], 1).unwrap();
    for index in 2..50 {
        let publishing = hub.clone();
        let which = if index % 3 == 0 { "api" } else { "web" };
        tokio::spawn(async move {
            publishing.publish(index, vec![change(&[service(which)], "s")]);
        });
        assert_eq!(following.next().await.unwrap().0, index);
    }
}

// ---------------------------------------------------------------- hubs that hear from afar

#[tokio::test]
async fn a_closed_hub_sends_everybody_away() {
    let hub = Arc::new(Hub::new(1));
    let mut web = hub.changes(&[service("web")], 1);
    let waiting = tokio::spawn(async move { web.touched().await });
    tokio::task::yield_now().await;
    hub.close();
    assert_eq!(waiting.await.unwrap(), Index::MAX);
    assert!(poll(&mut hub.changes(&[service("new")], 7)).is_ready());
}

#[tokio::test]
async fn the_history_before_a_scope_was_known_is_lost_but_the_wait_is_not() {
    let hub = Arc::new(Hub::new(1));
    let scopes = [service("web")];
    let mut early = hub.changes(&scopes, 1).known_from(3);
    let mut late = hub.changes(&scopes, 3).known_from(3);
    hub.publish(4, vec![change(&scopes, "s")]);
    assert_eq!(early.touched().await, 4);
    assert_eq!(early.next().await, Err(Lost));
    assert_eq!(late.next().await.unwrap().0, 4);
}

#[test]
fn a_mark_is_forgotten_only_if_nobody_holds_it_and_comes_back_as_touched() {
    let hub = Arc::new(Hub::new(1));
    for scope in [service("web"), Scope::PairsUnder("a/".into())] {
        let held = hub.marks(std::slice::from_ref(&scope));
        assert!(!hub.forget(&scope));
        drop(held);
        assert!(hub.forget(&scope) && hub.forget(&scope));
        let index = hub.published() + 1;
        hub.publish(index, Vec::new());
        assert_eq!(hub.marks(&[scope]).latest(), index);
    }
}

#[tokio::test]
async fn who_is_nudged_looks_again_once() {
    let hub = Arc::new(Hub::new(5));
    let (web, api) = ([service("web")], [service("api")]);
    let (mut waits, mut other) = (hub.changes(&web, 5), hub.changes(&api, 5));
    assert!(poll(&mut waits).is_pending() && poll(&mut other).is_pending());
    hub.nudge(&web);
    assert_eq!(waits.touched().await, 5);
    assert!(poll(&mut waits).is_pending() && poll(&mut other).is_pending());
    assert!(poll(&mut hub.changes(&web, 5)).is_pending());
}
