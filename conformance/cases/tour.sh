#!/usr/bin/env bash
# curl sees a service come, fail its check, recover and go.
# quick
# needs: debian curl curl
# needs: debian jq jq
set -euo pipefail
source "$CASES/steps.bash"

passing_ids() { curl -fsS "http://$MUSTER_HTTP/v1/health/service/tour?passing" | jq -r '.[].Service.ID'; }

curl -fsS "http://$MUSTER_HTTP/v1/status/leader" | jq -e 'length > 0' >/dev/null

come tour
eventually "the instance is listed" "tour-1" passing_ids
fail tour
eventually "the instance is left out" "" passing_ids
recover tour
eventually "the instance is back" "tour-1" passing_ids
leave tour
eventually "the instance is gone" "" passing_ids

# A blocking query answers as soon as its service changes, and not before.
index=$(curl -fsS -D - -o /dev/null "http://$MUSTER_HTTP/v1/health/service/waited" |
  tr -d '\r' | awk 'tolower($1) == "x-consul-index:" { print $2 }')
curl -fsS "http://$MUSTER_HTTP/v1/health/service/waited?index=$index&wait=60s" >waited.json &
waiting=$!
come waited
wait "$waiting"
jq -e '.[0].Service.ID == "waited-1"' waited.json >/dev/null

# A pair is kept, read back raw, and compared before it is replaced.
curl -fsS -X PUT -d 'blue' "http://$MUSTER_HTTP/v1/kv/tour/color" | grep -qx true
test "$(curl -fsS "http://$MUSTER_HTTP/v1/kv/tour/color?raw")" = blue
curl -fsS -X PUT -d 'red' "http://$MUSTER_HTTP/v1/kv/tour/color?cas=1" | grep -qx false
curl -fsS -X DELETE "http://$MUSTER_HTTP/v1/kv/tour?recurse" | grep -qx true
test "$(curl -sS -o /dev/null -w '%{http_code}' "http://$MUSTER_HTTP/v1/kv/tour/color")" = 404
