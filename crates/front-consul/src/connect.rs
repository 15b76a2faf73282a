//! `/v1/connect/ca`, `/v1/agent/connect/ca`: the roots of the built-in certificate authority.
//!
//! The rest of the mesh is left out; the roots are here because Consul's own test helper waits for
//! them before it runs anything.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use muster_model::answer;
use muster_model::ca::CaRoot;
use muster_model::{Indexed, Query};
use serde::Serialize;

use crate::failure::Failure;
use crate::front::Front;
use crate::reading::{Form, Reading, Shaping, mismatch};
use crate::reply::Encoded;
use crate::request::Request;
use crate::routes::Route;
use crate::wall_time;

pub(crate) const ROUTES: &[Route] = &[
    Route::read("/v1/connect/ca/roots", "The roots of the certificate authority.", roots),
    Route::read(
        "/v1/agent/connect/ca/roots",
        "The same, as the agent has them at hand.",
        agent_roots,
    ),
];

fn roots(front: &Front, request: &Request) -> Result<Reading, Failure> {
    const FORM: Form = Form { name: "connect/ca/roots", make: shape_roots };
    if !front.settings().is_connect_enabled {
        return Err(Failure::internal("Connect must be enabled in order to use this endpoint"));
    }
    Reading::new(front, request, Query::Roots, &FORM)
}

/// What is at hand, unless the client waits.
fn agent_roots(front: &Front, request: &Request) -> Result<Reading, Failure> {
    Ok(roots(front, request)?.cached())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RootsShape<'a> {
    #[serde(rename = "ActiveRootID")]
    active_root_id: &'a str,
    trust_domain: String,
    roots: Vec<RootShape<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RootShape<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    serial_number: u64,
    #[serde(rename = "SigningKeyID")]
    signing_key_id: String,
    external_trust_domain: &'a str,
    not_before: String,
    not_after: String,
    root_cert: &'a str,
    intermediate_certs: Option<()>,
    active: bool,
    private_key_type: &'a str,
    private_key_bits: u32,
    create_index: u64,
    modify_index: u64,
}

fn shape_roots(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Roots(roots) = body else { return Err(mismatch()) };
    let active = roots.iter().find(|root| root.is_active);
    shaping.json(&RootsShape {
        active_root_id: active.map_or("", |root| &root.id),
        trust_domain: active.map_or(String::new(), |root| format!("{}.consul", root.cluster_id)),
        roots: roots.iter().map(shape_root).collect(),
    })
}

fn shape_root(root: &Indexed<CaRoot>) -> RootShape<'_> {
    RootShape {
        id: &root.id,
        name: &root.name,
        serial_number: root.serial,
        signing_key_id: key_id(&root.certificate),
        external_trust_domain: &root.cluster_id,
        not_before: wall_time::rfc3339(root.not_before),
        not_after: wall_time::rfc3339(root.not_after),
        root_cert: &root.certificate,
        intermediate_certs: None,
        active: root.is_active,
        private_key_type: "ec",
        private_key_bits: 256,
        create_index: root.create_index,
        modify_index: root.modify_index,
    }
}

/// The identifier of the subject's key in a certificate in PEM, in hexadecimal with colons; empty
/// where it names none.
fn key_id(pem: &str) -> String {
    /// The extension's object identifier (2.5.29.14) as it stands in the certificate.
    const EXTENSION: &[u8] = &[0x06, 0x03, 0x55, 0x1D, 0x0E, 0x04];
    let words: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let Ok(der) = BASE64_STANDARD.decode(words) else { return String::new() };
    let Some(at) = der.windows(EXTENSION.len()).position(|window| window == EXTENSION) else {
        return String::new();
    };
    // Then follow the length of the extension, an octet string's mark, and the string's length.
    let value = &der[at + EXTENSION.len()..];
    let Some(n_bytes) = value.get(2).map(|n| usize::from(*n)) else { return String::new() };
    let Some(id) = value.get(3..3 + n_bytes) else { return String::new() };
    id.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}
