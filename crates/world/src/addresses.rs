//! The addresses of this machine's interfaces, as the kernel tells them in text.
//!
//! Read from `/proc/net`, so that no call needs unsafe code: the local table of routes holds the IPv4
//! addresses of all interfaces that are up, `if_inet6` those of IPv6. The loopback's are left out.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where the kernel tells its routes.
const ROUTES: &str = "/proc/net/fib_trie";
/// Where it tells its IPv6 addresses; absent where IPv6 is switched off.
const INTERFACES_V6: &str = "/proc/net/if_inet6";

/// The addresses of the interfaces that are up, each once, without the loopback's.
pub(crate) fn of_machine() -> io::Result<Vec<IpAddr>> {
    let routes = fs::read_to_string(ROUTES)
        .map_err(|error| io::Error::new(error.kind(), format!("{ROUTES}: {error}")))?;
    let interfaces = fs::read_to_string(INTERFACES_V6).unwrap_or_default();
    let mut addresses: Vec<IpAddr> = in_routes(&routes).map(IpAddr::V4).collect();
    addresses.extend(in_interfaces(&interfaces).map(IpAddr::V6));
    addresses.retain(|address| !address.is_loopback());
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// Each line with an address is followed by lines that say what it is: `/32 host LOCAL` is our own.
fn in_routes(text: &str) -> impl Iterator<Item = Ipv4Addr> {
    let mut last = None;
    text.lines().filter_map(move |line| {
        let line = line.trim_start_matches([' ', '|']);
        if let Some(address) = line.strip_prefix("-- ") {
            last = address.trim().parse().ok();
            return None;
        }
        last.filter(|_| line.trim() == "/32 host LOCAL")
    })
}

/// Each line begins with an address as 32 digits.
fn in_interfaces(text: &str) -> impl Iterator<Item = Ipv6Addr> {
    let digits = text.lines().filter_map(|line| line.split_whitespace().next());
    let digits = digits.filter(|digits| digits.len() == 32);
    digits.filter_map(|digits| u128::from_str_radix(digits, 16).ok()).map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.1.2.0/24 2 0 2
        |-- 10.1.2.0
           /24 link UNICAST
        |-- 10.1.2.7
           /32 host LOCAL
        |-- 10.1.2.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
Local:
     |-- 10.1.2.7
        /32 host LOCAL
";

    #[test]
    fn the_own_addresses_are_found_among_the_routes() {
        let found: Vec<String> = in_routes(LOCAL).map(|address| address.to_string()).collect();
        assert_eq!(found, ["10.1.2.7", "127.0.0.1", "10.1.2.7"]);
    }

    #[test]
    fn the_own_addresses_are_found_among_the_interfaces() {
        let text = "fe800000000000000042acfffe110002 02 40 20 80 eth0\n\
                    00000000000000000000000000000001 01 80 10 80 lo\nodd\n";
        let found: Vec<String> = in_interfaces(text).map(|address| address.to_string()).collect();
        assert_eq!(found, ["fe80::42:acff:fe11:2", "::1"]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "([ |+/0-9a-f.:-]{0,40}\n){0,8}") {
            in_routes(&text).for_each(drop);
            in_interfaces(&text).for_each(drop);
        }
    }
}
