//! One running agent: state, consensus and health rules assembled behind the door.
//!
//! In reading order:
//! - [`setup`]: what an agent is told before it starts; [`agent`]: the parts, assembled in order;
//! - `machine`: entries of the log become versions of the state, and changes find their waiters;
//! - `memo`: answers are kept as long as nothing touched what they depend on;
//! - `registry`: submit, ask, peek and changes over these;
//! - `ports`, `pools`, [`membership`], `joining`: the gossip pools, running; `tags`: what members say;
//!   `placing`: where this node stands;
//! - `group`: the servers among themselves, `helm`: what the leader is asked; `founding` a group;
//! - `leader`: what only a leader decides: leases (`leases`) and the checks of who lives by one
//!   (`leased_checks`), lock delays, tombstones; `reconciler`:
//!   members to catalog; [`care`]: who votes; `belonging`: to which cluster a server's data belongs;
//! - `authority`: the built-in certificate authority;
//! - [`local`]: what this agent vouches for, and how the catalog hears of it; [`checks`]: how checks
//!   are run; [`tls`]: how it speaks TLS to what others run;
//! - `conflicts`: what agents are configured wrongly against each other;
//! - `rescue`: one survivor goes on alone; `operator`: members, logs and numbers; [`backup`]: the
//!   whole state as one file;
//! - [`wire`]: what agents say to each other; [`clerk`]: a server that does what others ask of it;
//!   `operate`: what operators want of servers; [`client`]: the agent of a node without state;
//! - [`mode`]: a server or a client, for what does not care.

pub mod agent;
mod authority;
pub mod backup;
mod belonging;
pub mod care;
pub mod checks;
pub mod clerk;
pub mod client;
mod conflicts;
mod doubts;
mod founding;
mod group;
mod helm;
mod joining;
mod leader;
mod leased_checks;
mod leases;
pub mod local;
mod machine;
pub mod membership;
mod memo;
pub mod mode;
mod operate;
mod operator;
mod placing;
mod pools;
pub mod ports;
mod reconciler;
mod registry;
mod rescue;
pub mod setup;
mod tags;
pub mod telemetry;
pub mod tls;
pub mod wire;

pub use agent::{Agent, AgentError};
pub use client::Client;
pub use joining::Joins;
pub use mode::Mode;
pub use ports::Ports;
pub use rescue::rescue;
pub use setup::{GossipSetup, Setup};
pub use tags::short_id;

// What an agent is told and given on the way in, in the words of the parts that it assembles.
pub use muster_consensus::{Folder, Leadership, Settings as ConsensusSettings};
pub use muster_gossip::Settings as GossipSettings;
pub use muster_gossip::keyring::Key;
pub use muster_health::check::Settings as CheckSettings;
pub use muster_health::guard::Settings as GuardSettings;
