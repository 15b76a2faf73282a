//! Conversations: what a file says, and what becomes of it.

use std::time::Duration;

use proptest::prelude::*;

use super::load::{Sources, load, overlay};
use super::root::CalledAs;
use super::setting::{Port, snake_case};
use super::syntax::{self, DEPTH_MAX, Format};
use super::{Config, Problems, reference};
use crate::cli::agent::AgentFlags;

/// A configuration that says enough to be right.
fn config(text: &str, format: Format) -> Result<Config, String> {
    let mut config = Config::dev();
    let problems = overlay(&mut config, text, format, "web.hcl");
    if problems.is_empty() { Ok(config) } else { Err(Problems(problems).to_string()) }
}

fn hcl(text: &str) -> Config {
    config(text, Format::Hcl).unwrap()
}

fn refusal(text: &str) -> String {
    config(text, Format::Hcl).unwrap_err()
}

#[test]
fn hcl_and_json_say_the_same() {
    let from_hcl = hcl(r#"
        datacenter = "north"   # a comment
        ports { http = 8500, dns = -1 }
        "node_meta" = { "rack" = "a7" }
        recursors = ["1.1.1.1", "9.9.9.9",]
        dns_config { service_ttl { "*" = "5s" } }
        service { name = "web" port = 80 }
    "#);
    let from_json = config(
        r#"{"datacenter": "north", "ports": {"http": 8500, "dns": -1},
            "node_meta": {"rack": "a7"}, "recursors": ["1.1.1.1", "9.9.9.9"],
            "dns_config": {"service_ttl": {"*": "5s"}},
            "service": {"name": "web", "port": 80}}"#,
        Format::Json,
    );
    assert_eq!(Ok(&from_hcl), from_json.as_ref());
    assert_eq!(from_hcl.ports.dns, Port::OFF);
    assert_eq!(from_hcl.dns_config.service_ttl["*"], Duration::from_secs(5));
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_key() {
    assert_eq!(
        refusal("datacenter = \"a\"\n\ndata_dirr = \"/tmp\"\n"),
        "web.hcl:3: invalid config key data_dirr (did you mean data_dir?)"
    );
    assert_eq!(
        refusal("ports {\n  htpp = 1\n}"),
        "web.hcl:2: invalid config key ports.htpp (did you mean ports.http?)"
    );
    assert_eq!(refusal("wibble_wobble = 1"), "web.hcl:1: invalid config key wibble_wobble");
}

#[test]
fn a_wrong_type_is_refused_with_its_line_and_what_was_expected() {
    assert_eq!(
        refusal("server = \"yes\""),
        "web.hcl:1: server: expected true or false, found a string"
    );
    assert_eq!(
        refusal("ports {\n  http = 70000\n}"),
        "web.hcl:2: ports.http: a port is 0 (any free one) to 65535, or -1 (off)"
    );
    assert_eq!(
        refusal("max_query_time = \"soon\""),
        "web.hcl:1: max_query_time: \"soon\" is not a duration such as \"10s\", \"500ms\" or \"1m30s\""
    );
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let told = refusal("a = 1\nserver = 2\nports { dns = \"x\" }");
    assert_eq!(told.lines().count(), 3, "{told}");
}

#[test]
fn text_that_is_not_hcl_is_refused_with_its_line() {
    assert_eq!(
        refusal("a = \"b\"\nserver true"),
        "web.hcl:2: expected '{' after the name \"true\", found the end of the file"
    );
    assert_eq!(refusal("\nx = \"open"), "web.hcl:2: this string is never closed");
    assert_eq!(refusal("x = yes"), "web.hcl:1: yes is not a value; write \"yes\" for a string");
    assert_eq!(refusal("{\"a\": 1,}"), "web.hcl:1: expected ',' or '}' in the object, found ','");
}

#[test]
fn repeated_blocks_append_and_later_scalars_win() {
    let config = hcl(r#"
        service { name = "web" }
        service "api" { port = 81 check { tcp = "127.0.0.1:81" interval = "10s" } }
        services = [{ name = "db" }]
        node_name = "one"
        node_name = "two"
    "#);
    let names: Vec<&str> = config.services.iter().map(|own| own.name.as_str()).collect();
    assert_eq!(names, ["web", "api", "db"]);
    assert_eq!(config.services[1].checks[0].interval, Duration::from_secs(10));
    assert_eq!(config.node_name, "two");
}

#[test]
fn a_later_file_overwrites_scalars_and_appends_to_lists() {
    let mut config = Config::dev();
    overlay(&mut config, "datacenter = \"a\"\nrecursors = [\"1.1.1.1\"]", Format::Hcl, "1");
    overlay(&mut config, "datacenter = \"b\"\nrecursors = [\"9.9.9.9\"]", Format::Hcl, "2");
    assert_eq!(config.datacenter, "b");
    assert_eq!(config.recursors, ["1.1.1.1", "9.9.9.9"]);
}

#[test]
fn keys_in_the_spelling_of_the_api_are_taken_too() {
    let config = hcl(r#"
        service {
            Name = "web"
            EnableTagOverride = true
            Check { HTTP = "http://localhost/" Interval = "5s" TLSSkipVerify = true
                    DeregisterCriticalServiceAfter = "2m" }
        }
    "#);
    assert!(config.services[0].enable_tag_override);
    assert!(config.services[0].checks[0].tls_skip_verify);
    assert_eq!(snake_case("DockerContainerID"), "docker_container_id");
    assert_eq!(snake_case("H2PING"), "h2ping");
}

#[test]
fn the_configuration_of_the_go_test_helper_is_taken() {
    let text = r#"{
        "node_name": "node-1", "node_id": "4f1a1a2e-0000-4000-8000-aabbccddeeff", "node_meta": {},
        "performance": {"raft_multiplier": 1}, "bootstrap": true, "server": true,
        "data_dir": "/tmp/x", "segments": null, "disable_update_check": true, "log_level": "debug",
        "bind_addr": "127.0.0.1", "addresses": {"http": "unix:///tmp/s"},
        "ports": {"dns": 10000, "http": 10001, "https": 10002, "serf_lan": 10003,
                  "serf_wan": 10004, "server": 10005, "grpc": 10006, "grpc_tls": 10007},
        "acl": {"tokens": {"master": "root", "agent_master": "x", "agent": "a"}},
        "acl_datacenter": "dc1", "primary_datacenter": "dc1",
        "connect": {"enabled": true,
                    "ca_config": {"cluster_id": "11111111-2222-3333-4444-555555555555"}},
        "ca_file": "ca.pem", "cert_file": "c.pem", "key_file": "k.pem",
        "verify_incoming": false, "verify_incoming_https": true, "verify_incoming_rpc": true,
        "skip_leave_on_interrupt": true, "peering": {"enabled": true}, "version": "1.22.6",
        "autopilot": {"server_stabilization_time": "1s"}, "enable_debug": true,
        "raft_protocol": 3, "enable_script_checks": true, "experiments": ["x"], "audit": {},
        "locality": {"region": "r"}, "partition": "", "encrypt": ""
    }"#;
    let config = config(text, Format::Json).unwrap();
    assert_eq!(config.tls.defaults.ca_file, "ca.pem");
    assert_eq!(config.tls.https.verify_incoming, Some(true));
    assert_eq!(config.acl.tokens.initial_management.reveal(), "root");
    assert!(config.skips_leave_on_interrupt());
    assert!(matches!(config.http_listeners()[..], [super::listeners::ListenAddress::Unix(_)]));
}

#[test]
fn an_empty_file_says_nothing() {
    assert_eq!(config("", Format::Json), Ok(Config::dev()));
    assert_eq!(config(" \n# nothing\n", Format::Hcl), Ok(Config::dev()));
}

#[test]
fn a_heredoc_is_one_string() {
    let config = hcl("service { name = <<-EOF\n    web\n    EOF\n port = 80 }");
    assert_eq!(config.services[0].name, "web\n");
    assert_eq!(hcl("node_name = \"${env}-\\\"a\\\"\"").node_name, "${env}-\"a\"");
}

#[test]
fn a_definition_that_makes_no_sense_is_refused_with_its_line() {
    assert_eq!(refusal("service {\n  port = 1\n}"), "web.hcl:1: service: a service needs a name");
    let told = refusal(
        "service {\n  name = \"a\"\n  check {\n    ttl = \"1s\"\n    interval = \"1s\"\n  }\n}",
    );
    assert_eq!(told, "web.hcl:3: service.check: ttl and interval exclude each other");
    assert!(refusal("check {\n  name = \"x\"\n}").contains("say what is tried"));
}

#[test]
fn checks_of_a_service_get_the_ids_that_consul_gives_them() {
    let config = hcl(r#"
        service { name = "web" id = "web1"
          checks = [{ ttl = "10s" }, { http = "http://127.0.0.1/" interval = "10ms" }] }
        service { name = "db" check { tcp = "127.0.0.1:1" interval = "10s" } }
    "#);
    let declared = config.declarations().unwrap();
    let web = &declared.services[0];
    assert_eq!(web.checks[0].check.id, "service:web1:1");
    assert_eq!(web.checks[1].check.name, "Service 'web' check");
    assert_eq!(web.checks[1].definition.interval, Duration::from_secs(1), "raised to the least");
    assert_eq!(declared.services[1].checks[0].check.id, "service:db");
}

fn loaded(called_as: CalledAs, is_dev: bool, text: &str) -> Result<super::Loaded, String> {
    let sources = Sources {
        called_as,
        is_dev,
        paths: Vec::new(),
        format: None,
        fragments: vec![text.to_owned()],
    };
    load(&sources, |_| Vec::new()).map_err(|problems| problems.to_string())
}

#[test]
fn an_address_that_others_can_reach_is_refused_unless_asked_for() {
    let open = "client_addr = \"0.0.0.0\"";
    let told = loaded(CalledAs::Muster, true, open).unwrap_err();
    assert!(told.contains("client_addr 0.0.0.0 can be reached by others"), "{told}");
    assert!(told.contains("-insecure-bind"), "{told}");
    let allowed = loaded(CalledAs::Muster, true, &format!("{open}\ninsecure_bind = true")).unwrap();
    assert_eq!(allowed.warnings.len(), 1);
    let as_consul = loaded(CalledAs::Consul, true, open).unwrap();
    assert_eq!(as_consul.warnings.len(), 1);
}

#[test]
fn a_data_folder_is_needed_outside_of_dev() {
    let told = loaded(CalledAs::Muster, false, "").unwrap_err();
    assert!(told.starts_with("data_dir is needed"), "{told}");
    assert!(loaded(CalledAs::Muster, false, "data_dir = \"/tmp/x\"").is_ok());
}

#[test]
fn a_script_check_needs_permission() {
    let script = "check { name = \"x\" args = [\"true\"] interval = \"10s\" }";
    let told = loaded(CalledAs::Muster, true, script).unwrap_err();
    assert!(told.contains("enable_local_script_checks"), "{told}");
    let allowed = format!("{script}\nenable_local_script_checks = true");
    assert!(loaded(CalledAs::Muster, true, &allowed).is_ok());
}

#[test]
fn a_watch_needs_a_handler_that_this_version_can_run() {
    let told = |rest: &str| {
        let text = format!("watches = [{{ type = \"nodes\", {rest} }}]");
        loaded(CalledAs::Muster, true, &text).err().unwrap_or_default()
    };
    assert_eq!(told("args = [\"true\"]"), "");
    assert_eq!(told("handler = \"true\""), "");
    assert!(told("stale = true").contains("needs args"));
    assert!(told("handler_type = \"http\"").contains("http_handler_config.path"));
    let tls = "handler_type = \"http\", http_handler_config = { path = \"https://a/\" }";
    assert_eq!(told(tls), "");
    assert!(told(&tls.replace("https", "ftp")).contains("an http:// or https:// URL"));
    assert!(told("handler_type = \"mail\", args = [\"true\"]").contains("neither script nor http"));
}

#[test]
fn an_address_template_is_refused_with_advice() {
    let told = loaded(CalledAs::Muster, true, "bind_addr = \"{{ GetPrivateIP }}\"").unwrap_err();
    assert!(told.contains("templates such as"), "{told}");
}

#[test]
fn flags_overrule_files() {
    let flags = AgentFlags {
        is_dev: true,
        given: [("http-port", "0"), ("node-meta", "a:b"), ("server", "true"), ("node", "n1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        ..AgentFlags::default()
    };
    let config = flags.load(CalledAs::Consul).unwrap().config;
    assert_eq!(config.ports.http, Port::on(0));
    assert_eq!(config.node_meta["a"], "b");
    assert_eq!(config.node_name, "n1");
}

#[test]
fn only_a_server_founds_a_cluster() {
    for wish in ["bootstrap = true", "bootstrap_expect = 3"] {
        let text = format!("data_dir = \"/d\" server = false {wish}");
        let told = loaded(CalledAs::Muster, false, &text).unwrap_err();
        assert!(told.contains("set server = true, or leave them out"), "{told}");
    }
    let client = loaded(CalledAs::Muster, true, "server = false").unwrap().config;
    assert!(!client.server && !client.bootstrap);
    assert!(client.leaves_on_terminate() && !client.skips_leave_on_interrupt());
    let consul = loaded(CalledAs::Consul, false, "data_dir = \"/d\"").unwrap().config;
    assert!(!consul.server);
}

#[test]
fn a_flag_that_does_not_fit_is_named() {
    let given = vec![("http-port".to_owned(), "many".to_owned())];
    let flags = AgentFlags { is_dev: true, given, ..AgentFlags::default() };
    let told = flags.load(CalledAs::Muster).unwrap_err().to_string();
    assert!(told.starts_with("-http-port: ports.http: expected a whole number"), "{told}");
}

#[test]
fn secrets_are_not_shown() {
    use super::setting::Setting;
    let config = hcl("acl { tokens { agent = \"s3cret\" } }");
    assert!(!format!("{:?}{:?}", config.value(), config).contains("s3cret"));
}

#[test]
fn nesting_is_bounded() {
    let deep = "a = ".to_owned() + &"[".repeat(DEPTH_MAX + 2);
    let told = syntax::parse(&deep, Format::Hcl).unwrap_err().to_string();
    assert_eq!(told, format!("line 1: nested deeper than {DEPTH_MAX}"));
}

#[test]
fn the_page_of_keys_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap_or_default();
    let mark = "<!-- What follows is made from the declarations in crates/muster/src/config. -->\n";
    let (head, tables) = page.split_once(mark).unwrap_or((page.as_str(), ""));
    if std::env::var_os("MUSTER_REWRITE").is_some() {
        std::fs::write(path, format!("{head}{mark}{}", reference::tables())).unwrap();
        return;
    }
    assert!(
        tables == reference::tables(),
        "docs/configuration.md is behind the declarations; run this test with MUSTER_REWRITE=1"
    );
}

proptest! {
    #[test]
    fn no_text_panics_the_parser(text in "\\PC{0,200}", is_json: bool) {
        let format = if is_json { Format::Json } else { Format::Hcl };
        let _ = syntax::parse(&text, format);
    }

    #[test]
    fn no_sequence_of_tokens_panics_the_parser(
        tokens in proptest::collection::vec(
            prop_oneof![
                Just("{"), Just("}"), Just("["), Just("]"), Just("="), Just(","), Just(":"),
                Just("\""), Just("\\"), Just("\\u12"), Just("\\ud800"), Just("<<E\n"), Just("E\n"),
                Just("${"), Just("ports"), Just("service"), Just("check"), Just("\"name\""),
                Just("1"), Just("-1"), Just("true"), Just("null"), Just("#"), Just("/*"),
                Just("\n"), Just("é"),
            ],
            0..60,
        ),
        is_json: bool,
    ) {
        let format = if is_json { Format::Json } else { Format::Hcl };
        let _ = config(&tokens.concat(), format);
        let _ = config(&tokens.join(" "), format);
    }

    #[test]
    fn every_string_survives_json(text in "\\PC{0,40}") {
        let file = serde_json::json!({ "node_name": text }).to_string();
        prop_assert_eq!(config(&file, Format::Json).unwrap().node_name, text);
    }
}
