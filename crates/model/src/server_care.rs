//! How the leader looks after the servers: replicated, so that every leader does it alike.
//!
//! Kept as a setting whose body has a line for each field: `name value`. What a line leaves out or
//! says of fields that this version does not know is passed over.

use std::fmt::Write as _;
use std::time::Duration;

use crate::Text;
use crate::settings::Setting;

/// How servers are looked after. Front-ends show and change it in their own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCare {
    /// Whether failed servers are taken out.
    pub removes_failed: bool,
    /// How long a server may be silent to the leader and be well. Whole milliseconds.
    pub last_contact_max: Duration,
    /// How many entries a server may be behind and be well.
    pub entries_behind_max: u64,
    /// How long a new server must be well before it votes. Whole milliseconds.
    pub stabilization: Duration,
    /// The fewest voters that taking out leaves; 0: no bound.
    pub voters_min: u64,
    /// The node meta key of redundancy zones: kept for clients that set it, and not acted upon.
    pub zone_key: Text,
    /// Whether servers of newer versions are not brought in step by step: likewise.
    pub skips_migration: bool,
    /// The node meta key of versions: likewise.
    pub version_key: Text,
}

impl Default for ServerCare {
    fn default() -> ServerCare {
        ServerCare {
            removes_failed: true,
            last_contact_max: Duration::from_millis(200),
            entries_behind_max: 250,
            stabilization: Duration::from_secs(10),
            voters_min: 0,
            zone_key: Text::default(),
            skips_migration: false,
            version_key: Text::default(),
        }
    }
}

impl ServerCare {
    /// Its place among the settings.
    pub const KIND: &'static str = "muster/servers";
    /// Its place within the kind.
    pub const NAME: &'static str = "care";

    /// The setting that keeps it.
    pub fn to_setting(&self) -> Setting {
        let mut body = String::new();
        let millis = |duration: Duration| duration.as_millis();
        // Writing to a String cannot fail.
        let _ = write!(
            body,
            "removes_failed {}\nlast_contact_max_ms {}\nentries_behind_max {}\n\
             stabilization_ms {}\nvoters_min {}\nzone_key {}\nskips_migration {}\n\
             version_key {}\n",
            self.removes_failed,
            millis(self.last_contact_max),
            self.entries_behind_max,
            millis(self.stabilization),
            self.voters_min,
            self.zone_key,
            self.skips_migration,
            self.version_key,
        );
        Setting { kind: Self::KIND.into(), name: Self::NAME.into(), body: body.into() }
    }

    /// What the body of such a setting says.
    pub fn from_body(body: &str) -> ServerCare {
        let mut care = ServerCare::default();
        for (name, value) in body.lines().filter_map(|line| line.split_once(' ')) {
            let number = || value.parse::<u64>().ok();
            let duration = || number().map(Duration::from_millis);
            let flag = || value.parse::<bool>().ok();
            match name {
                "removes_failed" => take(&mut care.removes_failed, flag()),
                "last_contact_max_ms" => take(&mut care.last_contact_max, duration()),
                "entries_behind_max" => take(&mut care.entries_behind_max, number()),
                "stabilization_ms" => take(&mut care.stabilization, duration()),
                "voters_min" => take(&mut care.voters_min, number()),
                "zone_key" => care.zone_key = value.into(),
                "skips_migration" => take(&mut care.skips_migration, flag()),
                "version_key" => care.version_key = value.into(),
                _ => {}
            }
        }
        care
    }
}

fn take<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_kept_comes_back(
            (removes_failed, skips_migration) in prop::bool::ANY.prop_flat_map(|a| (Just(a), prop::bool::ANY)),
            (contact, stable) in (0_u64..100_000_000, 0_u64..100_000_000),
            (entries_behind_max, voters_min) in (0_u64..u64::MAX, 0_u64..100),
            (zone_key, version_key) in ("[a-z ]{0,9}", "[a-z-]{0,9}"),
        ) {
            let care = ServerCare {
                removes_failed,
                last_contact_max: Duration::from_millis(contact),
                entries_behind_max,
                stabilization: Duration::from_millis(stable),
                voters_min,
                zone_key: zone_key.as_str().into(),
                skips_migration,
                version_key: version_key.as_str().into(),
            };
            prop_assert_eq!(ServerCare::from_body(&care.to_setting().body), care);
        }

        #[test]
        fn no_body_panics(body in "\\PC{0,200}") {
            ServerCare::from_body(&body);
        }
    }
}
