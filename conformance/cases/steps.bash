# The life of a service as every case shows it: it comes, fails its check, recovers and leaves.
# Sourced by the cases; registration is by HTTP, the client under test is the case's own.

# PUTs a body to a path of the API and shows what came back if that was an error.
put() { curl -sS --fail-with-body -X PUT "http://$MUSTER_HTTP$1" ${2:+-d "$2"} >/dev/null; }

# come NAME [PORT]: registers instance NAME-1 with a check that is told its status.
come() {
  put /v1/agent/service/register "{\"ID\": \"$1-1\", \"Name\": \"$1\", \"Port\": ${2:-8080},
    \"Address\": \"127.0.0.1\", \"Tags\": [\"v1\"], \"Meta\": {\"color\": \"blue\"},
    \"Check\": {\"CheckID\": \"$1-check\", \"TTL\": \"1h\", \"Status\": \"passing\"}}"
}
fail() { put "/v1/agent/check/fail/$1-check"; }
recover() { put "/v1/agent/check/pass/$1-check"; }
leave() { put "/v1/agent/service/deregister/$1-1"; }

# eventually CLAIM EXPECTED COMMAND...: runs the command until it prints what is expected.
eventually() {
  local claim=$1 expected=$2 seen='' deadline=$((SECONDS + 30))
  shift 2
  while ((SECONDS < deadline)); do
    if seen=$("$@") && [[ $seen == "$expected" ]]; then
      echo "ok: $claim"
      return 0
    fi
    sleep 0.1
  done
  echo "not so within 30 s: $claim; expected '$expected', saw '$seen'" >&2
  return 1
}
