#!/bin/sh
# Renew the locks of the embedded servers' jars from the two small poms beside this file.
# A developer's tool: it needs mvn, and whoever runs the project needs neither mvn nor Java.
# Each line it writes is `group:artifact:version[:classifier] sha256`, and holds no address of any registry.
set -eu
cd "$(dirname "$0")"
for server in neo4j mongodb; do
  list=$(mktemp)
  mvn --quiet --batch-mode --file "$server.pom.xml" dependency:list \
    -DincludeScope=runtime -DoutputAbsoluteArtifactFilename=true -DoutputFile="$list"
  # group:artifact:jar[:classifier]:version:scope:file [ -- module name]
  grep ':jar:' "$list" | sed 's/^ *//; s/ -- .*//' | while IFS=: read -r group artifact _ a b c d; do
    if [ -n "$d" ]; then
      name=$group:$artifact:$b:$a file=$d
    else
      name=$group:$artifact:$a file=$c
    fi
    printf '%s %s\n' "$name" "$(sha256sum "$file" | cut -d ' ' -f 1)"
  done | LC_ALL=C sort > "../local/$server.jars.lock"
  rm -f "$list"
  printf '%s: %s jars\n' "$server" "$(wc -l < "../local/$server.jars.lock")"
done
