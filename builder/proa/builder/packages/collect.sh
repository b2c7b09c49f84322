#!/bin/sh
# Runs on the building machine when all packages are in the tree ($1): takes out what is kept beside it.
#   $2 output folder   $3.. files of the boot chain's packages, unpacked and not installed
set -eu
tree=$1 out=$2
shift 2

# Which of them boots is decided later, by more than the order of their names.
mkdir -p "$out/kernels" "$out/boot"
for kernel in "$tree"/boot/vmlinuz-*; do
  version=${kernel##*/vmlinuz-}
  [ -f "$kernel" ] || continue
  mkdir "$out/kernels/$version"
  cp "$kernel" "$out/kernels/$version/vmlinuz"
  cat "$tree/lib/modules/$version"/modules.order "$tree/lib/modules/$version"/modules.builtin \
    >"$out/kernels/$version/modules"
done
cp "$tree/var/lib/dpkg/status" "$out/status"
[ ! -e "$tree/var/cache/debconf/templates.dat" ] || cp "$tree/var/cache/debconf/templates.dat" "$out/templates"
cp "$tree/etc/passwd" "$tree/etc/group" "$out/"

for package in "$@"; do
  dpkg-deb -x "$package" "$out/boot"
  dpkg-deb -f "$package" Package Version Architecture Source Maintainer Homepage >>"$out/boot.status"
  echo >>"$out/boot.status"
done

# What only this machine, this minute or chance decides has no place in the output.
rm -f "$tree"/etc/ssh/ssh_host_* "$tree/var/lib/systemd/random-seed" "$tree/var/lib/dbus/machine-id" "$tree"/boot/initrd.img*
: >"$tree/etc/machine-id"
: >"$tree/etc/apt/sources.list" # it named the folder of this build
chown 0:0 "$tree/var/cache/apt/archives/partial" "$tree/var/lib/apt/lists/partial"
