//! From the tree of a document to what it means.
//!
//! Clients write the same thing in many ways: a port as a number, a text or an object; booleans and
//! numbers as texts; members in two spellings. All of that is read here. What the original refuses
//! is refused: a status that is no word, a member of another kind than it has to be.

use muster_model::Text;
use serde_json::{Map, Value};

use super::Senseless;
use crate::info::{Action, DataCenter, InstanceInfo, LeaseInfo, PORT, Port, SECURE_PORT};
use crate::limits::BATCH_TASKS_MAX;
use crate::word::Word;

/// An instance as a client registers it. What a registration needs may be missing all the same:
/// [`Wish`] tells what was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The instance. Texts that were missing are empty.
    pub(crate) info: InstanceInfo,
    /// Whether it said where it runs, and whether that had a name.
    pub(crate) has_data_center: bool,
    /// When the client changed it last, if it said so.
    pub(crate) last_dirty_at: Option<u64>,
}

impl Wish {
    /// The instance of a document: under `instance`, or bare.
    pub(crate) fn read(document: &Value) -> Result<Wish, Senseless> {
        let instance = document.get("instance").unwrap_or(document);
        let instance = Object::of(instance, "instance")?;
        let plain = InstanceInfo::default();
        let data_center = instance.find(&["dataCenterInfo"]).map(data_center).transpose()?;
        let last_dirty_at = instance.number("lastDirtyTimestamp")?;
        let info = InstanceInfo {
            instance_id: instance.some_text("instanceId")?,
            host_name: instance.text("hostName")?,
            app: instance.text("app")?.to_uppercase().into(),
            ip_address: instance.text("ipAddr")?,
            sid: instance.text("sid")?,
            word: instance.word(&["status"])?.unwrap_or(plain.word),
            overridden: instance
                .word(&["overriddenStatus", "overriddenstatus"])?
                .unwrap_or(plain.overridden),
            port: instance.port("port", PORT)?,
            secure_port: instance.port("securePort", SECURE_PORT)?,
            country_id: instance.number("countryId")?.unwrap_or(1),
            lease: instance.find(&["leaseInfo"]).map(lease).transpose()?.unwrap_or_default(),
            metadata: instance.find(&["metadata"]).map(facts).transpose()?.unwrap_or_default(),
            app_group: instance.text("appGroupName")?,
            home_page_url: instance.text("homePageUrl")?,
            status_page_url: instance.text("statusPageUrl")?,
            health_check_url: instance.text("healthCheckUrl")?,
            secure_health_check_url: instance.text("secureHealthCheckUrl")?,
            vip: instance.text("vipAddress")?,
            secure_vip: instance.text("secureVipAddress")?,
            is_coordinating: instance.boolean("isCoordinatingDiscoveryServer")?.unwrap_or(false),
            asg: instance.text("asgName")?,
            data_center: data_center.clone().unwrap_or_default(),
            last_updated_at: 0,
            last_dirty_at: last_dirty_at.unwrap_or(0),
            action: Action::Added,
        };
        Ok(Wish { info, has_data_center: data_center.is_some(), last_dirty_at })
    }
}

/// A task that an Eureka server sends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) app: Text,
    pub(crate) id: Text,
    pub(crate) action: TaskAction,
    pub(crate) word: Option<Word>,
    pub(crate) last_dirty_at: Option<u64>,
    pub(crate) wish: Option<Wish>,
}

/// What a task asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskAction {
    Heartbeat,
    Register,
    Cancel,
    StatusUpdate,
    DeleteStatusOverride,
}

/// The tasks of a batch, in their order.
pub(crate) fn tasks(document: &Value) -> Result<Vec<Task>, Senseless> {
    let list = match document.get("replicationList") {
        Some(Value::Array(list)) => list,
        _ => return Err(Senseless("replicationList is missing".into())),
    };
    if list.len() > BATCH_TASKS_MAX {
        return Err(Senseless(format!("a batch has at most {BATCH_TASKS_MAX} tasks")));
    }
    list.iter().map(task).collect()
}

fn task(value: &Value) -> Result<Task, Senseless> {
    let task = Object::of(value, "a task")?;
    let action = match &*task.text("action")? {
        "Heartbeat" => TaskAction::Heartbeat,
        "Register" => TaskAction::Register,
        "Cancel" => TaskAction::Cancel,
        "StatusUpdate" => TaskAction::StatusUpdate,
        "DeleteStatusOverride" => TaskAction::DeleteStatusOverride,
        other => return Err(Senseless(format!("{other:?} is no action"))),
    };
    Ok(Task {
        app: task.text("appName")?,
        id: task.text("id")?,
        action,
        word: task.word(&["status"])?,
        last_dirty_at: task.number("lastDirtyTimestamp")?,
        wish: task.find(&["instanceInfo"]).map(Wish::read).transpose()?,
    })
}

fn data_center(value: &Value) -> Result<DataCenter, Senseless> {
    let own = Object::of(value, "dataCenterInfo")?;
    let plain = DataCenter::default();
    let class = own.find(&["@class", "class"]).map(|class| scalar(class, "@class")).transpose()?;
    let metadata = own.find(&["metadata"]).map(facts).transpose()?.unwrap_or_default();
    let metadata = metadata.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    Ok(DataCenter {
        class: class.filter(|class| !class.is_empty()).unwrap_or(plain.class),
        name: own.text("name")?.to_string(),
        metadata: metadata.collect(),
    })
}

fn lease(value: &Value) -> Result<LeaseInfo, Senseless> {
    if value.as_str() == Some("") {
        return Ok(LeaseInfo::default());
    }
    let own = Object::of(value, "leaseInfo")?;
    let plain = LeaseInfo::default();
    let seconds = |name, plain| {
        let given = own.number::<u32>(name)?;
        Ok::<_, Senseless>(given.filter(|seconds| *seconds > 0).unwrap_or(plain))
    };
    Ok(LeaseInfo {
        renewal_seconds: seconds("renewalIntervalInSecs", plain.renewal_seconds)?,
        duration_seconds: seconds("durationInSecs", plain.duration_seconds)?,
        ..plain
    })
}

/// Facts by name, without the class that some clients write among them.
fn facts(value: &Value) -> Result<Vec<(Text, Text)>, Senseless> {
    if value.as_str() == Some("") {
        return Ok(Vec::new());
    }
    let own = Object::of(value, "metadata")?;
    let all = own.0.iter().filter(|(name, _)| !matches!(name.as_str(), "@class" | "class"));
    all.map(|(name, value)| Ok((name.as_str().into(), scalar(value, name)?.into()))).collect()
}

/// A value that is one word, whatever its kind.
fn scalar(value: &Value, name: &str) -> Result<String, Senseless> {
    match value {
        Value::Null => Ok(String::new()),
        Value::Bool(own) => Ok(own.to_string()),
        Value::Number(own) => Ok(own.to_string()),
        Value::String(own) => Ok(own.clone()),
        Value::Object(own) if own.contains_key("$") => scalar_of_object(own, name),
        Value::Object(own) if own.keys().all(|name| name.starts_with('@')) => Ok(String::new()),
        Value::Array(_) | Value::Object(_) => Err(other_kind(name)),
    }
}

fn scalar_of_object(own: &Map<String, Value>, name: &str) -> Result<String, Senseless> {
    match own.get("$") {
        Some(Value::Object(_) | Value::Array(_)) | None => Err(other_kind(name)),
        Some(value) => scalar(value, name),
    }
}

fn other_kind(name: &str) -> Senseless {
    Senseless(format!("{name} is of another kind than it has to be"))
}

/// An object whose members are read by name. A member that is `null` is not there.
struct Object<'a>(&'a Map<String, Value>);

impl<'a> Object<'a> {
    fn of(value: &'a Value, name: &str) -> Result<Object<'a>, Senseless> {
        value.as_object().map(Object).ok_or_else(|| other_kind(name))
    }

    fn find(&self, names: &[&str]) -> Option<&'a Value> {
        names.iter().find_map(|name| self.0.get(*name)).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Text, Senseless> {
        Ok(self.some_text(name)?.unwrap_or_default())
    }

    /// A text that is there and not empty.
    fn some_text(&self, name: &str) -> Result<Option<Text>, Senseless> {
        let given = self.find(&[name]).map(|value| scalar(value, name)).transpose()?;
        Ok(given.map(|text| text.trim().into()).filter(|text: &Text| !text.is_empty()))
    }

    fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, Senseless> {
        let Some(text) = self.some_text(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Senseless(format!("{name}: {text:?} is no number")))
    }

    fn boolean(&self, name: &str) -> Result<Option<bool>, Senseless> {
        let Some(text) = self.some_text(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Senseless(format!("{name}: {text:?} is no boolean")))
    }

    fn word(&self, names: &[&str]) -> Result<Option<Word>, Senseless> {
        let Some(value) = self.find(names) else { return Ok(None) };
        let text = scalar(value, names[0])?;
        if text.is_empty() {
            return Ok(None);
        }
        let known = Word::parse(&text);
        known.map(Some).ok_or_else(|| Senseless(format!("{}: {text:?} is no status", names[0])))
    }

    /// A port: a number, or an object that says whether it is open too.
    fn port(&self, name: &str, plain: Port) -> Result<Port, Senseless> {
        let Some(number) = self.number(name)? else { return Ok(plain) };
        let is_enabled = match self.find(&[name]) {
            Some(Value::Object(own)) => Object(own).boolean("@enabled")?,
            _ => None,
        };
        Ok(Port { number, is_enabled: is_enabled.unwrap_or(plain.is_enabled) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{Notation, parse};
    use super::*;

    fn read(document: Value) -> Result<InstanceInfo, Senseless> {
        Wish::read(&document).map(|wish| wish.info)
    }

    #[test]
    fn the_ways_in_which_clients_write_are_read_alike() {
        let strict = json!({"instance": {
            "hostName": "h", "app": "web", "ipAddr": "10.0.0.1", "status": "UP",
            "port": {"$": 80, "@enabled": "true"}, "securePort": {"$": "443", "@enabled": false},
            "countryId": 2, "isCoordinatingDiscoveryServer": "true",
            "lastDirtyTimestamp": "17", "overriddenStatus": "",
            "metadata": {"@class": "java.util.Collections$EmptyMap", "a": 1},
            "leaseInfo": {"durationInSecs": "60"},
            "dataCenterInfo": {"@class": crate::info::PLAIN_CLASS, "name": "MyOwn"},
        }});
        let loose = json!({
            "hostName": "h", "app": "WEB", "ipAddr": "10.0.0.1", "overriddenstatus": "UNKNOWN",
            "port": 80, "securePort": 443, "countryId": "2", "isCoordinatingDiscoveryServer": true,
            "lastDirtyTimestamp": 17, "metadata": {"a": "1"}, "sid": null, "unknown": [{}],
            "leaseInfo": {"durationInSecs": 60, "renewalIntervalInSecs": 30},
            "dataCenterInfo": {"name": "MyOwn"},
        });
        assert_eq!(read(strict.clone()), read(loose));
        let info = read(strict).unwrap();
        assert_eq!((info.port.number, info.secure_port.is_enabled), (80, false));
        assert_eq!((info.lease.duration_seconds, info.lease.renewal_seconds), (60, 30));
        assert_eq!(info.metadata, [("a".into(), "1".into())]);
    }

    #[test]
    fn xml_means_what_its_json_means() {
        let xml = br#"<instance><hostName>h</hostName><app>web</app><port enabled="false">80</port>
            <status>DOWN</status><metadata class="x"/><leaseInfo/>
            <dataCenterInfo class="com.netflix.appinfo.AmazonInfo"><name>Amazon</name>
            <metadata><instance-id>i-1</instance-id></metadata></dataCenterInfo></instance>"#;
        let info = read(parse(xml, Notation::Xml).unwrap()).unwrap();
        assert_eq!((&*info.app, info.word, info.port.is_enabled), ("WEB", Word::Down, false));
        assert_eq!(info.data_center.metadata, [("instance-id".into(), "i-1".into())]);
        assert!(info.metadata.is_empty());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for bad in [
            json!({"status": "WEIRD"}),
            json!({"port": "x"}),
            json!({"port": {"$": 70_000}}),
            json!({"hostName": ["h"]}),
            json!({"metadata": [1]}),
            json!({"leaseInfo": 3}),
            json!([]),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
        assert!(tasks(&json!({"replicationList": [{"action": "Weird"}]})).is_err());
        assert!(
            tasks(&json!({"replicationList": vec![json!({"action": "Cancel"}); 1025]})).is_err()
        );
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-zA-Z0-9$@ ]{0,8}".prop_map(Value::from),
        ];
        let names = vec![
            "instance",
            "port",
            "$",
            "@enabled",
            "status",
            "overriddenstatus",
            "metadata",
            "leaseInfo",
            "durationInSecs",
            "dataCenterInfo",
            "name",
            "@class",
            "app",
            "hostName",
            "replicationList",
            "action",
            "instanceInfo",
            "lastDirtyTimestamp",
            "countryId",
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            let members = (proptest::sample::select(names.clone()), inner.clone());
            prop_oneof![
                3 => proptest::collection::vec(members, 0..6).prop_map(|members| {
                    let members = members.into_iter().map(|(name, own)| (name.to_owned(), own));
                    Value::Object(members.collect())
                }),
                1 => proptest::collection::vec(inner, 0..4).prop_map(Value::Array),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_tree_panics(tree in any_value()) {
            let _ = Wish::read(&tree);
            let _ = tasks(&tree);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes, Notation::Json);
            let _ = parse(&bytes, Notation::Xml);
        }
    }
}
