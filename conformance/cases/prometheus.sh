#!/usr/bin/env bash
# Prometheus's discoveries, Consul's and Eureka's, give a target with its health, and drop it.
# needs: program go
set -euo pipefail
source "$CASES/steps.bash"

(cd "$CASES/../prometheus-sd" && go build -o "$CASE_CACHE/prometheus-sd" .)

for discovery in consul eureka; do
  "$CASE_CACHE/prometheus-sd" "$discovery" "$MUSTER_HTTP" scraped >"$discovery" &
done
last() { tail -n 1 "$1"; }

# seen CLAIM HEALTH WORD: both see the target so, each in its words.
seen() {
  eventually "$1 by Consul's discovery" "127.0.0.1:9100 $2" last consul
  eventually "$1 by Eureka's discovery" "127.0.0.1:9100 $3" last eureka
}

come scraped 9100
seen "the target is found" passing UP
fail scraped
seen "it is ill" critical DOWN
recover scraped
seen "it is well" passing UP
leave scraped
eventually "the target is dropped by Consul's discovery" none last consul
eventually "the target is dropped by Eureka's discovery" none last eureka
