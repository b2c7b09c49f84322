#!/bin/sh
# Check, mount and grow PERSIST, empty it where that was asked for, and tell whether the good slot is to be read as a
# whole before it is opened.
#
# A block of the root that does not match its hash ends in a panic, and so would every later boot of the same slot.
# So each boot leaves a mark on PERSIST until it has come to its end. A good slot that finds its own mark is suspect
# if there is another slot to go to: losing power in the middle of a boot costs one reading of the root, no more.
set -u
. "${0%/*}"/proa-common.sh
. "${0%/*}"/proa-state.sh

persist=$run/mount
mark=$persist/.proa/booting

# check DEVICE: e2fsck's status is a set of bits: 1 and 2 mean mended, 4 and above not (e2fsck(8)).
check() {
    e2fsck -p "$1"
    [ $? -lt 4 ] && return
    say "$1 needs a thorough check"
    e2fsck -f -y "$1"
    [ $? -lt 4 ] || die "PERSIST on $1 cannot be mended"
}

# empty: what `proa-disk reset` asked for goes last, so that a boot that is cut off is followed by one that goes on.
empty() {
    say "PERSIST is emptied, as it was asked for"
    for path in "$persist"/* "$persist"/.[!.]* "$persist"/.proa/*; do
        case ${path#"$persist"/} in
            lost+found | .proa | .proa/reset) ;;
            *) rm -rf "$path" || die "PERSIST could not be emptied: $path" ;;
        esac
    done
    sync
    rm -f "$persist/.proa/reset"
}

# The unit lies in /run, so that it outlives the switch of root and needs nothing of the release.
forget_mark_at_the_end() {
    units=/run/systemd/system
    mkdir -p "$units/multi-user.target.wants"
    cp /usr/lib/systemd/system/proa-booted.service "$units/"
    ln -sf ../proa-booted.service "$units/multi-user.target.wants/proa-booted.service"
}

suspect() {
    [ "$(cat "$mark" 2>/dev/null)" = "$(kept slot)" ] && [ "$(kept trial)" = false ] &&
        proa_state_read "$(kept state)" && [ "$GOOD" = "$(kept slot)" ] && [ "$ALT" = y ]
}

device=$(kept persist)
check "$device"
mkdir -p "$persist"
mount -t ext4 "$device" "$persist" || die "PERSIST on $device could not be mounted"
resize2fs "$device" || say "PERSIST on $device could not be grown; going on with the size it has"
[ ! -e "$persist/.proa/reset" ] || empty
! suspect || keep suspect true
mkdir -p "${mark%/*}"
if kept slot >"$mark" && sync "$mark" "${mark%/*}"; then
    forget_mark_at_the_end
else
    say "PERSIST cannot be written"
fi
[ "$(kept trial)" = false ] || "${0%/*}"/proa-ended.sh started || say "PERSIST: the try could not be noted"
