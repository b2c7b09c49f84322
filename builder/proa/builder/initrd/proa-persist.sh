#!/bin/sh
# Put PERSIST into the new root: the slot's /etc over the release's, and what outlives a release bound to its place.
set -u
. "${0%/*}"/proa-common.sh

new=/sysroot
persist=$new/persist

# bind PATH: what the system has at PATH comes from PERSIST, beginning with what the release has there (but for /var,
# which begins empty: tmpfiles.d fills it). Under its final name it is whole: a copy cut short is made again.
bind() {
    if [ ! -d "$new$1" ]; then
        say "the release has no folder $1; it is not kept"
    elif [ -d "$persist$1" ] || copy "$1"; then
        mount --bind "$persist$1" "$new$1" || die "$1 could not be bound"
    else
        die "PERSIST: $1 could not be made"
    fi
}

copy() {
    mkdir -p "$persist${1%/*}" && rm -rf "$persist$1.new" && cp -a "$new$1" "$persist$1.new" && sync &&
        mv "$persist$1.new" "$persist$1"
}

# The upper folder may outlive the release below it, so nothing in it may point at files of one lower
# (Documentation/filesystems/overlayfs.rst, "Changes to underlying filesystems").
overlay_etc() {
    upper=$persist/etc/$1/upper work=$persist/etc/$1/work
    mkdir -p "$upper" "$work" || die "PERSIST: $upper could not be made"
    mount -t overlay proa-etc "$new/etc" -o \
        "lowerdir=$new/etc,upperdir=$upper,workdir=$work,index=off,metacopy=off,xino=off,redirect_dir=nofollow" ||
        die "/etc: the overlay could not be mounted"
}

stage persist
if ! mount --bind "$run/mount" "$persist" || ! umount "$run/mount"; then
    die "PERSIST could not be put into the root"
fi
mkdir -p "$persist/var"
for path in /var /home /root /opt/cni $(sed 's/#.*//' "$new/usr/lib/proa/keep" 2>/dev/null); do
    bind "$path"
done
overlay_etc "$(kept slot)"
stage switch
