#!/usr/bin/env bash
# eureka-js-client registers, renews, finds by application and virtual host, and leaves.
# servers: 1 and 3
# needs: program npm
# needs: debian curl curl
set -euo pipefail

home=$CASE_CACHE/eureka-js
mkdir -p "$home"
cp "$CASES/../eureka-js/package.json" "$CASES/../eureka-js/case.js" "$home"
[[ -d $home/node_modules/eureka-js-client ]] ||
  (cd "$home" && npm install --silent --no-audit --no-fund --no-package-lock)
EUREKA=$MUSTER_SERVERS node "$home/case.js"
