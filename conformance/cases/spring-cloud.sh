#!/usr/bin/env bash
# Spring Cloud applications register, find and call each other, are overruled, and leave.
# needs: program mvn
set -euo pipefail

home=$CASE_CACHE/spring-cloud
mkdir -p "$home"
cp -r "$CASES/../spring-cloud/." "$home"
(cd "$home" && mvn -q -B package)
java -Xmx400m -jar "$home/target/client-1.jar" "http://$MUSTER_HTTP/eureka/"
