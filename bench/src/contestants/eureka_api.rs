//! Eureka's REST protocol as clients of muster and of Eureka speak it, in JSON.

use serde_json::json;

use crate::Result;
use crate::contestant::{Addresses, Connection, Deed, Doing, Instance, Kind, Service, next};
use crate::http::{self, read_with, request};

/// What clients take.
const JSON: &str = "Accept: application/json\r\n";
const JSON_COMPRESSED: &str = "Accept: application/json\r\nAccept-Encoding: gzip\r\n";
/// Longer than any run: an instance that nobody renews stays.
const LEASE_SECONDS: u32 = 7_200;

/// What can be done through this protocol.
pub(super) fn can(kind: Kind) -> bool {
    matches!(kind, Kind::Register | Kind::Vouch | Kind::Renew | Kind::Registry)
        || matches!(kind, Kind::DiscoverStale)
}

/// Connects to a server that speaks it.
pub(super) async fn connect(to: &Addresses) -> Result<Box<dyn Connection>> {
    let http = http::Connection::open(*to.get("eureka").ok_or("no address for Eureka")?).await?;
    Ok(Box::new(Client { http }))
}

struct Client {
    http: http::Connection,
}

impl Connection for Client {
    fn perform(&mut self, deed: Deed) -> Doing<'_, usize> {
        Box::pin(async move {
            let asked = match deed {
                Deed::Register(instance) => register(instance),
                Deed::Vouch(number) => register(Instance { version: next(), ..local(number) }),
                Deed::Renew(number) => {
                    let (app, id) = (application(local(number)), local(number).id());
                    request("PUT", &format!("/eureka/apps/{app}/{id}?status=UP"), "")
                }
                Deed::DiscoverStale(service) => {
                    let app = service.name().to_uppercase();
                    read_with(&format!("/eureka/apps/{app}"), JSON)
                }
                Deed::Registry => read_with("/eureka/apps/", JSON),
                Deed::RegistryCompressed => read_with("/eureka/apps/", JSON_COMPRESSED),
                Deed::Delta => read_with("/eureka/apps/delta", JSON_COMPRESSED),
                deed => return Err(format!("Eureka does not know {deed:?}").into()),
            };
            self.http.exchange(&asked).await
        })
    }
}

/// An instance that is renewed, one of a hundred applications.
fn local(number: usize) -> Instance {
    Instance { service: Service::Fleet(number % 100), number, version: 0 }
}

fn application(instance: Instance) -> String {
    instance.service.name().to_uppercase()
}

fn register(instance: Instance) -> Vec<u8> {
    let app = application(instance);
    let (name, id, address) = (instance.service.name(), instance.id(), instance.address());
    let host = format!("node-{}", instance.node());
    let body = json!({ "instance": {
        "instanceId": id,
        "hostName": host,
        "app": app,
        "ipAddr": address,
        "status": "UP",
        "overriddenStatus": "UNKNOWN",
        "port": { "$": instance.port(), "@enabled": "true" },
        "securePort": { "$": 443, "@enabled": "false" },
        "countryId": 1,
        "dataCenterInfo": {
            "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
            "name": "MyOwn",
        },
        "leaseInfo": { "renewalIntervalInSecs": 30, "durationInSecs": LEASE_SECONDS },
        "metadata": { "version": format!("1.{}", instance.version), "zone": "a" },
        "homePageUrl": format!("http://{host}:{}/", instance.port()),
        "statusPageUrl": format!("http://{host}:{}/info", instance.port()),
        "healthCheckUrl": format!("http://{host}:{}/health", instance.port()),
        "vipAddress": name,
        "secureVipAddress": name,
        "isCoordinatingDiscoveryServer": "false",
        // A registration that is not newer than the one before would be ignored.
        "lastDirtyTimestamp": (1_700_000_000_000 + instance.version).to_string(),
        "lastUpdatedTimestamp": (1_700_000_000_000 + instance.version).to_string(),
    }});
    request("POST", &format!("/eureka/apps/{app}"), &body.to_string())
}
