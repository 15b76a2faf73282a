//! `GET status`: what a server tells of itself.

use http::StatusCode;
use muster_registry::operator::Operator;

use crate::codec::shapes;
use crate::failure::Failure;
use crate::front::Front;
use crate::info::{InstanceInfo, Port};
use crate::reply::{self, Reply};
use crate::request::Request;

/// The application under which servers of the original register themselves.
const OWN_APP: &str = "EUREKA";

impl Front {
    /// What this server tells of itself.
    pub(crate) async fn tell_status(&self, request: &Request) -> Result<Reply, Failure> {
        let notation = request.form()?.notation;
        let door = self.door();
        let facts = [
            ("num-of-cpus", door.operator.host().n_processors.to_string()),
            ("server-uptime", uptime(&*door.operator)),
        ];
        let identity = door.local.identity();
        let own = InstanceInfo {
            instance_id: Some(identity.node.clone()),
            host_name: identity.node.clone(),
            app: OWN_APP.into(),
            ip_address: identity.address.clone(),
            port: Port { number: 8761, is_enabled: true },
            ..InstanceInfo::default()
        };
        let body = shapes::status(notation, &facts, &own);
        Ok(reply::document(StatusCode::OK, notation, body))
    }
}

/// Days, hours and minutes, as the original writes them.
fn uptime(operator: &dyn Operator) -> String {
    let minutes = operator.uptime().as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match days {
        0 => format!("{hours:02}:{minutes:02}"),
        days => format!("{days} days {hours:02}:{minutes:02}"),
    }
}
