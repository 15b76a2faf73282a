//! The section about metrics.

use std::time::Duration;

use super::setting::settings;

settings! {
    /// Metrics.
    pub struct TelemetryConfig {
        /// Leave the host's name out of gauges.
        disable_hostname: bool = false,
        /// What every metric's name begins with.
        metrics_prefix: String = "consul".into(),
        /// How long Prometheus may find a metric that is not touched; 0 switches its format off.
        prometheus_retention_time: Duration = Duration::from_secs(60),
        /// Names to keep (+name) or drop (-name), by prefix.
        prefix_filter: Vec<String> = Vec::new(),
        /// Whether names that no filter speaks of are kept.
        filter_default: bool = true,
        /// host:port of a statsd server; empty means none.
        statsd_address: String = String::new(),
        /// host:port of a statsite server; empty means none.
        statsite_address: String = String::new(),
        /// host:port of a DogStatsD server; empty means none.
        dogstatsd_addr: String = String::new(),
        /// Tags added to DogStatsD metrics.
        dogstatsd_tags: Vec<String> = Vec::new(),
        /// Whether a metrics address that cannot be resolved is tried again.
        retry_failed_connection: bool = true,
        /// Also give metrics by host.
        enable_host_metrics: bool = false,
    }
    aliases {
        "statsite_prefix" => metrics_prefix,
    }
    without_effect {
        "disable_per_tenancy_usage_metrics": "There is one tenant.",
        "disable_compat_1.9": "Metrics of before 1.9 are not given.",
        "circonus_api_app": "Circonus is not spoken to.",
        "circonus_api_token": "Circonus is not spoken to.",
        "circonus_api_url": "Circonus is not spoken to.",
        "circonus_broker_id": "Circonus is not spoken to.",
        "circonus_broker_select_tag": "Circonus is not spoken to.",
        "circonus_check_display_name": "Circonus is not spoken to.",
        "circonus_check_force_metric_activation": "Circonus is not spoken to.",
        "circonus_check_id": "Circonus is not spoken to.",
        "circonus_check_instance_id": "Circonus is not spoken to.",
        "circonus_check_search_tag": "Circonus is not spoken to.",
        "circonus_check_tags": "Circonus is not spoken to.",
        "circonus_submission_interval": "Circonus is not spoken to.",
        "circonus_submission_url": "Circonus is not spoken to.",
    }
}
