#!/usr/bin/env bash
# HAProxy fills its servers from SRV records and empties them again.
# quick
# needs: debian haproxy haproxy
# needs: program python3
# needs: debian curl curl
set -euo pipefail
source "$CASES/steps.bash"

# HAProxy shows what it found on its statistics socket, asked through its own command line.
cat >haproxy.cfg <<CONFIGURATION
global
  stats socket ${PWD}/stats.sock mode 600 level admin
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
resolvers registry
  nameserver one ${MUSTER_DNS}
  accepted_payload_size 8192
  resolve_retries 1
  timeout resolve 200ms
  timeout retry 200ms
  hold valid 200ms
  hold nx 200ms
  hold obsolete 200ms
backend balanced
  server-template slot 4 _balanced._tcp.service.consul resolvers registry init-addr none
CONFIGURATION
haproxy -f haproxy.cfg -db &

# The addresses of the servers that have one.
filled() {
  python3 - "$PWD/stats.sock" <<'ASK'
import socket
import sys

link = socket.socket(socket.AF_UNIX)
link.connect(sys.argv[1])
link.sendall(b"show servers state balanced\n")
told = link.makefile().read()
rows = [line.split() for line in told.splitlines() if line and line[0].isdigit()]
rows = [row for row in rows if len(row) > 18 and row[4] not in ("-", "0.0.0.0")]
print(",".join(sorted(f"{row[4]}:{row[18]}" for row in rows)))
ASK
}

put_two() {
  for port in 8081 8082; do
    put /v1/agent/service/register "{\"ID\": \"balanced-$port\", \"Name\": \"balanced\",
      \"Tags\": [\"tcp\"], \"Port\": $port, \"Address\": \"127.0.0.1\",
      \"Check\": {\"CheckID\": \"balanced-$port\", \"TTL\": \"1h\", \"Status\": \"passing\"}}"
  done
}

put_two
eventually "both instances have a slot" "127.0.0.1:8081,127.0.0.1:8082" filled
put /v1/agent/check/fail/balanced-8081
eventually "the failed one loses its slot" "127.0.0.1:8082" filled
put /v1/agent/check/pass/balanced-8081
eventually "it is back" "127.0.0.1:8081,127.0.0.1:8082" filled
put /v1/agent/service/deregister/balanced-8082
eventually "the one that left loses its slot" "127.0.0.1:8081" filled
