#!/bin/sh
# enter.sh ROOT TREE OUT COMMAND...: run a command in another Debian's root, with a tree of ours on /src.
#
# Runs in a mount namespace of its own. ROOT's /opt/venv stands in the place of the tree's .venv, and OUT in that of its
# build folder, so that whatever runs there leaves the tree's own alone. A pivot, and no chroot: in a chroot the kernel
# makes no user namespaces.
set -eu
root=$1 tree=$2 out=$3
shift 3
mount --rbind "$root" "$root"
for name in dev sys; do mount --rbind "/$name" "$root/$name"; done
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount --bind "$out/tmp" "$root/tmp"
for name in resolv.conf hosts ssl/certs/ca-certificates.crt; do
  if [ -e "/etc/$name" ]; then mount --bind "/etc/$name" "$root/etc/$name"; fi
done
mount --bind "$tree" "$root/src"
mount --bind "$root/opt/venv" "$root/src/.venv"
mount --bind "$out" "$root/src/build"
cd "$root"
pivot_root . .
umount -l .
cd /src
exec "$@"
