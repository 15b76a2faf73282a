#!/usr/bin/env bash
# Spring Cloud applications register, find and call each other, are overruled, and leave.
# servers: 1 and 3
# needs: program mvn
# needs: debian curl curl
set -euo pipefail

home=$CASE_CACHE/spring-cloud
source=$CASES/../spring-cloud
if [[ ! -e $home/target/client-1.jar || -n $(find "$source" -newer "$home/target/client-1.jar") ]]; then
  mkdir -p "$home"
  cp -r "$source/." "$home"
  (cd "$home" && mvn -q -B package)
fi
urls=
for server in $MUSTER_SERVERS; do urls+=${urls:+,}http://$server/eureka/; done
java -Xmx400m -jar "$home/target/client-1.jar" "$urls"
