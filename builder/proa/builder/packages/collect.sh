#!/bin/sh
# Runs on the building machine when all packages are in the tree ($1): takes out what is kept beside it.
#   $2 output folder   $3 folder of kept .deb files   $4.. packages of the boot chain, unpacked and not installed
set -eu
tree=$1 out=$2 debs=$3
shift 3
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"

mkdir -p "$out/kernel" "$out/boot"
for kernel in "$tree"/boot/vmlinuz-*; do
  [ -f "$kernel" ] || { echo "no kernel was installed" >&2; exit 1; }
  cp "$kernel" "$out/kernel/vmlinuz"
  echo "${kernel##*/vmlinuz-}" >"$out/kernel/version"
done
cp "$tree/var/lib/dpkg/status" "$out/status"
cp "$tree/etc/passwd" "$tree/etc/group" "$out/"
for list in "$tree"/var/lib/apt/lists/*InRelease; do
  sha256sum <"$list" | cut -d' ' -f1
done | sort >"$out/indexes"

(cd "$tree/var/cache/apt/archives" && apt-get download -qq "$@")
for package in "$tree"/var/cache/apt/archives/*.deb; do
  name=${package##*/}
  [ -e "$debs/$name" ] || cp "$package" "$debs/$name"
done
for name in "$@"; do
  for package in "$tree/var/cache/apt/archives/${name}_"*.deb; do
    dpkg-deb -x "$package" "$out/boot"
    dpkg-deb -f "$package" Package Version Architecture Source Maintainer Homepage >>"$out/boot.status"
    echo >>"$out/boot.status"
    rm -f "$package"
  done
done

# What only this machine, this minute or chance decides has no place in the output.
rm -f "$tree"/etc/ssh/ssh_host_* "$tree/var/lib/systemd/random-seed" "$tree/var/lib/dbus/machine-id" "$tree"/boot/initrd.img*
: >"$tree/etc/machine-id"
chown 0:0 "$tree/var/cache/apt/archives/partial" "$tree/var/lib/apt/lists/partial"
