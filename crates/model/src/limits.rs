//! The bound of everything a client can make us keep. What fronts and sockets bound on top of it
//! stands in their own `limits`.

/// Bytes of a name: of a node, a service, an instance, a check, a session, a prepared query.
pub const NAME_BYTES_MAX: usize = 512;
/// Bytes of an address.
pub const ADDRESS_BYTES_MAX: usize = 512;
/// Tags of an instance.
pub const TAGS_MAX: usize = 512;
/// Bytes of a tag. Routers read whole rules from tags.
pub const TAG_BYTES_MAX: usize = 4096;
/// Facts about one node or instance.
pub const META_PAIRS_MAX: usize = 64;
/// Bytes of the key of a fact.
pub const META_KEY_BYTES_MAX: usize = 128;
/// Bytes of the value of a fact.
pub const META_VALUE_BYTES_MAX: usize = 512;
/// Bytes of what a front-end keeps beside an instance to give it back as it came.
pub const ORIGINAL_BYTES_MAX: usize = 16 * 1024;
/// The shortest lease of an instance.
pub const INSTANCE_LEASE_MIN: std::time::Duration = std::time::Duration::from_secs(1);
/// The longest lease of an instance.
pub const INSTANCE_LEASE_MAX: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
/// Checks in one registration.
pub const CHECKS_MAX: usize = 1024;
/// Bytes of the output of a check that are kept.
pub const CHECK_OUTPUT_BYTES_MAX: usize = 4096;
/// Bytes of notes.
pub const NOTES_BYTES_MAX: usize = 4096;
/// Bytes of a key in the store.
pub const PAIR_KEY_BYTES_MAX: usize = 4096;
/// Bytes of a value in the store, unless configured otherwise.
pub const PAIR_VALUE_BYTES_MAX: usize = 512 * 1024;
/// How long a lock stays closed at most after a forced release, whatever its session asks for.
pub const LOCK_DELAY_MAX: std::time::Duration = std::time::Duration::from_secs(60);
/// Operations of one transaction.
pub const OPERATIONS_MAX: usize = 128;
/// Bytes of one encoded command: a transaction of large values is the greatest.
pub const COMMAND_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of a setting.
pub const SETTING_BYTES_MAX: usize = 512 * 1024;
