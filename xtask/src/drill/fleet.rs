//! Sixteen clients that write and remember what they were promised.
//!
//! Each client owns some slots: pairs, instances of the catalog and instances of the agent. It
//! writes them in turn, again and again, each time with a higher version. An acknowledged version
//! is a promise. The one write that was under way when the connection broke may have happened or
//! not; nothing else may differ. [`Memory::compare`] holds all of that against what a server gives.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::connection::{Answer, Connection};

/// Clients that write at a time.
pub(super) const N_CLIENTS: usize = 16;
/// Bytes of a pair's value.
const VALUE_BYTES: usize = 256;
/// Answers of 5xx that a client takes in a row: a server has no leader in its first moments.
const N_REFUSALS_MAX: usize = 10_000;

/// What one client was promised.
#[derive(Default)]
pub(super) struct Memory {
    client: usize,
    n_slots: usize,
    next: u64,
    /// The acknowledged version by slot.
    promised: BTreeMap<usize, u64>,
    /// A write whose outcome is not known.
    under_way: Option<(usize, u64)>,
}

/// What a comparison found.
#[derive(Default)]
pub(super) struct Compared {
    /// Acknowledged writes that are there.
    pub(super) n_kept: usize,
    /// Writes cut off before their answer.
    pub(super) n_cut_off: usize,
    /// Of these, the ones that are there all the same.
    pub(super) n_landed: usize,
    /// Promises that were not kept, in words.
    pub(super) broken: Vec<String>,
}

/// Every version that a server holds, by the name of its slot.
pub(super) type Found = BTreeMap<String, u64>;

/// New memories that share about `n_slots` slots.
pub(super) fn memories(n_slots: usize) -> Vec<Memory> {
    let n_slots = n_slots.div_ceil(N_CLIENTS);
    (0..N_CLIENTS).map(|client| Memory { client, n_slots, ..Memory::default() }).collect()
}

impl Memory {
    /// Writes until the connection breaks, and counts what is acknowledged.
    pub(super) fn write_on(
        &mut self,
        address: &str,
        acknowledged: &AtomicUsize,
    ) -> Result<(), String> {
        let Ok(mut connection) = Connection::open(address) else { return Ok(()) };
        let mut n_refusals = 0;
        loop {
            let slot = (self.next % self.n_slots as u64) as usize;
            let version = self.next + 1;
            self.under_way = Some((slot, version));
            let (path, body) = self.request(slot, version);
            let Ok(answer) = connection.ask("PUT", &path, &body) else { return Ok(()) };
            match answer.status {
                200 => {
                    self.next = version;
                    self.promised.insert(slot, version);
                    self.under_way = None;
                    n_refusals = 0;
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                500..=599 if n_refusals < N_REFUSALS_MAX => {
                    n_refusals += 1;
                    std::thread::yield_now();
                }
                _ => return Err(format!("PUT {path} was refused: {}", told(&answer))),
            }
        }
    }

    /// Holds what was promised against what is there, and learns how the cut off write ended.
    pub(super) fn compare(&mut self, found: &Found, compared: &mut Compared) {
        if let Some((slot, version)) = self.under_way.take() {
            compared.n_cut_off += 1;
            // No version is ever written twice, not even one that may not have happened.
            self.next = version;
            if found.get(&self.name(slot)) == Some(&version) {
                compared.n_landed += 1;
                self.promised.insert(slot, version);
            }
        }
        for (slot, version) in &self.promised {
            let name = self.name(*slot);
            match found.get(&name) {
                Some(there) if there == version => compared.n_kept += 1,
                Some(there) => compared
                    .broken
                    .push(format!("{name}: version {version} was acknowledged, {there} is there")),
                None => compared
                    .broken
                    .push(format!("{name}: version {version} was acknowledged, nothing is there")),
            }
        }
    }

    /// One slot in sixteen is an instance of the agent, three are instances of the catalog.
    fn name(&self, slot: usize) -> String {
        let kind = match slot % 16 {
            0 => "local",
            5 | 10 | 15 => "catalog",
            _ => "pair",
        };
        format!("drill/{kind}/{}/{slot}", self.client)
    }

    fn request(&self, slot: usize, version: u64) -> (String, Vec<u8>) {
        let name = self.name(slot);
        let meta = json!({ "version": version.to_string() });
        match slot % 16 {
            0 => {
                let body = json!({ "ID": name, "Name": "drill-local", "Port": 80, "Meta": meta });
                ("/v1/agent/service/register".into(), body.to_string().into_bytes())
            }
            5 | 10 | 15 => {
                let instance =
                    json!({ "ID": name, "Service": "drill-catalog", "Port": 80, "Meta": meta });
                let node = format!("drill-{}", self.client);
                let body = json!({ "Node": node, "Address": "192.0.2.1", "Service": instance });
                ("/v1/catalog/register".into(), body.to_string().into_bytes())
            }
            _ => (format!("/v1/kv/{name}"), value_of(version)),
        }
    }
}

/// Everything that a server holds of the drill.
pub(super) fn look(connection: &mut Connection) -> Result<Found, String> {
    let mut found = Found::new();
    for listed in items(&read(connection, "/v1/kv/drill/?recurse")?) {
        let (name, version) = pair(listed)?;
        found.insert(name, version);
    }
    for instance in items(&read(connection, "/v1/catalog/service/drill-catalog")?) {
        let version =
            instance["ServiceMeta"]["version"].as_str().and_then(|word| word.parse().ok());
        let name = text(instance, "ServiceID");
        found.insert(name.clone(), version.ok_or(format!("the meta of {name} is damaged"))?);
    }
    let local = read(connection, "/v1/agent/services")?;
    for (name, instance) in local.as_object().into_iter().flatten() {
        let version = instance["Meta"]["version"].as_str().and_then(|word| word.parse().ok());
        found.insert(name.clone(), version.ok_or(format!("the meta of {name} is damaged"))?);
    }
    Ok(found)
}

/// The key and the version of a pair as it is listed.
pub(super) fn pair(listed: &Value) -> Result<(String, u64), String> {
    let name = text(listed, "Key");
    let value = STANDARD.decode(text(listed, "Value")).unwrap_or_default();
    let version = version_of(&value).ok_or(format!("the value of {name} is damaged"))?;
    Ok((name, version))
}

/// Reads JSON; nothing there is nothing.
pub(super) fn read(connection: &mut Connection, path: &str) -> Result<Value, String> {
    let answer = connection.ask("GET", path, b"").map_err(|error| format!("{path}: {error}"))?;
    match answer.status {
        200 => serde_json::from_slice(&answer.body).map_err(|error| format!("{path}: {error}")),
        404 => Ok(Value::Null),
        _ => Err(format!("GET {path} was refused: {}", told(&answer))),
    }
}

/// An answer in words.
pub(super) fn told(answer: &Answer) -> String {
    format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body).trim())
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// A value that shows if any byte of it is not of this version.
pub(super) fn value_of(version: u64) -> Vec<u8> {
    version.to_le_bytes().into_iter().cycle().take(VALUE_BYTES).collect()
}

pub(super) fn version_of(value: &[u8]) -> Option<u64> {
    let version = u64::from_le_bytes(*value.first_chunk()?);
    (value == value_of(version)).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_two_versions_is_damaged() {
        let mut value = value_of(7);
        assert_eq!(version_of(&value), Some(7));
        value[200] ^= 1;
        assert_eq!(version_of(&value), None);
        assert_eq!(version_of(&value_of(7)[..255]), None);
    }

    #[test]
    fn only_the_write_under_way_may_be_there_or_not() {
        let mut memory = Memory { n_slots: 32, next: 2, ..Memory::default() };
        memory.promised = [(1, 1), (2, 2)].into();
        memory.under_way = Some((1, 3));
        let mut compared = Compared::default();
        let found: Found = [(memory.name(1), 3), (memory.name(2), 2)].into();
        memory.compare(&found, &mut compared);
        assert_eq!((compared.n_kept, compared.n_cut_off, compared.n_landed), (2, 1, 1));
        assert_eq!(memory.next, 3, "the next write has a version of its own");

        // Now version 3 is as good as acknowledged: an older one there is a broken promise.
        let found: Found = [(memory.name(1), 1)].into();
        memory.compare(&found, &mut compared);
        assert_eq!(compared.broken.len(), 2, "{:?}", compared.broken);
    }
}
