# Kills the server that leads, with SIGKILL, and says which that was. Run by cases between two things
# that their client does. MUSTER_SERVERS are the addresses of all, MUSTER_PIDS their processes.
set -euo pipefail

read -ra servers <<<"$MUSTER_SERVERS"
read -ra pids <<<"$MUSTER_PIDS"
deadline=$((SECONDS + 60))
while ((SECONDS < deadline)); do
  for at in "${!servers[@]}"; do
    if curl -s "http://${servers[at]}/v1/agent/self" | grep -q '"state":"Leader"'; then
      kill -KILL "${pids[at]}"
      echo "ok: ${servers[at]}, which led, is killed"
      exit 0
    fi
  done
  sleep 0.1
done
echo "no server leads within 60 s" >&2
exit 1
