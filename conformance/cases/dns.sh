#!/usr/bin/env bash
# dig and kdig, over UDP and TCP, see a service come, fail its check, recover and go.
# quick
# needs: debian bind9-dnsutils dig
# needs: debian knot-dnsutils kdig
# needs: debian curl curl
set -euo pipefail
source "$CASES/steps.bash"

server=${MUSTER_DNS%:*} port=${MUSTER_DNS#*:}
ask() { dig "@$server" -p "$port" +tries=1 +time=5 "$@"; }
kask() { kdig "@$server" -p "$port" +retry=0 +timeout=5 "$@"; }
status_of() { ask "$@" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
srv_ports() { ask +short named.service.consul SRV | awk '{ print $3 }'; }

come named 8080
eventually "the SRV record has the port" 8080 srv_ports
eventually "the A record has the address" 127.0.0.1 ask +short named.service.consul A
eventually "the same over TCP" 127.0.0.1 ask +tcp +short named.service.consul A
eventually "kdig sees it" 127.0.0.1 kask +short named.service.consul A
eventually "kdig sees it over TCP" 127.0.0.1 kask +tcp +short named.service.consul A
eventually "by tag" 127.0.0.1 ask +short v1.named.service.consul A
eventually "as RFC 2782 has it" 8080 bash -c \
  "dig @$server -p $port +short _named._v1.service.consul SRV | awk '{ print \$3 }'"
eventually "with the datacenter" 127.0.0.1 ask +short named.service.dc1.consul A
eventually "case does not matter" 127.0.0.1 ask +short NaMeD.SERVICE.Consul A

fail named
eventually "a failed instance is left out" NXDOMAIN status_of named.service.consul A
recover named
eventually "it is back" 127.0.0.1 ask +short named.service.consul A

# An address that is asked for in the wrong family: the name exists, the record does not.
eventually "no data is no error" NOERROR status_of named.service.consul AAAA
eventually "the zone has an authority" 1 bash -c \
  "dig @$server -p $port +short consul SOA | wc -l | tr -d ' '"

leave named
eventually "it is gone" NXDOMAIN status_of named.service.consul A
eventually "the refusal carries the SOA" SOA bash -c \
  "dig @$server -p $port +noall +authority named.service.consul A | awk '{ print \$4 }'"
