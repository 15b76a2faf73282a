//! Whose the agent's Unix sockets are, and who may use them: `unix_sockets` of the configuration.
//!
//! Whoever may write to the socket of the HTTP API may do what the API allows, so a setting that cannot
//! be obeyed keeps the agent from starting. Names of users and groups are looked up in the machine's
//! files; directories elsewhere (LDAP and the like) are not asked: their ids can be given.

use std::path::Path;

use muster_world::{Permit, World};

use crate::config::listeners::UnixSocketsConfig;

/// Where users and groups have their ids.
const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";
/// Bytes of such a file.
const NAMES_BYTES_MAX: u64 = 16 << 20;
/// Bits of a mode: read, write and run, for owner, group and others.
const MODE_MAX: u32 = 0o777;

/// What the configuration says of sockets; nothing where it says nothing.
///
/// # Errors
/// Names the key that cannot be obeyed.
pub fn permit(world: &dyn World, config: &UnixSocketsConfig) -> Result<Permit, String> {
    let id = |key: &str, value: &str, file: &str| match value {
        "" => Ok(None),
        value => match value.parse() {
            Ok(id) => Ok(Some(id)),
            Err(_) => id_of(world, value, file)
                .map(Some)
                .map_err(|why| format!("unix_sockets.{key} {value:?}: {why}; give its id")),
        },
    };
    let mode = match config.mode.as_str() {
        "" => None,
        text => match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= MODE_MAX => Some(mode),
            _ => {
                return Err(format!(
                    "unix_sockets.mode {text:?}: write the permission bits in octal, such as 0770"
                ));
            }
        },
    };
    let (user, group) = (id("user", &config.user, USERS)?, id("group", &config.group, GROUPS)?);
    Ok(Permit { user, group, mode })
}

/// The id of a name in a file of `name:password:id:...` lines.
fn id_of(world: &dyn World, name: &str, file: &str) -> Result<u32, String> {
    let bytes = world.files().read(Path::new(file), NAMES_BYTES_MAX);
    let bytes = bytes.map_err(|error| format!("{file} cannot be read: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    });
    found.ok_or_else(|| format!("no such name in {file}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_world::{Files, Memory, Real};

    use super::*;

    fn permitted(user: &str, group: &str, mode: &str) -> Result<Permit, String> {
        let disk = Memory::new();
        let files: &dyn Files = &disk;
        files.create_folder(Path::new("/etc")).unwrap();
        files.replace(Path::new(USERS), b"root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/x\n").unwrap();
        files.replace(Path::new(GROUPS), b"web:x:44:\nodd\n").unwrap();
        let config =
            UnixSocketsConfig { user: user.into(), group: group.into(), mode: mode.into() };
        permit(&Real::with_files(Arc::new(disk)), &config)
    }

    #[test]
    fn names_become_ids_and_a_mode_is_read_as_octal() {
        let permit = permitted("web", "web", "0770").unwrap();
        assert_eq!(permit, Permit { user: Some(33), group: Some(44), mode: Some(0o770) });
        let permit = permitted("7", "", "").unwrap();
        assert_eq!(permit, Permit { user: Some(7), group: None, mode: None });
    }

    #[test]
    fn what_cannot_be_obeyed_is_named() {
        assert!(permitted("nobody-here", "", "").unwrap_err().contains("unix_sockets.user"));
        assert!(permitted("", "odd", "").unwrap_err().contains("unix_sockets.group"));
        for mode in ["rwx", "8", "1777"] {
            assert!(permitted("", "", mode).unwrap_err().contains("unix_sockets.mode"), "{mode}");
        }
    }
}
