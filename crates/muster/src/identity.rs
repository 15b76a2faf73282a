//! Who an agent is: its node's name, id and addresses, and the folder that is its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use muster_agent::Folder;
use muster_model::{Meta, Text};
use muster_registry::local::Identity;
use muster_world::World;

use crate::cli::local::{API_VERSION, VERSION};
use crate::config::Config;

/// The file in the data folder that keeps the node's id.
const ID_FILE: &str = "node-id";
const ID_BYTES_MAX: u64 = 128;

/// Locks the data folder and says who works on it. The id comes from the configuration, else from the
/// folder, else it is new and the folder keeps it.
///
/// # Errors
/// Where the folder cannot be used, or belongs to another node, or where no address can be told to
/// others; the folder is left as it was.
pub async fn open(
    world: &Arc<dyn World>,
    data_folder: &Path,
    config: &Config,
) -> Result<(Folder, Identity), String> {
    let addresses = Addresses::of(&**world, config)?;
    let (world, path, wanted) = (world.clone(), data_folder.to_owned(), config.node_id.clone());
    let inside = world.clone();
    let opened =
        muster_world::blocking(&*world, move || open_folder(&inside, &path, &wanted)).await;
    let (folder, id) = opened.ok_or("the data folder could not be looked at")??;
    Ok((folder, describe(&*world, config, id, addresses)))
}

fn open_folder(
    world: &Arc<dyn World>,
    path: &Path,
    wanted: &str,
) -> Result<(Folder, String), String> {
    let id_file = path.join(ID_FILE);
    let kept = match world.files().read(&id_file, ID_BYTES_MAX) {
        Ok(bytes) => Some(parse_id(&String::from_utf8_lossy(&bytes)).map_err(|why| {
            format!("{}: {why}; restore the file, or remove it with the folder", id_file.display())
        })?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("cannot read {}: {error}", id_file.display())),
    };
    let given = if wanted.is_empty() { None } else { Some(parse_id(wanted)?) };
    let id = given.or(kept).unwrap_or_else(|| new_id(world.seed()));
    let folder = Folder::open(world.clone(), path, Some(short_id(&id)))
        .map_err(|error| error.to_string())?;
    let text = uuid::Uuid::from_bytes(id).to_string();
    if kept != Some(id) {
        world
            .files()
            .replace(&id_file, text.as_bytes())
            .map_err(|error| format!("cannot write {}: {error}", id_file.display()))?;
    }
    Ok((folder, text))
}

/// Makes the server of a data folder the only voter of its group; gives the last index it has.
///
/// # Errors
/// Where the folder is not one, is in use, or holds nothing; it is left as it was.
pub async fn rescue(data_folder: &Path) -> Result<u64, String> {
    let world: Arc<dyn World> = Arc::new(muster_world::Real::new());
    let (inside, path) = (world.clone(), data_folder.to_owned());
    let opened = muster_world::blocking(&*world, move || {
        let is_one = inside.files().exists(&path.join("identity"));
        if !is_one.map_err(|error| format!("{}: {error}", path.display()))? {
            return Err(format!("{} is no data folder of a server", path.display()));
        }
        Folder::open(inside, &path, None).map_err(|error| error.to_string())
    });
    let folder = opened.await.ok_or("the data folder could not be looked at")??;
    muster_agent::rescue(folder).await.map_err(|error| error.to_string())
}

fn parse_id(text: &str) -> Result<[u8; 16], String> {
    let id = uuid::Uuid::parse_str(text.trim());
    id.map(uuid::Uuid::into_bytes).map_err(|_| format!("node id {text:?} is not a UUID"))
}

fn new_id(seed: [u8; 32]) -> [u8; 16] {
    let bytes = *seed.first_chunk().expect("a seed has 32 bytes");
    uuid::Builder::from_random_bytes(bytes).into_uuid().into_bytes()
}

/// The number by which consensus knows the node: the first half of its id.
fn short_id(id: &[u8; 16]) -> u64 {
    u64::from_be_bytes(*id.first_chunk().expect("an id has 16 bytes"))
}

/// The addresses that are told to others.
struct Addresses {
    lan: String,
    wan: String,
}

fn describe(
    world: &dyn World,
    config: &Config,
    node_id: String,
    Addresses { lan: address, wan }: Addresses,
) -> Identity {
    let node = match config.node_name.as_str() {
        "" => world.machine(Path::new("/")).hostname,
        name => name.to_string(),
    };
    let datacenter = Text::from(config.datacenter.to_lowercase());
    let primary = match config.primary_datacenter.as_str() {
        "" => datacenter.clone(),
        name => name.to_lowercase().into(),
    };
    let mut tagged: Vec<(String, String)> = Vec::new();
    for (purpose, address) in [("lan", &address), ("wan", &wan)] {
        let family = if address.contains(':') { "ipv6" } else { "ipv4" };
        tagged.push((purpose.to_string(), address.clone()));
        tagged.push((format!("{purpose}_{family}"), address.clone()));
    }
    tagged.extend(config.tagged_addresses.clone());
    let own_facts = [("consul-network-segment", ""), ("consul-version", API_VERSION)];
    let given = config.node_meta.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    Identity {
        node: node.into(),
        node_id: node_id.into(),
        datacenter,
        primary_datacenter: primary,
        is_server: config.server,
        address: address.into(),
        tagged_addresses: tagged.into_iter().collect(),
        node_meta: given.chain(own_facts).collect::<Meta>(),
        locality: None,
        version: VERSION,
    }
}

impl Addresses {
    fn of(world: &dyn World, config: &Config) -> Result<Addresses, String> {
        let own = || world.addresses();
        let lan = advertised(&own, &config.advertise_addr, &config.bind_addr)?;
        let wan = advertised(&own, &config.advertise_addr_wan, &lan)?;
        Ok(Addresses { lan, wan })
    }
}

/// Tells the machine's own addresses.
type Own<'a> = dyn Fn() -> std::io::Result<Vec<IpAddr>> + 'a;

/// The address that is told to others: the one chosen, else the one bound to. An agent that binds
/// every address tells the machine's private one, if there is just one; the loopback's is never told.
fn advertised(own: &Own<'_>, chosen: &str, bound: &str) -> Result<String, String> {
    let bound = bound.split_whitespace().next().unwrap_or("0.0.0.0");
    let address = if chosen.is_empty() { bound } else { chosen };
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => detected(own, ip.is_ipv6()),
        _ => Ok(address.to_owned()),
    }
}

/// The one address of the machine that others can reach it at, in Consul's words where there is none.
fn detected(own: &Own<'_>, is_ipv6: bool) -> Result<String, String> {
    let kind = if is_ipv6 { "public IPv6" } else { "private IPv4" };
    let addresses = own().map_err(|error| format!("Error detecting {kind} address: {error}"))?;
    let fits = |address: &&IpAddr| match address {
        IpAddr::V4(v4) => !is_ipv6 && is_private_v4(*v4),
        IpAddr::V6(v6) => is_ipv6 && !is_private_v6(*v6),
    };
    let fitting: Vec<&IpAddr> = addresses.iter().filter(fits).collect();
    match fitting[..] {
        [] => Err(format!(
            "No {kind} address found; name one with bind_addr or advertise_addr (-bind, -advertise)"
        )),
        [only] => Ok(only.to_string()),
        _ => Err(format!(
            "Multiple {kind} addresses found. Please configure one with 'bind' and/or 'advertise'."
        )),
    }
}

/// The blocks that are not forwarded (RFC 1918, 6598, 3927, 6890).
fn is_private_v4(address: Ipv4Addr) -> bool {
    let is_shared = matches!(address.octets(), [100, 64..=127, ..]);
    let is_special = matches!(address.octets(), [192, 0, 0 | 2, _]);
    address.is_private() || address.is_link_local() || is_shared || is_special
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unicast_link_local() || address.is_unique_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(addresses: &[&str], chosen: &str, bound: &str) -> Result<String, String> {
        let own = || Ok(addresses.iter().map(|address| address.parse().unwrap()).collect());
        advertised(&own, chosen, bound)
    }

    #[test]
    fn who_binds_every_address_tells_the_private_one() {
        let own = ["10.1.2.3", "203.0.113.7", "fe80::1", "2001:db8::7"];
        assert_eq!(told(&own, "", "0.0.0.0").unwrap(), "10.1.2.3");
        assert_eq!(told(&own, "", "::").unwrap(), "2001:db8::7");
        assert_eq!(told(&own, "", "[::]").unwrap(), "2001:db8::7");
        assert_eq!(told(&own, "", "").unwrap(), "10.1.2.3");
        assert_eq!(told(&own, "192.0.2.9", "0.0.0.0").unwrap(), "192.0.2.9");
        assert_eq!(told(&own, "", "203.0.113.7").unwrap(), "203.0.113.7");
        assert_eq!(told(&own, "", "127.0.0.1").unwrap(), "127.0.0.1");
    }

    #[test]
    fn none_or_several_are_refused_in_consuls_words() {
        let none = told(&["203.0.113.7"], "", "0.0.0.0").unwrap_err();
        assert!(none.starts_with("No private IPv4 address found"), "{none}");
        let several = told(&["10.0.0.1", "100.64.0.1"], "", "0.0.0.0").unwrap_err();
        assert_eq!(
            several,
            "Multiple private IPv4 addresses found. Please configure one with 'bind' and/or \
             'advertise'."
        );
        let none = told(&["fe80::1", "fd00::1"], "", "::").unwrap_err();
        assert!(none.starts_with("No public IPv6 address found"), "{none}");
    }
}
