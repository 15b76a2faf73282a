//! Stored questions in request bodies.

use muster_model::prepared::{FailoverTarget, PreparedQuery, PreparedService, Template};
use muster_model::{Meta, Text};

use crate::decode::Object;
use crate::duration;
use crate::failure::Failure;

/// What is shown instead of a token: whoever sends it back would overwrite the token with it.
const REDACTED: &str = "<hidden>";

/// The question that a body asks for, with the id it names.
pub(crate) fn parse(body: &[u8]) -> Result<PreparedQuery, Failure> {
    let mut object = Object::parse(body, "structs.PreparedQuery")?;
    let query = PreparedQuery {
        id: object.text("ID")?,
        name: object.text("Name")?,
        session: object.text("Session")?,
        token: object.text("Token")?,
        template: template(&mut object)?,
        service: service(&mut object)?,
        dns_ttl: dns_ttl(&mut object)?,
    };
    for ignored in ["CreateIndex", "ModifyIndex"] {
        object.take(ignored);
    }
    object.finish()?;
    Ok(query)
}

/// What makes a question one that can be stored.
pub(crate) fn check(query: &PreparedQuery) -> Result<(), Failure> {
    let is_found_by_name = !query.name.is_empty() || query.as_template().is_some();
    let problem = if !is_found_by_name && query.session.is_empty() {
        "Must be bound to a session".to_owned()
    } else if *query.token == *REDACTED {
        format!(
            "Bad Token '{REDACTED}', it looks like a query definition with a redacted token was \
             submitted"
        )
    } else {
        return check_service(&query.service).and_then(|()| check_dns_ttl(&query.dns_ttl));
    };
    Err(invalid(&problem))
}

fn invalid(problem: &str) -> Failure {
    Failure::internal(format!("Invalid prepared query: {problem}"))
}

fn check_service(service: &PreparedService) -> Result<(), Failure> {
    if service.service.is_empty() {
        return Err(invalid("Must provide a Service name to query"));
    }
    let is_plain = service.failover_nearest == 0 && service.failover_datacenters.is_empty();
    if !is_plain && !service.failover_targets.is_empty() {
        return Err(invalid("Targets cannot be populated with NearestN or Datacenters"));
    }
    let is_nameless = |meta: &Meta| meta.iter().find(|(key, _)| key.is_empty()).cloned();
    match is_nameless(&service.node_meta).or(is_nameless(&service.meta)) {
        None => Ok(()),
        Some((_, value)) => Err(invalid(&format!(
            "Couldn't load metadata pair ('', '{value}'): Key cannot be blank"
        ))),
    }
}

fn check_dns_ttl(ttl: &str) -> Result<(), Failure> {
    if ttl.is_empty() {
        return Ok(());
    }
    match duration::parse_nanos(ttl) {
        Err(error) => Err(invalid(&format!("Bad DNS TTL '{ttl}': {error}"))),
        Ok(nanos) if nanos < 0 => Err(invalid(&format!("DNS TTL '{nanos}', must be >=0"))),
        Ok(_) => Ok(()),
    }
}

fn template(object: &mut Object) -> Result<Option<Template>, Failure> {
    const NAME_PREFIX_MATCH: &str = "name_prefix_match";
    let Some(mut template) = object.object("Template", "structs.QueryTemplateOptions")? else {
        return Ok(None);
    };
    let found = Template {
        kind: template.text("Type")?,
        regexp: template.text("Regexp")?,
        remove_empty_tags: template.flag("RemoveEmptyTags")?,
    };
    template.finish()?;
    match &*found.kind {
        "" | NAME_PREFIX_MATCH => Ok(Some(found)),
        kind => Err(Failure::internal(format!(
            "raft apply failed: failed compiling template: Bad Template.Type '{kind}'"
        ))),
    }
}

fn dns_ttl(object: &mut Object) -> Result<Text, Failure> {
    let Some(mut dns) = object.object("DNS", "structs.QueryDNSOptions")? else {
        return Ok(Text::default());
    };
    let ttl = dns.text("TTL")?;
    dns.finish()?;
    Ok(ttl)
}

fn service(object: &mut Object) -> Result<PreparedService, Failure> {
    let Some(mut service) = object.object("Service", "structs.ServiceQuery")? else {
        return Ok(PreparedService::default());
    };
    let failover = service.object("Failover", "structs.QueryFailoverOptions")?;
    let failover = failover.map_or(Ok(Failover::default()), failover_of)?;
    let found = PreparedService {
        service: service.text("Service")?,
        failover_nearest: failover.nearest,
        failover_datacenters: failover.datacenters,
        only_passing: service.flag("OnlyPassing")?,
        ignored_check_ids: service.texts("IgnoreCheckIDs")?,
        near: service.text("Near")?,
        tags: service.texts("Tags")?,
        node_meta: service.meta("NodeMeta")?,
        meta: service.meta("ServiceMeta")?,
        connect: service.flag("Connect")?,
        failover_targets: failover.targets,
    };
    for (foreign, what) in [("Peer", "peering"), ("SamenessGroup", "sameness groups")] {
        if !service.text(foreign)?.is_empty() {
            return Err(invalid(&format!("{foreign} is set, but there are no {what}")));
        }
    }
    for ignored in ["Namespace", "Partition", "EnterpriseMeta"] {
        service.take(ignored);
    }
    service.finish()?;
    Ok(found)
}

#[derive(Default)]
struct Failover {
    nearest: u32,
    datacenters: Vec<Text>,
    targets: Vec<FailoverTarget>,
}

fn failover_of(mut object: Object) -> Result<Failover, Failure> {
    let nearest = object.integer("NearestN")?;
    let nearest = u32::try_from(nearest)
        .map_err(|_| invalid(&format!("Bad NearestN '{nearest}', must be >= 0")))?;
    let datacenters = object.texts("Datacenters")?;
    let mut targets = Vec::new();
    for mut target in object.objects("Targets", "structs.QueryFailoverTarget")? {
        targets.push(FailoverTarget {
            datacenter: target.text("Datacenter")?,
            peer: target.text("Peer")?,
        });
        for ignored in ["Namespace", "Partition"] {
            target.take(ignored);
        }
        target.finish()?;
    }
    object.finish()?;
    Ok(Failover { nearest, datacenters, targets })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_body_panics(
            outer in r#""(Name|Session|Token|ID)":("[a-z<>]{0,8}"|1|null)"#,
            inner in r#""(Service|NearestN|Tags|NodeMeta|Failover|Connect)":("a"|-?[0-9]{1,20}|\[\]|\{\}|\{"NearestN":-?[0-9]{1,12}\}|true)"#,
            ttl in "[0-9.smh-]{0,6}",
        ) {
            let body = format!(r#"{{{outer},"Service":{{{inner}}},"DNS":{{"TTL":"{ttl}"}}}}"#);
            if let Ok(query) = parse(body.as_bytes()) {
                let _ = check(&query);
            }
        }
    }
}
