#!/bin/sh
# A root of its own for programs that strangers have written: maintainer scripts, hooks, what lies in a target's tree.
# Runs in new namespaces, as root there. Of this machine there is the system to read, no more of /etc than it needs,
# the harmless devices, and what is named; no home, no key, no other process, and no way back.
#   $1 a folder for what is passing, which it may write   $2... paths to read, --, paths to write, --, the command
set -eu
PATH=$PATH:/usr/sbin:/sbin
here=$(pwd)
# Where nothing that is named can lie: it is covered from here on.
new=/sys

# give MODE PATH: at the same place. In a user namespace a flag that a mount has may be kept, never taken away.
give() {
    mkdir -p "$new${2%/*}"
    if [ -d "$2" ]; then mkdir -p "$new$2"; else : >"$new$2"; fi
    mount --rbind "$2" "$new$2"
    [ "$1" = rw ] || mount -o remount,bind,ro,nosuid,nodev "$new$2"
}

umask 022
hostname localhost
ip link set lo up # postfix, for one, cannot be set up without
mount -t tmpfs -o mode=755 room "$new"
mkdir "$new/etc" "$new/proc" "$new/sys" "$new/dev" "$new/dev/pts" "$new/run" "$new/mnt" "$new/root" "$new/var"
mkdir -m 1777 "$new/tmp" "$new/var/tmp" "$new/dev/shm"
# What is large goes to the disk, not into memory; mkfs.erofs cannot copy from one file system to another.
[ -d "$1/tmp" ] || mkdir -m 1777 "$1/tmp"
mount --bind "$1/tmp" "$new/tmp"
give rw "$1"
shift
mount -t proc proc "$new/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$new/sys" || rmdir "$new/sys"
for name in null zero full random urandom; do
    : >"$new/dev/$name"
    mount --bind "/dev/$name" "$new/dev/$name"
done
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$new/dev/pts" || :
ln -s pts/ptmx "$new/dev/ptmx"
ln -s /proc/self/fd "$new/dev/fd"
for name in stdin:0 stdout:1 stderr:2; do
    ln -s "/proc/self/fd/${name#*:}" "$new/dev/${name%:*}"
done
for path in /usr /bin /sbin /lib /lib??*; do
    if [ -L "$path" ]; then
        cp -P "$path" "$new$path"
    elif [ -d "$path" ]; then
        give ro "$path"
    fi
done
for name in alternatives debian_version dpkg group ld.so.cache ld.so.conf ld.so.conf.d nsswitch.conf os-release passwd \
    perl python3 python3.11 python3.12 python3.13; do
    if [ -L "/etc/$name" ]; then
        cp -P "/etc/$name" "$new/etc/$name"
    elif [ -e "/etc/$name" ]; then
        give ro "/etc/$name"
    fi
done
mode=ro
while [ "$mode" != end ]; do
    case $mode$1 in
        ro--) mode=rw ;;
        rw--) mode=end ;;
        *) give "$mode" "$1" ;;
    esac
    shift
done
cd "$new"
pivot_root . .
umount -l .
cd "$here" 2>/dev/null || cd /
export TMPDIR=/tmp
# Without a terminal: what is typed into one by its device (TIOCSTI) would be read by the shell behind it.
exec setsid "$@"
