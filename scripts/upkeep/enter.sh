#!/bin/sh
# enter.sh ROOT TREE OUT COMMAND...: run a command in another Debian's root, with a tree of ours on /src.
#
# Runs in a mount namespace of its own. OUT's folders stand in the place of the tree's .venv and build, of /tmp and of
# the home folder, so that whatever runs there leaves both the tree and the root alone. A pivot, and no chroot: in a
# chroot the kernel makes no user namespaces.
set -eu
root=$1 tree=$2 out=$3
shift 3
mount --rbind "$root" "$root"
for name in dev sys; do mount --rbind "/$name" "$root/$name"; done
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
for name in resolv.conf hosts ssl/certs/ca-certificates.crt; do
  if [ -e "/etc/$name" ] && [ -e "$root/etc/$name" ]; then mount --bind "/etc/$name" "$root/etc/$name"; fi
done
mount --bind "$out/tmp" "$root/tmp"
mount --bind "$out/home" "$root/root"
mount --bind "$tree" "$root/src"
mount --bind "$out/venv" "$root/src/.venv"
mount --bind "$out/build" "$root/src/build"
cd "$root"
pivot_root . .
umount -l .
cd /src
export HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec "$@"
