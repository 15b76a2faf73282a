#!/usr/bin/env bash
# Prometheus's Consul discovery gives a target with its health, and drops it.
# needs: program go
set -euo pipefail
source "$CASES/steps.bash"

(cd "$CASES/../prometheus-sd" && go build -o "$CASE_CACHE/prometheus-sd" .)

"$CASE_CACHE/prometheus-sd" "$MUSTER_HTTP" scraped >targets &
last_targets() { tail -n 1 targets; }

come scraped 9100
eventually "the target is found" "127.0.0.1:9100 passing" last_targets
fail scraped
eventually "its health is critical" "127.0.0.1:9100 critical" last_targets
recover scraped
eventually "its health is passing" "127.0.0.1:9100 passing" last_targets
leave scraped
eventually "the target is dropped" "none" last_targets
