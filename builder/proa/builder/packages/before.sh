#!/bin/sh
# Runs on the building machine when the essential packages are set up in the tree ($1), and before all others are.
#   $2 a folder with "preseed" (answers to debconf) and programs of the user's, "hook-0", "hook-1" ...   $3 output folder
# Each program runs inside the tree; what it leaves is listed in OUTPUT/hook-N, what it said is in FOLDER/said.
set -eu
tree=$1 given=$2 out=$3
export LC_ALL=C

# Every file with what changes when somebody writes to it.
seen() {
  (cd "$tree" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp \
    -o -path ./var/cache -o -path ./var/lib/dpkg -o -path ./var/log \) -prune -o ! -type d -printf '/%P\t%i %s %C@\n') | sort
}

[ ! -s "$given/preseed" ] || chroot "$tree" debconf-set-selections <"$given/preseed"
number=0
while [ -e "$given/hook-$number" ]; do
  seen >"$given/before"
  cp "$given/hook-$number" "$tree/tmp/hook"
  chmod 755 "$tree/tmp/hook"
  echo "$number" >"$given/running"
  chroot "$tree" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root SYSTEMD_OFFLINE=1 DEBIAN_FRONTEND=noninteractive \
    SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" /tmp/hook >"$given/said" 2>&1 </dev/null
  rm "$tree/tmp/hook" "$given/running"
  seen | comm -13 "$given/before" - | cut -f1 >"$out/hook-$number"
  number=$((number + 1))
done
