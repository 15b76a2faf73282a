#!/bin/sh
# The five minutes of the README on an installed package, in a machine of its own: each step says what
# it saw, and the first that does not fit ends it.
set -eu

ip link set lo up

step() { echo "tour: $1"; }

# eventually WHAT EXPECTED COMMAND...: asks until the answer is as expected, for 20 seconds.
eventually() {
    what=$1 expected=$2
    shift 2
    n=0
    while [ "$("$@" 2>/dev/null)" != "$expected" ]; do
        n=$((n + 1))
        [ $n -lt 200 ] || { echo "tour: not seen: $what ($* says: $("$@" 2>&1))"; exit 1; }
        sleep 0.1
    done
    step "$what"
}

# As the unit does: its command line, and its user.
command=$(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/muster.service)
start() { setpriv --reuid muster --regid muster --clear-groups $command >>/tmp/muster.log 2>&1 & agent=$!; }
api=http://127.0.0.1:8500/v1

muster validate /etc/muster
start
eventually "it leads" '"127.0.0.1:8300"' curl -s $api/status/leader
curl -fsS -X PUT $api/agent/service/register \
    -d '{"Name": "web", "Port": 8080, "Tags": ["v1"], "Check": {"TTL": "60s"}}'
[ "$(curl -s "$api/health/service/web?passing")" = "[]" ]
curl -fsS -X PUT $api/agent/check/pass/service:web
eventually "the service is found by DNS" "127.0.0.1" dig @127.0.0.1 -p 8600 v1.web.service.consul A +short
muster explain web
muster services register -name db -port 5432
eventually "the command line sees both" "3" sh -c "muster catalog services | wc -l"
curl -fsS -X PUT $api/agent/check/fail/service:web
eventually "what fails is not handed out" "" dig @127.0.0.1 -p 8600 web.service.consul A +short
muster kv put config/color blue
kill -9 $agent
wait $agent 2>/dev/null || true
start
eventually "nothing is lost by a kill" "blue" muster kv get config/color
muster snapshot save /tmp/tour.snap
muster snapshot inspect /tmp/tour.snap >/dev/null
consul members | grep -q alive
step "consul is there too"
[ -n "$(ls /usr/share/man/man1/muster*.1.gz)" ]
muster leave
wait $agent
step "it left"
