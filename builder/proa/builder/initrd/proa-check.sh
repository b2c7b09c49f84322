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

# check DEVICE: e2fsck's status is a set of bits: 1 and 2 mean mended, 4 and above not (e2fsck(8)). A journal that was
# replayed is no damage; an error that the kernel has left a note of is.
check() {
    said=$(e2fsck -p "$1" 2>&1)
    status=$?
    [ -z "$said" ] || echo "$said"
    if [ "$status" -lt 4 ]; then
        case $said in *"file system with errors"*) keep persist_check mended ;; *) keep persist_check clean ;; esac
        return
    fi
    say "$1 needs a thorough check"
    e2fsck -f -y "$1"
    [ $? -lt 4 ] || die "PERSIST on $1 cannot be mended: restore it, or make it anew with proa-disk reset"
    keep persist_check repaired
}

# has_identity: whether the node's own /etc, for either slot, has a machine id: one of zeroes alone, as a power cut may
# leave it, is none.
has_identity() {
    for file in "$persist"/etc/?/upper/machine-id; do
        [ -z "$(tr -d '\000\n' 2>/dev/null <"$file")" ] || return 0
    done
    return 1
}

# identity: a disk that comes from the factory or was emptied by order says by .proa/new that a node is to be made of
# it. One that does not, and has no identity, has lost it; that stands in .proa/lost until a person takes it away.
identity() {
    keep identity_lost false
    if has_identity; then
        [ ! -e "$persist/.proa/new" ] || rm -f "$persist/.proa/new"
    elif [ ! -e "$persist/.proa/new" ] && [ "$(kept first_boot)" != true ]; then
        keep identity_lost true
        say "PERSIST HAS LOST THE IDENTITY OF THIS NODE (check: $(kept persist_check)): it comes up as another one"
        write_once lost "the identity was lost; check of PERSIST: $(kept persist_check)"
    fi
}

# damage: what the check found stands in .proa/damaged until a person takes it away: this boot may end before anybody
# hears of it, and the next one finds a file system that is whole. The worse result stays.
damage() {
    case $(kept persist_check) in
        repaired) ;;
        mended) [ ! -s "$persist/.proa/damaged" ] || return 0 ;;
        *) return 0 ;;
    esac
    write_once damaged "$(kept persist_check)"
}

# write_once NAME TEXT: a file in PERSIST's .proa, as a whole, and there to stay.
write_once() {
    file=$persist/.proa/$1
    if ! mkdir -p "${file%/*}" || ! echo "$2" >"$file.part" || ! sync "$file.part" || ! mv "$file.part" "$file" ||
        ! sync "${file%/*}"; then
        say "PERSIST: $file cannot be written"
    fi
}

# same_product: a disk keeps the product that its first release was for: one key may sign several.
same_product() {
    [ -n "$(kept compatible)" ] || return 0
    if [ ! -s "$persist/.proa/compatible" ]; then
        write_once compatible "$(kept compatible)"
    elif [ "$(cat "$persist/.proa/compatible")" != "$(kept compatible)" ]; then
        die "this release is for $(kept compatible), but the node is a $(cat "$persist/.proa/compatible")"
    fi
}

# open: sets device to where the file system is.
open() {
    encryption=$(argument proa.encryption) || exit 1
    device=$(kept persist)
    if [ "$encryption" = tpm2 ]; then
        "${0%/*}"/proa-crypt.sh open "$device" || exit 1
        device=/dev/mapper/proa-persist
    elif [ "$(head -c 4 "$device" | tr -d '\0')" = LUKS ]; then
        die "PERSIST on $device is encrypted, but this release does not open it: it lacks persist.encryption"
    fi
}

# mount_it: checked, and grown.
mount_it() {
    check "$device"
    mkdir -p "$persist"
    mount -t ext4 -o errors=remount-ro "$device" "$persist" || die "PERSIST on $device could not be mounted"
    resize2fs "$device" || say "PERSIST on $device could not be grown; going on with the size it has"
}

# reset: empty, or where it is encrypted, made anew, so that what was there can be read by nobody.
reset() {
    [ "$encryption" = tpm2 ] || {
        empty
        return
    }
    say "PERSIST is made anew, as it was asked for"
    umount "$persist" && "${0%/*}"/proa-crypt.sh renew "$(kept persist)" || exit 1
    mount_it
}

# empty: what `proa-disk reset` asked for goes last, so that a boot that is cut off is followed by one that goes on.
empty() {
    say "PERSIST is emptied, as it was asked for"
    write_once new ""
    for path in "$persist"/* "$persist"/.[!.]* "$persist"/..?* "$persist"/.proa/* "$persist"/.proa/.[!.]*; do
        case ${path#"$persist"/} in
            lost+found | .proa | .proa/reset | .proa/new) ;;
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

open
mount_it
damage
[ ! -e "$persist/.proa/reset" ] || reset
[ "$encryption" != tpm2 ] || "${0%/*}"/proa-crypt.sh leave
identity
same_product
! suspect || keep suspect true
mkdir -p "${mark%/*}"
if kept slot >"$mark" && sync "$mark" "${mark%/*}"; then
    forget_mark_at_the_end
else
    say "PERSIST cannot be written"
fi
[ "$(kept trial)" = false ] || "${0%/*}"/proa-ended.sh started || say "PERSIST: the try could not be noted"
