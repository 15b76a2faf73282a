#!/usr/bin/env bash
# consul-template renders a file anew whenever a service or a pair changes.
# needs: program go
# needs: debian curl curl
set -euo pipefail
source "$CASES/steps.bash"

(cd "$CASES/../consul-template" &&
  go build -o "$CASE_CACHE/consul-template" github.com/hashicorp/consul-template)

cat >page.tmpl <<'TEMPLATE'
{{ range service "rendered" }}{{ .Address }}:{{ .Port }} {{ end }}{{ keyOrDefault "page/title" "untitled" }}
TEMPLATE

"$CASE_CACHE/consul-template" -consul-addr "$MUSTER_HTTP" -template page.tmpl:page.txt &
page() { cat page.txt 2>/dev/null || true; }

eventually "a page without instances" "untitled" page
come rendered 8080
eventually "the instance appears" "127.0.0.1:8080 untitled" page
fail rendered
eventually "the instance is left out" "untitled" page
recover rendered
eventually "the instance is back" "127.0.0.1:8080 untitled" page
put /v1/kv/page/title "hello"
eventually "the pair is rendered" "127.0.0.1:8080 hello" page
leave rendered
eventually "the instance is gone" "hello" page
