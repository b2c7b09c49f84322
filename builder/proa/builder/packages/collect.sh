#!/bin/sh
# Runs on the building machine when all packages are in the tree ($1): takes out what is kept beside it.
#   $2 output folder   $3 folder of kept .deb files   $4.. packages of the boot chain, unpacked and not installed
set -eu
tree=$1 out=$2 debs=$3
shift 3
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"

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
cp "$tree/etc/passwd" "$tree/etc/group" "$out/"
for list in "$tree"/var/lib/apt/lists/*InRelease; do
  sha256sum <"$list" | cut -d' ' -f1
done | sort >"$out/indexes"

# In a folder of their own: beside them may lie other versions, of earlier builds.
archives="$tree/var/cache/apt/archives" fetched="$tree/var/cache/apt/boot"
mkdir "$fetched"
for name in $(apt-get download -qq --print-uris "$@" | cut -d' ' -f2); do
  [ ! -e "$archives/$name" ] || cp "$archives/$name" "$fetched/"
done
(cd "$fetched" && apt-get download -qq "$@")
for package in "$archives"/*.deb "$fetched"/*.deb; do
  name=${package##*/}
  [ -e "$debs/$name" ] || cp "$package" "$debs/$name"
done
for package in "$fetched"/*.deb; do
  dpkg-deb -x "$package" "$out/boot"
  dpkg-deb -f "$package" Package Version Architecture Source Maintainer Homepage >>"$out/boot.status"
  echo >>"$out/boot.status"
done
rm -r "$fetched"

# What only this machine, this minute or chance decides has no place in the output.
rm -f "$tree"/etc/ssh/ssh_host_* "$tree/var/lib/systemd/random-seed" "$tree/var/lib/dbus/machine-id" "$tree"/boot/initrd.img*
: >"$tree/etc/machine-id"
chown 0:0 "$tree/var/cache/apt/archives/partial" "$tree/var/lib/apt/lists/partial"
