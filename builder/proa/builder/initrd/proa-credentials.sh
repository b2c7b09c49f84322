#!/bin/sh
# Throw away what the machine's firmware gave and this release does not take. systemd would act on it by itself: lines of
# tmpfiles.d that write any file, units, users, passwords (systemd.system-credentials(7)). Whoever runs the hypervisor
# is in no need of it, but whoever may only set a machine's SMBIOS strings would be root.
set -u
. "${0%/*}"/proa-common.sh
given=${PROA_CREDENTIALS:-/run/credentials/@system}

# taken NAME PATTERN ...: whether one of the patterns fits.
taken() {
    name=$1
    shift
    for pattern in "$@"; do
        # shellcheck disable=SC2254 # a pattern is wanted
        case $name in $pattern) return 0 ;; esac
    done
    return 1
}

set -f
more=$(argument proa.credentials) || exit 1
# shellcheck disable=SC2046 # words are wanted
set -- $(sed 's/#.*//; s/[[:space:]].*//' "${0%/*}/credentials") $(echo "$more" | tr , ' ')
set +f
[ -d "$given" ] || exit 0
! mountpoint -q "$given" || mount -o remount,rw "$given" 2>/dev/null || mount -o remount,bind,rw "$given"
for path in "$given"/* "$given"/.[!.]* "$given"/..?*; do
    name=${path##*/}
    if [ ! -e "$path" ] || taken "$name" "$@"; then continue; fi
    rm -f "$path" || die "the credential $name could not be thrown away"
    say "the credential $name is not taken: this release does not name it in system.credentials"
done
! mountpoint -q "$given" || mount -o remount,bind,ro "$given" || :
