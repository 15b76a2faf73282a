//! `muster agent`: its flags, and how they overrule the files.
//!
//! A flag is a name for a key: `FLAGS` says which. Its help is the key's sentence and its value is
//! read as if a last file had said it, so a flag cannot mean something else than its key. The names
//! are Consul's. What the agent then does stands in `assemble.rs`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::config::load::{Loaded, Sources, load};
use crate::config::setting::{Key, Reader, Setting};
use crate::config::syntax::{Entry, Format, Node, Object, Value};
use crate::config::{CalledAs, Config, Problem, Problems, reference};

/// Flags and the keys they stand for.
const FLAGS: &[(&str, &str)] = &[
    ("data-dir", "data_dir"),
    ("node", "node_name"),
    ("node-id", "node_id"),
    ("node-meta", "node_meta"),
    ("datacenter", "datacenter"),
    ("server", "server"),
    ("bootstrap", "bootstrap"),
    ("bootstrap-expect", "bootstrap_expect"),
    ("disable-host-node-id", "disable_host_node_id"),
    ("bind", "bind_addr"),
    ("client", "client_addr"),
    ("advertise", "advertise_addr"),
    ("advertise-wan", "advertise_addr_wan"),
    ("insecure-bind", "insecure_bind"),
    ("http-port", "ports.http"),
    ("https-port", "ports.https"),
    ("dns-port", "ports.dns"),
    ("eureka-port", "ports.eureka"),
    ("grpc-port", "ports.grpc"),
    ("grpc-tls-port", "ports.grpc_tls"),
    ("server-port", "ports.server"),
    ("serf-lan-port", "ports.serf_lan"),
    ("serf-wan-port", "ports.serf_wan"),
    ("serf-lan-bind", "serf_lan"),
    ("serf-wan-bind", "serf_wan"),
    ("serf-lan-allowed-cidrs", "serf_lan_allowed_cidrs"),
    ("serf-wan-allowed-cidrs", "serf_wan_allowed_cidrs"),
    ("domain", "domain"),
    ("alt-domain", "alt_domain"),
    ("recursor", "recursors"),
    ("allow-write-http-from", "http_config.allow_write_http_from"),
    ("ui", "ui_config.enabled"),
    ("ui-content-path", "ui_config.content_path"),
    ("ui-dir", "ui_config.dir"),
    ("default-query-time", "default_query_time"),
    ("max-query-time", "max_query_time"),
    ("retry-join", "retry_join"),
    ("join", "retry_join"),
    ("retry-join-wan", "retry_join_wan"),
    ("join-wan", "retry_join_wan"),
    ("retry-interval", "retry_interval"),
    ("retry-interval-wan", "retry_interval_wan"),
    ("retry-max", "retry_max"),
    ("retry-max-wan", "retry_max_wan"),
    ("rejoin", "rejoin_after_leave"),
    ("encrypt", "encrypt"),
    ("disable-keyring-file", "disable_keyring_file"),
    ("raft-protocol", "raft_protocol"),
    ("enable-script-checks", "enable_script_checks"),
    ("enable-local-script-checks", "enable_local_script_checks"),
    ("check_output_max_size", "check_output_max_size"),
    ("log-level", "log_level"),
    ("log-json", "log_json"),
    ("log-file", "log_file"),
    ("log-rotate-bytes", "log_rotate_bytes"),
    ("log-rotate-duration", "log_rotate_duration"),
    ("log-rotate-max-files", "log_rotate_max_files"),
    ("syslog", "enable_syslog"),
    ("pid-file", "pid_file"),
    ("ready-file", "ready_file"),
    ("auto-reload-config", "auto_reload_config"),
    // Accepted without effect, as their keys are.
    ("protocol", "protocol"),
    ("segment", "segment"),
    ("read-replica", "read_replica"),
    ("non-voting-server", "non_voting_server"),
];

/// The flags of `muster agent`.
#[derive(Debug, Clone, Default)]
pub struct AgentFlags {
    /// Start from [`Config::dev`].
    pub is_dev: bool,
    /// Files and folders to read, in the order given.
    pub paths: Vec<PathBuf>,
    /// The format of every file.
    pub format: Option<Format>,
    /// Pieces of HCL that speak last.
    pub fragments: Vec<String>,
    /// The other flags that were given: name and value.
    pub given: Vec<(String, String)>,
}

impl AgentFlags {
    /// Reads the files, lets the flags overrule them and verifies the whole. Done anew at a reload.
    pub fn load(&self, called_as: CalledAs) -> Result<Loaded, Problems> {
        let sources = Sources {
            called_as,
            is_dev: self.is_dev,
            paths: self.paths.clone(),
            format: self.format,
            fragments: self.fragments.clone(),
        };
        load(&sources, |config| self.apply(config))
    }

    fn apply(&self, config: &mut Config) -> Vec<Problem> {
        let keys = reference::keys();
        let mut problems = Vec::new();
        for (name, text) in &self.given {
            let key = key_of_flag(&keys, name);
            let mut reader = Reader::default();
            match node_of(key, text) {
                Ok(node) => config.read(&node, &mut reader),
                Err(why) => reader.complain(0, why),
            }
            problems.extend(reader.finish(&format!("-{name}")));
        }
        problems
    }
}

impl Args for AgentFlags {
    fn augment_args(command: Command) -> Command {
        let many = |name: &'static str| Arg::new(name).long(name).action(ArgAction::Append);
        let path = clap::value_parser!(PathBuf);
        let mut command = command
            .next_help_heading("Where the configuration comes from")
            .arg(
                Arg::new("dev")
                    .long("dev")
                    .action(ArgAction::SetTrue)
                    .help("A server in memory on loopback, to try things out: nothing outlives it"),
            )
            .arg(
                many("config-file")
                    .value_name("FILE")
                    .value_parser(path.clone())
                    .help("A file to read; repeatable"),
            )
            .arg(
                many("config-dir")
                    .value_name("DIR")
                    .value_parser(path)
                    .help("A folder whose .hcl and .json files are read by name; repeatable"),
            )
            .arg(
                Arg::new("config-format")
                    .long("config-format")
                    .value_name("hcl|json")
                    .value_parser(format)
                    .help("Read every file as this, whatever its name"),
            )
            .arg(many("hcl").value_name("HCL").help("A piece of HCL that speaks last; repeatable"))
            .next_help_heading("Keys of the configuration");
        let keys = reference::keys();
        for (name, _) in FLAGS {
            command = command.arg(flag(key_of_flag(&keys, name), name));
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for AgentFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = AgentFlags {
            is_dev: matches.get_flag("dev"),
            format: matches.get_one::<Format>("config-format").copied(),
            fragments: matches.get_many("hcl").into_iter().flatten().cloned().collect(),
            ..AgentFlags::default()
        };
        let mut paths: Vec<(usize, &PathBuf)> = Vec::new();
        for name in ["config-file", "config-dir"] {
            let places = matches.indices_of(name).into_iter().flatten();
            paths.extend(places.zip(matches.get_many(name).into_iter().flatten()));
        }
        paths.sort();
        flags.paths = paths.into_iter().map(|(_, path)| path.clone()).collect();
        for (name, _) in FLAGS {
            for value in matches.get_many::<String>(name).into_iter().flatten() {
                flags.given.push(((*name).to_owned(), value.clone()));
            }
        }
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// `hcl` or `json`.
pub fn format(text: &str) -> Result<Format, String> {
    Format::named(text).ok_or_else(|| "expected hcl or json".into())
}

fn flag(key: &Key, name: &'static str) -> Arg {
    let arg = Arg::new(name)
        .long(name)
        .action(ArgAction::Append)
        .allow_hyphen_values(true)
        .hide(key.default.is_empty());
    let help = format!("{} [{}]", key.sentence.trim_end_matches('.'), key.path);
    match key.kind {
        "a bool" | "anything" => {
            let arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
            arg.value_name("BOOL").help(help)
        }
        "a map" => arg.value_name("KEY:VALUE").help(format!("{help}; repeatable")),
        kind if kind.starts_with("a list") => {
            arg.value_name("VALUE").help(format!("{help}; repeatable"))
        }
        "a port" => arg.value_name("PORT").help(help),
        "a duration" => arg.value_name("DURATION").help(help),
        "a whole number" => arg.value_name("N").help(help),
        _ => arg.value_name("TEXT").help(help),
    }
}

fn key_of_flag<'k>(keys: &'k [Key], name: &str) -> &'k Key {
    let path = FLAGS.iter().find(|(flag, _)| *flag == name).map(|(_, path)| *path);
    keys.iter()
        .find(|key| Some(key.path.as_str()) == path)
        .expect("every flag names a key that exists, which a test checks")
}

/// The tree a file would have given for `key` with the flag's value.
fn node_of(key: &Key, text: &str) -> Result<Node, String> {
    let value = match key.kind {
        "a bool" => match text {
            "true" | "1" | "t" => Value::Bool(true),
            "false" | "0" | "f" => Value::Bool(false),
            text => return Err(format!("expected true or false, found {text:?}")),
        },
        "a port" | "a whole number" | "a number" => Value::Number(text.to_owned()),
        "a map" => {
            let (name, value) = text.split_once(':').ok_or("expected KEY:VALUE")?;
            object(name, Node { line: 0, value: Value::Text(value.to_owned()) })
        }
        _ => Value::Text(text.to_owned()),
    };
    let leaf = Node { line: 0, value };
    let nest = |node, part| Node { line: 0, value: object(part, node) };
    Ok(key.path.rsplit('.').fold(leaf, nest))
}

fn object(key: &str, node: Node) -> Value {
    let entry = Entry { key: key.to_owned(), line: 0, node };
    Value::Object(Object { label: None, entries: vec![entry] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_stands_for_a_key() {
        let keys = reference::keys();
        for (name, path) in FLAGS {
            assert!(keys.iter().any(|key| key.path == *path), "-{name} names no key: {path}");
        }
    }
}
