//! `docs/consul-api.md` says of every endpoint of Consul's API whether it is served. It cannot say
//! anything else than the route table does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_page_of_the_api_says_what_the_route_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/consul-api.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (mut served, mut missing) = (BTreeSet::new(), BTreeSet::new());
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let endpoint = cells[1].trim_matches('`').to_owned();
        assert!(!cells[3].is_empty(), "{endpoint} has no word about it");
        let list = match cells[2] {
            "served" | "partly" => &mut served,
            "not" => &mut missing,
            other => panic!("{endpoint} is {other:?}: neither served, partly nor not"),
        };
        assert!(list.insert(endpoint.clone()), "{endpoint} stands there twice");
    }
    let routed: BTreeSet<String> = muster_front_consul::endpoints()
        .iter()
        .map(|endpoint| format!("{} {}", endpoint.method, endpoint.pattern))
        .collect();
    let unwritten: Vec<_> = routed.difference(&served).collect();
    let invented: Vec<_> = served.difference(&routed).collect();
    assert!(unwritten.is_empty(), "routed, but the page does not say served: {unwritten:#?}");
    assert!(invented.is_empty(), "the page says served, but nobody is routed: {invented:#?}");
    assert!(missing.is_disjoint(&served), "an endpoint is both served and not");
}
