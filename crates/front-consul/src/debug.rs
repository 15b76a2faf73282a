//! `/debug/pprof`: how the process is doing, for who looks for a fault.
//!
//! Consul serves profiles of the Go runtime here. This program has another runtime; under the same
//! paths it gives its own numbers as text: what they stand at, or how they moved in the time asked
//! for. They are served only where the operator switched them on.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use muster_registry::operator::{Metric, MetricValue};
use tokio::time::sleep;

use crate::failure::Failure;
use crate::front::Front;
use crate::limits::PROFILE_WAIT_MAX;
use crate::reply::{Reply, text_reply};
use crate::request::Request;
use crate::routes::{Later, Route};

pub(crate) const ROUTES: &[Route] = &[
    Route::now(Method::GET, "/debug/pprof/heap", "The numbers of this process.", present),
    Route::now(Method::GET, "/debug/pprof/goroutine", "The same.", present),
    Route::later(
        Method::GET,
        "/debug/pprof/profile",
        "How the numbers moved within some seconds.",
        moved,
    ),
    Route::later(Method::GET, "/debug/pprof/trace", "The same.", moved),
];

fn present(front: &Front, _: &Request) -> Result<Reply, Failure> {
    require_debug(front)?;
    let metrics = front.door().operator.metrics();
    let mut page = header(front);
    for (metric, value) in metrics.iter().map(|metric| (metric, number(metric))) {
        line(&mut page, metric, value);
    }
    Ok(text_reply(StatusCode::OK, page))
}

fn moved(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        require_debug(&front)?;
        let wait = seconds(&request)?;
        let before = front.door().operator.metrics();
        sleep(wait).await;
        let after = front.door().operator.metrics();
        let mut page = header(&front);
        for metric in &after {
            let same = |own: &&Metric| own.name == metric.name && own.labels == metric.labels;
            let earlier = before.iter().find(same).map_or(0.0, number);
            line(&mut page, metric, number(metric) - earlier);
        }
        Ok(text_reply(StatusCode::OK, page))
    })
}

fn require_debug(front: &Front) -> Result<(), Failure> {
    if front.settings().serves_profiles {
        return Ok(());
    }
    Err(Failure::forbidden("Profiles are switched off; see enable_debug"))
}

fn seconds(request: &Request) -> Result<Duration, Failure> {
    let usual = Duration::from_secs(1);
    let Some(text) = request.parameters.text("seconds") else { return Ok(usual) };
    let seconds: u64 =
        text.parse().map_err(|_| Failure::bad_request(format!("Invalid seconds {text:?}")))?;
    Ok(Duration::from_secs(seconds).min(PROFILE_WAIT_MAX))
}

fn header(front: &Front) -> String {
    format!("uptime_seconds {}\n", front.door().operator.uptime().as_secs())
}

fn line(page: &mut String, metric: &Metric, value: f64) {
    let _ = write!(page, "{}", metric.name);
    for (key, label) in &metric.labels {
        let _ = write!(page, " {key}={label}");
    }
    let _ = writeln!(page, " {value}");
}

fn number(metric: &Metric) -> f64 {
    match metric.value {
        MetricValue::Counter(count) => count as f64,
        MetricValue::Gauge(value) => value,
        MetricValue::Sample { sum, .. } => sum,
    }
}
