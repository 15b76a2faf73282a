//! The health URL as a check that is run, for instances that ask for it.
//!
//! The original never calls a `healthCheckUrl`: it is there for people, and the client says how it
//! is. An instance whose metadata name an interval wants it called all the same; the leader does
//! that (no agent stands beside the instance), and the check counts like every other.

use std::time::Duration;

use muster_model::check::CheckExtras;
use muster_model::definition::{CheckDefinition, Rule, TlsOptions};
use muster_model::node::Origin;
use muster_model::{Check, Status, Text};

use crate::failure::Failure;
use crate::info::InstanceInfo;

/// The fact that asks for it: seconds between two runs.
pub(crate) const INTERVAL_KEY: &str = "healthCheckIntervalInSecs";
/// What the id of the check starts with.
const PREFIX: &str = "eureka-http:";
/// The shortest interval: one server runs the checks of a whole cluster.
const INTERVAL_MIN: Duration = Duration::from_secs(5);
/// The longest.
const INTERVAL_MAX: Duration = Duration::from_secs(60 * 60);
/// The longest that one run may take, also where the interval is longer.
const TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// The id of the check of an instance.
pub(crate) fn id_of(instance_id: &str) -> Text {
    format!("{PREFIX}{instance_id}").into()
}

/// The check that an instance asks for. It is critical until it has run.
///
/// # Errors
/// 400 where it asks for one that cannot be run.
pub(crate) fn of(info: &InstanceInfo, instance_id: &Text) -> Result<Option<Check>, Failure> {
    let asked = info.metadata.iter().find(|(key, _)| key == INTERVAL_KEY);
    let Some((_, seconds)) = asked else { return Ok(None) };
    let interval = interval(seconds)?;
    let url = url(info)?;
    let timeout = interval.min(TIMEOUT_MAX);
    let rule = Rule::Http {
        url: url.clone(),
        method: "GET".into(),
        headers: Vec::new(),
        body: Text::default(),
        disable_redirects: false,
        tls: TlsOptions::default(),
    };
    let definition = CheckDefinition { rule, interval, timeout, ..CheckDefinition::default() };
    let extras = CheckExtras {
        interval: format!("{}s", interval.as_secs()).into(),
        timeout: format!("{}s", timeout.as_secs()).into(),
        definition: Some(Box::new(definition)),
        ..CheckExtras::default()
    };
    let check = Check {
        id: id_of(instance_id),
        name: "Eureka health URL".into(),
        status: Status::Critical,
        notes: url,
        instance_id: instance_id.clone(),
        kind: "http".into(),
        origin: Origin::Lease,
        ..Check::default()
    };
    Ok(Some(check.with_extras(extras)))
}

fn interval(seconds: &str) -> Result<Duration, Failure> {
    let given = seconds.trim().parse().ok().map(Duration::from_secs);
    given.filter(|given| (INTERVAL_MIN..=INTERVAL_MAX).contains(given)).ok_or_else(|| {
        Failure::bad_request(format!(
            "metadata {INTERVAL_KEY} is a whole number of seconds from {} to {}, not {seconds:?}",
            INTERVAL_MIN.as_secs(),
            INTERVAL_MAX.as_secs()
        ))
    })
}

/// Where it is called: the plain URL, or else the secure one.
fn url(info: &InstanceInfo) -> Result<Text, Failure> {
    let urls = [&info.health_check_url, &info.secure_health_check_url];
    let Some(url) = urls.into_iter().find(|url| !url.is_empty()) else {
        let text =
            format!("metadata {INTERVAL_KEY} asks for a check, and there is no healthCheckUrl");
        return Err(Failure::bad_request(text));
    };
    let parsed: Option<http::Uri> = url.parse().ok();
    let is_callable = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    });
    if !is_callable {
        let text = format!("healthCheckUrl {url:?} is no http or https URL that could be called");
        return Err(Failure::bad_request(text));
    }
    Ok(url.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(seconds: &str, url: &str) -> InstanceInfo {
        InstanceInfo {
            metadata: vec![(INTERVAL_KEY.into(), seconds.into())],
            health_check_url: url.into(),
            ..InstanceInfo::default()
        }
    }

    #[test]
    fn what_is_asked_for_can_be_run() {
        let check = of(&asking(" 20 ", "http://h:1/health"), &"i".into()).unwrap().unwrap();
        let definition = check.extras().definition.clone().unwrap();
        assert_eq!(definition.interval, Duration::from_secs(20));
        assert_eq!(definition.timeout, TIMEOUT_MAX);
        assert!(matches!(&definition.rule, Rule::Http { url, .. } if *url == *"http://h:1/health"));
        assert!(of(&InstanceInfo::default(), &"i".into()).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_the_reason() {
        for (seconds, url, reason) in [
            ("4", "http://h", "from 5 to"),
            ("often", "http://h", "not \"often\""),
            ("99999999999999999999", "http://h", "seconds"),
            ("10", "", "no healthCheckUrl"),
            ("10", "/health", "no http or https URL"),
            ("10", "ftp://h/health", "no http or https URL"),
        ] {
            let failure = of(&asking(seconds, url), &"i".into()).unwrap_err();
            assert!(failure.text.contains(reason), "{seconds} {url}: {}", failure.text);
        }
    }
}
