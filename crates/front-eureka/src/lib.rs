//! Eureka's REST protocol over the door.
//!
//! A [`Front`] is a service: it takes an HTTP request and gives a future of a response, and knows
//! neither sockets nor HTTP's framing. Applications are services, instances are instances that live
//! with a lease; what is registered in another tongue is shown too.
//!
//! In reading order:
//! - [`front`]: from a request to a reply, every operation in one `match`; `request`, `reply`,
//!   `failure`: what comes in and what goes out;
//! - `info`, `word`: an instance and its status in Eureka's words; `mapping`, `original`: to our
//!   instance and back;
//! - `codec`: JSON and XML;
//! - `roll`, `view`, `documents`: everything there is and what changed lately, kept ready;
//! - `alter`, then one file for each kind of writing: `register`, `renew`, `overrule`, `switch`,
//!   `peers`; `asked_check`: the health URL, for who wants it called; `about` and `page`, what the server tells of itself and to people.
//!
//! Left out: auto-scaling groups, regions, redirects, and sending on to Eureka servers.

pub mod front;
pub mod limits;

mod about;
mod alter;
mod asked_check;
mod codec;
mod documents;
mod failure;
mod info;
mod mapping;
mod original;
mod overrule;
mod page;
mod peers;
mod register;
mod renew;
mod reply;
mod request;
mod roll;
mod switch;
mod view;
mod word;

pub use front::{Front, Service, WallClock};
