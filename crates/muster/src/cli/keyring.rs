//! `muster keyring`: the keys with which gossip is sealed, on all members at once.
//!
//! A new key is installed everywhere, then used everywhere, then the old one is removed: at no
//! moment is there a member that cannot read another.

use clap::{ArgGroup, Args};
use http::Method;
use serde_json::{Value, json};

use super::Failure;
use super::client::Ask;
use super::console::{Console, items, text};

/// How many other members an answer may be passed through.
const RELAYS_MAX: i64 = 5;

/// Flags of `keyring`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("deed").required(true)))]
pub struct Keyring {
    /// Show every key and how many members have it.
    #[arg(long, group = "deed")]
    list: bool,
    /// Show the keys that members seal with.
    #[arg(long, group = "deed")]
    list_primary: bool,
    /// Have all members take this key too; base64, as `keygen` makes it.
    #[arg(long, group = "deed", value_name = "KEY")]
    install: Option<String>,
    /// Have all members seal with this key, which they must have.
    #[arg(long = "use", group = "deed", value_name = "KEY")]
    seal: Option<String>,
    /// Have all members forget this key, with which none may seal.
    #[arg(long, group = "deed", value_name = "KEY")]
    remove: Option<String>,
    /// Have each answer passed through this many other members as well, at most 5.
    #[arg(
        long,
        default_value_t = 0,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i64).range(0..=RELAYS_MAX)
    )]
    relay_factor: i64,
    /// Ask only this datacenter's pool; for -list.
    #[arg(long)]
    local_only: bool,
}

impl Keyring {
    /// Does what was asked of the keys.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        if self.local_only && !self.list {
            let why = "local-only can only be set for list requests";
            return Err(Failure::new(format!("Error validating local-only: {why}")));
        }
        if self.list || self.list_primary {
            return self.show(console).await;
        }
        let (method, key, doing) = match (&self.install, &self.seal, &self.remove) {
            (Some(key), _, _) => (Method::POST, key, "Installing new gossip encryption key..."),
            (_, Some(key), _) => (Method::PUT, key, "Changing primary gossip encryption key..."),
            (_, _, Some(key)) => (Method::DELETE, key, "Removing gossip encryption key..."),
            (None, None, None) => return Err(Failure::new("nothing to be done with the keys")),
        };
        self.announce(doing, console)?;
        let body = json!({ "Key": key }).to_string();
        let done = console.client.done(self.ask(method).body(body)).await;
        done.map(|_| ()).map_err(|failure| failure.within("error"))
    }

    async fn show(&self, console: &mut Console<'_>) -> Result<(), Failure> {
        let (member, doing) = match self.list {
            true => ("Keys", "Gathering installed encryption keys..."),
            false => ("PrimaryKeys", "Gathering installed primary encryption keys..."),
        };
        self.announce(doing, console)?;
        let ask = self.ask(Method::GET).with_some("local-only", self.local_only.then_some(true));
        let reports = console.client.json(ask).await.map_err(|failure| failure.within("error"))?;
        if console.is_json() {
            return console.json(&reports);
        }
        for report in items(&reports) {
            show_pool(report, member, console)?;
        }
        Ok(())
    }

    fn ask(&self, method: Method) -> Ask {
        let relays = (self.relay_factor != 0).then_some(self.relay_factor);
        Ask::new(method, "/v1/operator/keyring").with_some("relay-factor", relays)
    }

    fn announce(&self, doing: &str, console: &mut Console<'_>) -> Result<(), Failure> {
        if console.is_json() { Ok(()) } else { console.line(format!("==> {doing}")) }
    }
}

fn show_pool(report: &Value, member: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    console.line("")?;
    match report["WAN"] == true {
        true => console.line("WAN:")?,
        false => console.line(format!("{} (LAN):", text(report, "Datacenter")))?,
    }
    for (node, message) in report["Messages"].as_object().into_iter().flatten() {
        console.line(format!("  ===> {node}: {}", message.as_str().unwrap_or_default()))?;
    }
    let n_members = text(report, "NumNodes");
    for (key, n) in report[member].as_object().into_iter().flatten() {
        console.line(format!("  {key} [{n}/{n_members}]"))?;
    }
    Ok(())
}
