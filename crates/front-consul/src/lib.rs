//! Consul's HTTP API (`/v1`) over the door.
//!
//! A [`Front`] is a service: it takes an HTTP request and gives a future of a response, and knows
//! neither sockets nor TLS nor HTTP's framing. It holds no state of its own beside the door.
//!
//! In reading order:
//! - [`front`]: from a request to a reply; `routes`: the table of all endpoints;
//! - `request`, `parameters`, `decode`: what comes in; `reply`, `json`, `failure`: what goes out;
//! - `reading`: what every reading endpoint has in common, blocking included; `caching`: `?cached`;
//! - `bodies`: what clients send; `shapes`: what they are given; [`filter`]: `?filter=`;
//! - then one file for each URL area.
//!
//! Left out: ACLs, the service mesh beyond what registrations carry, peering, and everything that
//! only Consul's enterprise edition has. `docs/consul-api.md` lists every endpoint.

pub mod filter;
pub mod front;
pub mod limits;

mod acl;
mod agent;
mod bodies;
mod caching;
mod catalog;
mod connect;
mod coordinate;
mod debug;
mod decode;
mod duration;
mod event;
mod failure;
mod health;
mod json;
mod kv;
mod mesh;
mod operator;
mod parameters;
mod query;
mod reading;
mod reply;
mod request;
mod routes;
mod session;
mod shapes;
mod snapshot;
mod status;
mod times;
mod txn;
mod wall_time;

pub use front::{Front, Network, Service, Serving, Settings};
pub use routes::{Endpoint, endpoints};
