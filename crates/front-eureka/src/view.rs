//! One version of the roll: the instances by application, and what changed lately.
//!
//! A view is made of persistent maps: a clone is cheap and never changes, so a document can be
//! written from one while the next is made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::{HashMap, OrdMap};
use muster_model::Text;
use muster_model::answer::{InstanceDetail, Row};
use muster_model::instance::Instance;
use tokio::time::Instant;

use crate::info::{Action, InstanceInfo};
use crate::limits::{DELTA_COVERS, DELTA_SLACK, RECENT_MAX};
use crate::mapping;
use crate::word::Word;

/// An instance on the roll.
#[derive(Debug)]
pub(crate) struct Entry {
    detail: InstanceDetail,
    /// What it goes by in its application.
    id: Text,
    word: Word,
    overridden: Word,
    vip: Text,
    secure_vip: Text,
}

/// The folded name of a service and what an instance goes by in it.
type Key = (Text, Text);

/// One version of the roll.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Goes up with every change, and when old changes are forgotten.
    version: u64,
    apps: OrdMap<Text, OrdMap<Text, Arc<Entry>>>,
    /// What stands on each node, by its folded name.
    nodes: HashMap<Text, Arc<BTreeSet<Key>>>,
    counts: [u64; 5],
    /// How many instances of which services have a name for virtual hosts.
    vips: OrdMap<Text, OrdMap<Text, u32>>,
    secure_vips: OrdMap<Text, OrdMap<Text, u32>>,
    /// What changed lately, each instance once, with how it is now.
    recent: OrdMap<Key, Recent>,
    /// The same in the order in which it changed; a key that changed again is there again.
    order: imbl::Vector<(Instant, Key)>,
}

#[derive(Clone, Debug)]
struct Recent {
    at: Instant,
    /// The last that was seen of an instance that is gone.
    gone: Option<Arc<Entry>>,
}

/// Which names for virtual hosts are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum VipKind {
    Plain,
    Secure,
}

impl Entry {
    /// The entry of an instance that clients are shown.
    fn of(detail: InstanceDetail, id: Text) -> Entry {
        let InstanceInfo { word, overridden, vip, secure_vip, .. } = mapping::shown(&detail);
        Entry { detail, id, word, overridden, vip, secure_vip }
    }

    /// Whether it was made from these very rows.
    fn is_of(&self, detail: &InstanceDetail) -> bool {
        let (own, own_checks) = (&self.detail, &self.detail.checks);
        Arc::ptr_eq(&own.node, &detail.node)
            && Arc::ptr_eq(&own.instance, &detail.instance)
            && own_checks.len() == detail.checks.len()
            && own_checks.iter().zip(&detail.checks).all(|(own, other)| Arc::ptr_eq(own, other))
    }

    /// The instance as clients see it.
    pub(crate) fn info(&self) -> InstanceInfo {
        mapping::shown(&self.detail)
    }

    /// The instance in the catalog.
    pub(crate) fn detail(&self) -> &InstanceDetail {
        &self.detail
    }

    /// The word with which it is shown.
    pub(crate) fn word(&self) -> Word {
        self.word
    }

    /// The word that an operator set, or [`Word::Unknown`].
    pub(crate) fn overridden(&self) -> Word {
        self.overridden
    }

    /// What it goes by.
    pub(crate) fn id(&self) -> &Text {
        &self.id
    }

    /// Whether it was registered by a client of Eureka.
    pub(crate) fn is_own(&self) -> bool {
        mapping::is_own(&self.detail.instance)
    }

    /// Whether it has a name for virtual hosts. Several stand in one text, with commas between.
    pub(crate) fn has_vip(&self, kind: VipKind, name: &str) -> bool {
        self.vips(kind).any(|own| own == name)
    }

    fn vips(&self, kind: VipKind) -> impl Iterator<Item = &str> {
        let all = match kind {
            VipKind::Plain => &self.vip,
            VipKind::Secure => &self.secure_vip,
        };
        all.split(',').map(str::trim).filter(|name| !name.is_empty())
    }

    fn is_on(&self, node: &Text) -> bool {
        self.detail.node.name.folded() == *node
    }

    /// Whether a client sees the same in both.
    fn looks_like(&self, other: &Entry) -> bool {
        let (own, others) = (&self.detail, &other.detail);
        is_same_instance(&own.instance, &others.instance)
            && own.node.name == others.node.name
            && own.node.address == others.node.address
            && self.word == other.word
            && self.overridden == other.overridden
    }
}

fn is_same_instance(a: &Row<Instance>, b: &Row<Instance>) -> bool {
    Arc::ptr_eq(a, b) || (a.modify_index == b.modify_index && a.value == b.value)
}

// ------------------------------------------------------------------------------------------------
// Reading
// ------------------------------------------------------------------------------------------------

/// An instance in a list, and what happened to it where that is not what stands in it.
pub(crate) type Listed = (Arc<Entry>, Option<Action>);
/// Applications with some of their instances.
pub(crate) type Apps = Vec<(Text, Vec<Listed>)>;

impl View {
    /// Which version this is.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// How many instances there are with each word.
    pub(crate) fn counts(&self) -> [u64; 5] {
        self.counts
    }

    /// An instance of an application.
    pub(crate) fn find(&self, app: &str, id: &str) -> Option<&Arc<Entry>> {
        self.apps.get(&mapping::service(app))?.get(id)
    }

    /// The first instance that goes by `id` in any application.
    pub(crate) fn find_anywhere(&self, id: &str) -> Option<&Arc<Entry>> {
        self.apps.values().find_map(|instances| instances.get(id))
    }

    /// Every application with all its instances.
    pub(crate) fn all(&self) -> Apps {
        self.apps.iter().map(|(app, instances)| chosen(app, instances, |_| true)).collect()
    }

    /// One application with all its instances; nothing where there is none.
    pub(crate) fn app(&self, app: &str) -> Option<Apps> {
        let (name, instances) = self.apps.get_key_value(&mapping::service(app))?;
        Some(vec![chosen(name, instances, |_| true)])
    }

    /// The applications with the instances that have a name for virtual hosts.
    pub(crate) fn vip(&self, kind: VipKind, name: &str) -> Apps {
        let table = match kind {
            VipKind::Plain => &self.vips,
            VipKind::Secure => &self.secure_vips,
        };
        let services = table.get(name).into_iter().flat_map(|services| services.keys());
        let apps = services.filter_map(|service| self.apps.get_key_value(service));
        apps.map(|(app, instances)| chosen(app, instances, |entry| entry.has_vip(kind, name)))
            .collect()
    }

    /// What changed lately, each instance as it is now.
    pub(crate) fn delta(&self) -> Apps {
        let mut apps: Apps = Vec::new();
        for ((app, id), recent) in &self.recent {
            let present = self.apps.get(app).and_then(|instances| instances.get(id)).cloned();
            let told = match (present, &recent.gone) {
                (Some(entry), _) => (entry, None),
                (None, Some(gone)) => (gone.clone(), Some(Action::Deleted)),
                (None, None) => continue,
            };
            match apps.last_mut() {
                Some((last, told_of_it)) if last == app => told_of_it.push(told),
                _ => apps.push((app.clone(), vec![told])),
            }
        }
        apps
    }

    /// The instances for which an operator set a word.
    pub(crate) fn overridden(&self) -> impl Iterator<Item = &Arc<Entry>> {
        let all = self.apps.values().flat_map(|instances| instances.values());
        all.filter(|entry| entry.overridden() != Word::Unknown)
    }
}

fn chosen(
    app: &Text,
    instances: &OrdMap<Text, Arc<Entry>>,
    is_chosen: impl Fn(&Entry) -> bool,
) -> (Text, Vec<Listed>) {
    let kept = instances.values().filter(|entry| is_chosen(entry));
    (app.clone(), kept.map(|entry| (entry.clone(), None)).collect())
}

// ------------------------------------------------------------------------------------------------
// Writing
// ------------------------------------------------------------------------------------------------

impl View {
    /// Everything there is.
    pub(crate) fn replace_all(&mut self, details: &[InstanceDetail], now: Instant) {
        let mut by_node: BTreeMap<Text, Vec<InstanceDetail>> =
            self.nodes.keys().map(|node| (node.clone(), Vec::new())).collect();
        for detail in details {
            by_node.entry(detail.node.name.folded()).or_default().push(detail.clone());
        }
        for (node, details) in by_node {
            self.replace_on(&node, details, now);
        }
    }

    /// Everything on the node with this folded name. What did not change costs a comparison of
    /// pointers.
    pub(crate) fn replace_on(&mut self, node: &Text, details: Vec<InstanceDetail>, now: Instant) {
        let before = self.nodes.remove(node).unwrap_or_default();
        let mut keys = BTreeSet::new();
        for detail in details.into_iter().filter(|detail| mapping::is_shown(&detail.instance)) {
            let key = (detail.instance.service.folded(), mapping::known_as(&detail));
            keys.insert(key.clone());
            self.put(key, detail, now);
        }
        for key in before.difference(&keys) {
            self.remove(key.clone(), node, now);
        }
        if !keys.is_empty() {
            self.nodes.insert(node.clone(), Arc::new(keys));
        }
    }

    fn put(&mut self, key: Key, detail: InstanceDetail, now: Instant) {
        let old = self.apps.get(&key.0).and_then(|instances| instances.get(&key.1)).cloned();
        if old.as_ref().is_some_and(|old| old.is_of(&detail)) {
            return;
        }
        let entry = Entry::of(detail, key.1.clone());
        if old.as_ref().is_some_and(|old| old.looks_like(&entry)) {
            return;
        }
        if let Some(old) = &old {
            self.count_out(&key.0, old);
        }
        self.count_in(&key.0, &entry);
        self.apps.entry(key.0.clone()).or_default().insert(key.1.clone(), Arc::new(entry));
        self.note(key, None, now);
    }

    /// Removes an instance that is no longer on a node, unless it is on another by now.
    fn remove(&mut self, key: Key, node: &Text, now: Instant) {
        let Some(instances) = self.apps.get_mut(&key.0) else { return };
        if instances.get(&key.1).is_none_or(|entry| !entry.is_on(node)) {
            return;
        }
        let Some(entry) = instances.remove(&key.1) else { return };
        if instances.is_empty() {
            self.apps.remove(&key.0);
        }
        self.count_out(&key.0, &entry);
        self.note(key, Some(entry), now);
    }

    fn note(&mut self, key: Key, gone: Option<Arc<Entry>>, now: Instant) {
        self.version += 1;
        self.recent.insert(key.clone(), Recent { at: now, gone });
        self.order.push_back((now, key));
        while self.order.len() > RECENT_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets what changed so long ago that every client has heard of it.
    pub(crate) fn forget_old(&mut self, now: Instant) {
        let age = |at: &Instant| now.saturating_duration_since(*at);
        let is_due = self.order.front().is_some_and(|(at, _)| age(at) > DELTA_COVERS + DELTA_SLACK);
        if !is_due {
            return;
        }
        self.version += 1;
        while self.order.front().is_some_and(|(at, _)| age(at) > DELTA_COVERS) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((at, key)) = self.order.pop_front() else { return };
        if self.recent.get(&key).is_some_and(|recent| recent.at == at) {
            self.recent.remove(&key);
        }
    }

    fn count_in(&mut self, service: &Text, entry: &Entry) {
        self.counts[entry.word as usize] += 1;
        for (kind, table) in
            [(VipKind::Plain, &mut self.vips), (VipKind::Secure, &mut self.secure_vips)]
        {
            for name in entry.vips(kind) {
                let services = table.entry(name.into()).or_default();
                *services.entry(service.clone()).or_default() += 1;
            }
        }
    }

    fn count_out(&mut self, service: &Text, entry: &Entry) {
        self.counts[entry.word as usize] -= 1;
        for (kind, table) in
            [(VipKind::Plain, &mut self.vips), (VipKind::Secure, &mut self.secure_vips)]
        {
            for name in entry.vips(kind) {
                let Some(services) = table.get_mut(name) else { continue };
                if let Some(count) = services.get_mut(service) {
                    *count -= 1;
                    if *count == 0 {
                        services.remove(service);
                    }
                }
                if services.is_empty() {
                    table.remove(name);
                }
            }
        }
    }
}
