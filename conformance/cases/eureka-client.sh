#!/usr/bin/env bash
# Netflix's own Eureka client registers, renews, finds others, is overruled, and leaves.
# servers: 1 and 3
# needs: program mvn
# needs: debian curl curl
set -euo pipefail

home=$CASE_CACHE/eureka-client
source=$CASES/../eureka-client
if [[ ! -e $home/target/netflix-1.jar || -n $(find "$source" -newer "$home/target/netflix-1.jar") ]]; then
  mkdir -p "$home"
  cp -r "$source/." "$home"
  (cd "$home" && mvn -q -B package)
fi
urls=
for server in $MUSTER_SERVERS; do urls+=${urls:+,}http://$server/eureka/v2/; done
java -Xmx400m -Dorg.slf4j.simpleLogger.defaultLogLevel=error \
  -cp "$home/target/netflix-1.jar:$home/target/lib/*" pointed.Netflix "$urls"
