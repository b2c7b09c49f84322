#!/bin/sh
# Runs on the building machine when apt has downloaded and verified the packages into the tree ($1): keeps them in $2.
set -eu
cp -t "$2" "$1"/var/cache/apt/archives/*.deb
for list in "$1"/var/lib/apt/lists/*InRelease; do
  sha256sum <"$list" | cut -d' ' -f1
done | sort >"$2/indexes"
