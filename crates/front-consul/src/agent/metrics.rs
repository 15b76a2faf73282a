//! `/v1/agent/metrics`: the numbers of this agent, as JSON or in the notation of Prometheus.
//!
//! Names begin with `consul.`, because dashboards made for it read them; in JSON a gauge carries
//! the machine's name too, as Consul's do.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use muster_listen::Body;
use muster_model::Text;
use muster_registry::operator::{Metric, MetricValue};
use serde::Serialize;
use tokio::time::sleep;

use crate::failure::Failure;
use crate::front::Front;
use crate::limits::METRICS_INTERVAL;
use crate::reply::{Reply, done, json_reply, text_reply};
use crate::request::Request;
use crate::routes::{Later, Route};
use crate::{json, wall_time};

pub(crate) const ROUTES: &[Route] = &[
    Route::now(Method::GET, "/v1/agent/metrics", "The numbers of this agent.", metrics),
    Route::later(
        Method::GET,
        "/v1/agent/metrics/stream",
        "The numbers of this agent, again and again.",
        stream,
    ),
];

fn metrics(front: &Front, request: &Request) -> Result<Reply, Failure> {
    let metrics = front.door().operator.metrics();
    if !wants_prometheus(request) {
        return Ok(json_reply(&MetricsShape::new(front, &metrics), request.style));
    }
    if !front.settings().serves_prometheus {
        let mut reply = done();
        *reply.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let reason = "Prometheus is not enabled since its retention time is not positive";
        reply
            .headers_mut()
            .insert(HeaderName::from_static("x-consul-reason"), HeaderValue::from_static(reason));
        return Ok(reply);
    }
    let mut reply = text_reply(StatusCode::OK, prometheus(&metrics));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(reply)
}

/// One object after another, until the client goes or the agent stops.
fn stream(front: Arc<Front>, _: Request) -> Later {
    Box::pin(async move {
        let (sender, body) = Body::stream(1);
        tokio::spawn(async move {
            let told = async {
                loop {
                    sleep(METRICS_INTERVAL).await;
                    let metrics = front.door().operator.metrics();
                    let object = json::pretty(&MetricsShape::new(&front, &metrics));
                    if !sender.send(object).await {
                        return;
                    }
                }
            };
            tokio::select! {
                () = told => {}
                () = sender.closed() => {}
                () = front.closing().begun() => {}
            }
        });
        Ok(Response::new(body))
    })
}

fn wants_prometheus(request: &Request) -> bool {
    if let Some(format) = request.parameters.text("format") {
        return format == "prometheus";
    }
    let accepted = request.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    accepted.contains("version=0.4.0") || accepted.contains("application/openmetrics-text")
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetricsShape<'a> {
    timestamp: String,
    gauges: Vec<GaugeShape<'a>>,
    points: [(); 0],
    counters: Vec<SampleShape<'a>>,
    samples: Vec<SampleShape<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GaugeShape<'a> {
    name: String,
    value: f64,
    labels: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SampleShape<'a> {
    name: String,
    count: u64,
    rate: f64,
    sum: f64,
    min: f64,
    max: f64,
    mean: f64,
    stddev: f64,
    labels: BTreeMap<&'a str, &'a str>,
}

impl<'a> MetricsShape<'a> {
    fn new(front: &Front, metrics: &'a [Metric]) -> MetricsShape<'a> {
        let host = front.door().operator.host();
        let mut shape = MetricsShape {
            timestamp: wall_time::go_utc(host.collected_at / 1_000_000_000),
            gauges: Vec::new(),
            points: [],
            counters: Vec::new(),
            samples: Vec::new(),
        };
        for metric in metrics {
            let labels = labels(&metric.labels);
            let name = format!("consul.{}", metric.name);
            match metric.value {
                MetricValue::Gauge(value) => {
                    let name = format!("consul.{}.{}", host.hostname, metric.name);
                    shape.gauges.push(GaugeShape { name, value, labels });
                }
                MetricValue::Counter(count) => shape.counters.push(SampleShape {
                    name,
                    count,
                    rate: 0.0,
                    sum: count as f64,
                    min: 1.0,
                    max: 1.0,
                    mean: 1.0,
                    stddev: 0.0,
                    labels,
                }),
                MetricValue::Sample { count, sum, min, max } => {
                    let mean = if count == 0 { 0.0 } else { sum / count as f64 };
                    let (rate, stddev) = (0.0, 0.0);
                    shape.samples.push(SampleShape {
                        name,
                        count,
                        rate,
                        sum,
                        min,
                        max,
                        mean,
                        stddev,
                        labels,
                    });
                }
            }
        }
        shape
    }
}

fn labels(labels: &[(Text, Text)]) -> BTreeMap<&str, &str> {
    labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// The notation of Prometheus, version 0.0.4. All lines of one name stand together.
fn prometheus(metrics: &[Metric]) -> String {
    let mut by_name: BTreeMap<String, Vec<&Metric>> = BTreeMap::new();
    for metric in metrics {
        by_name.entry(prometheus_name(&metric.name)).or_default().push(metric);
    }
    let mut out = String::new();
    for (name, metrics) in by_name {
        let kind = match metrics[0].value {
            MetricValue::Counter(_) => "counter",
            MetricValue::Gauge(_) => "gauge",
            MetricValue::Sample { .. } => "summary",
        };
        writeln!(out, "# HELP {name} {name}\n# TYPE {name} {kind}").expect("a String takes all");
        for metric in metrics {
            let labels = prometheus_labels(&metric.labels);
            match metric.value {
                MetricValue::Counter(count) => writeln!(out, "{name}{labels} {count}"),
                MetricValue::Gauge(value) => writeln!(out, "{name}{labels} {value}"),
                MetricValue::Sample { count, sum, .. } => {
                    writeln!(out, "{name}_sum{labels} {sum}\n{name}_count{labels} {count}")
                }
            }
            .expect("a String takes all");
        }
    }
    out
}

fn prometheus_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    format!("consul_{}", name.chars().map(plain).collect::<String>())
}

fn prometheus_labels(labels: &[(Text, Text)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let one = |(key, value): &(Text, Text)| {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{key}=\"{escaped}\"")
    };
    format!("{{{}}}", labels.iter().map(one).collect::<Vec<_>>().join(","))
}
