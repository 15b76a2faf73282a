//! Wishes about the keys of gossip: asked of all members of a pool, or of this one alone.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use muster_gossip::keyring::Key;
use muster_gossip::question::{KeyringAnswer, KeyringWish as Wish};
use muster_model::Text;
use muster_registry::Refusal;
use muster_registry::call::Secret;
use muster_registry::cluster::{KeyUse, KeyringReach, KeyringReport, KeyringWish, Pool};
use muster_registry::local::Identity;

use crate::membership::Membership;

/// What a member says about keys that has none.
const NO_KEYRING: &str = "Keyring is empty (encryption not enabled)";
/// How long the members may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the members of a pool.
pub(super) async fn ask(
    gossip: &Membership,
    identity: &Identity,
    pool: Pool,
    wish: &KeyringWish,
    reach: KeyringReach,
) -> Result<KeyringReport, Refusal> {
    let own_keys = gossip.own_keys().await?;
    let members = gossip.members().borrow().clone();
    let mut report = KeyringReport {
        datacenter: identity.datacenter.clone(),
        pool,
        n_members: members.iter().filter(|member| member.status.is_active()).count() as u32,
        ..KeyringReport::default()
    };
    if own_keys.is_empty() {
        let name = match pool {
            Pool::Lan => identity.node.clone(),
            Pool::Wan => format!("{}.{}", identity.node, identity.datacenter).into(),
        };
        report.n_answers = report.n_members;
        report.n_errors = report.n_members;
        report.messages = vec![(name, NO_KEYRING.into())];
        return Ok(report);
    }
    let answers = match reach.is_local_only {
        true => {
            report.n_members = 1;
            let me = muster_gossip::Name::parse(&identity.node);
            let member = me.map_err(|error| Refusal::Internal(error.to_string()))?;
            vec![KeyringAnswer { member, keys: own_keys, refusal: None }]
        }
        false => {
            let result = gossip.ask_keyring(to_wish(wish)?, PATIENCE).await?;
            report.n_members = result.n_asked as u32;
            result.answers
        }
    };
    gather(&mut report, &answers);
    Ok(report)
}

fn gather(report: &mut KeyringReport, answers: &[KeyringAnswer]) {
    report.n_answers = answers.len() as u32;
    let mut uses: BTreeMap<String, KeyUse> = BTreeMap::new();
    for answer in answers {
        if let Some(refusal) = &answer.refusal {
            report.n_errors += 1;
            let name = Text::from(answer.member.as_str());
            report.messages.push((name, refusal.as_str().into()));
        }
        for (position, key) in answer.keys.iter().enumerate() {
            let text = BASE64_STANDARD.encode(key.as_bytes());
            let known = uses.entry(text.clone()).or_insert_with(|| KeyUse {
                key: Secret::from(Text::from(text)),
                ..KeyUse::default()
            });
            known.n_members += 1;
            known.n_primary += u32::from(position == 0);
        }
    }
    report.keys = uses.into_values().collect();
}

fn to_wish(wish: &KeyringWish) -> Result<Wish, Refusal> {
    Ok(match wish {
        KeyringWish::List => Wish::List,
        KeyringWish::Install(key) => Wish::Install(to_key(key)?),
        KeyringWish::Use(key) => Wish::Use(to_key(key)?),
        KeyringWish::Remove(key) => Wish::Remove(to_key(key)?),
    })
}

fn to_key(text: &Secret) -> Result<Key, Refusal> {
    let bytes = BASE64_STANDARD.decode(text.reveal().as_bytes());
    let bytes =
        bytes.map_err(|error| Refusal::Invalid(format!("the key is no base64: {error}")))?;
    Key::new(&bytes).map_err(|error| Refusal::Invalid(error.to_string()))
}
