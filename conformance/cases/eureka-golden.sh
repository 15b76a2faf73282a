#!/usr/bin/env bash
# A real Eureka server says what the recorded conversations say, which front-eureka is tested with.
# needs: program mvn
# needs: program python3
set -euo pipefail

home=$CASE_CACHE/eureka-server
source=$CASES/../eureka/server
if [[ ! -e $home/target/server-1.jar || -n $(find "$source" -newer "$home/target/server-1.jar") ]]; then
  mkdir -p "$home"
  cp -r "$source/." "$home"
  (cd "$home" && mvn -q -B package)
fi
cp "$CASES"/../../crates/front-eureka/tests/recorded/*.txt .
EUREKA_SERVER_JAR=$home/target/server-1.jar "$CASES/../eureka/record.py" ./*.txt
diff -u "$CASES/../../crates/front-eureka/tests/recorded" .
