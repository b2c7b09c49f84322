#!/bin/sh
# Find the disk and the slot this kernel was loaded from, give a new disk its own GUIDs, tell whether the boot
# is a trial, and open the slot's root by the values of the signed command line.
set -u
. "${0%/*}"/proa-common.sh
. "${0%/*}"/proa-state.sh

# Set by the stub inside the kernel image (https://systemd.io/BOOT_LOADER_INTERFACE): four bytes of attributes, then
# the GUID of the partition that the image was loaded from, in UTF-16.
loader_partition=/sys/firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f

load_drivers() {
    # By name: distributions keep watchdogs from being loaded by alias.
    modprobe -aq efivarfs dm_mod dm_verity erofs overlay ext4 efi_pstore i6300esb iTCO_wdt sp5100_tco wdat_wdt
    udevadm settle --timeout=60
    [ -e /dev/watchdog0 ] || modprobe -q softdog
    mountpoint -q /sys/firmware/efi/efivars || mount -t efivarfs efivarfs /sys/firmware/efi/efivars
}

# booted_guid: in upper case, as sfdisk writes it.
booted_guid() {
    [ -s "$loader_partition" ] || die "no LoaderDevicePartUUID: was this kernel loaded as a unified kernel image?"
    # tail would seek, which these files refuse.
    found=$(cat "$loader_partition" | tail -c +5 | tr -d '\0' | tr a-f A-F)
    case $found in *[!0-9A-F-]* | '') die "LoaderDevicePartUUID is no GUID" ;; esac
    echo "$found"
}

# partitions DISK: a line "NODE GUID NAME" for each partition.
partitions() {
    "${0%/*}"/proa-modest.sh "$1" && timeout 30 sfdisk --dump "$1" 2>/dev/null |
        sed -n 's/^\([^ ]*\) *: .*[ ,]uuid=\([^,]*\).*[ ,]name="\([^"]*\)".*$/\1 \2 \3/p'
}

# disks_with GUID: every disk that has a partition of that GUID. (The kernel writes "!" for a slash in a name.)
disks_with() {
    for system in /sys/block/*; do
        [ -e "$system/device" ] || continue
        candidate=/dev/$(echo "${system##*/}" | tr '!' /)
        partitions "$candidate" | grep -q "^[^ ]* $1 " && echo "$candidate"
    done
}

# find_disk GUID: waits for the disk. Of two of them none is chosen.
find_disk() {
    tries=60
    while [ "$tries" -gt 0 ]; do
        # shellcheck disable=SC2046 # words are wanted
        set -- "$1" $(disks_with "$1")
        case $# in
            1) ;;
            2) echo "$2" && return ;;
            *) die "this kernel came from partition $1, and several disks have it: $2 $3" ;;
        esac
        tries=$((tries - 1))
        sleep 1
    done
    die "this kernel came from partition $1, and no disk has it"
}

# node NAME: the device of the disk's partition of that name.
node() {
    found=
    # A name may end in a blank, which the shell would take for none.
    while IFS= read -r line; do
        rest=${line#* }
        [ "${rest#* }" != "$1" ] || found="$found ${line%% *}"
    done <<EOF
$table
EOF
    case $found in
        " "*" "* | "") die "$disk has not exactly one partition $1" ;;
    esac
    echo "${found# }"
}

# wait_for DEVICE: until it is there.
wait_for() {
    [ -b "$1" ] || udevadm settle --timeout=60 --exit-if-exists="$1"
    [ -b "$1" ] || die "$1 stands in the table of $disk but is not there"
}

# check_root DEVICE: the top block of the tree there must hash to the signed root hash.
check_root() {
    top=$({
        printf %s "$salt" | tr a-f A-F | basenc --decode --base16
        dd if="$1" bs=4096 skip=$((hash_offset / 4096)) count=1 2>/dev/null
    } | sha256sum)
    [ "${top%% *}" = "$root_hash" ] || die "slot $slot: $1 does not hold the root $root_hash"
}

# verity ACTION DEVICE ...: veritysetup with the values of the signed command line.
verity() {
    action=$1
    shift
    veritysetup "$action" --no-superblock --hash=sha256 --data-block-size=4096 --hash-block-size=4096 \
        --salt="$salt" --data-blocks="$data_blocks" --hash-offset="$hash_offset" "$@" "$root_hash"
}

# check_all DEVICE: reads every block of a slot whose last boot did not end well.
check_all() {
    say "slot $slot: the last boot did not come to its end; reading the whole root"
    verity verify "$1" "$1" || die "slot $slot: the root on $1 is damaged"
}

open_root() {
    verity open --panic-on-corruption "$1" proa-root "$1" || die "slot $slot: the root on $1 cannot be opened"
}

# Whatever would end a trial in a shell, or in nothing at all, ends it in a reboot, in the real root too: these units
# lie in /run, so they outlive the switch of root and need nothing of the release.
begin_trial() {
    units=/run/systemd/system
    keep try "\"root_hash\": \"$root_hash\", \"seq\": $SEQ, \"left\": $left"
    cp /usr/lib/proa/initrd/proa-ended.sh "$run/ended.sh"
    mkdir -p "$units/proa-deadline.timer.d" "$units/emergency.service.d" "$units/rescue.service.d"
    cp /usr/lib/systemd/system/proa-deadline.timer /usr/lib/systemd/system/proa-deadline.service "$units/"
    printf '[Timer]\nOnBootSec=\nOnBootSec=%ss\n' "$deadline" >"$units/proa-deadline.timer.d/time.conf"
    for unit in emergency rescue; do
        cp /usr/lib/proa/initrd/trial.conf "$units/$unit.service.d/50-proa.conf"
    done
    systemctl daemon-reload
    systemctl start --no-block proa-deadline.timer
}

write_boot_json() {
    printf '{"schema": "proa.boot/v1", "slot": "%s", "disk": "%s", "root": "%s", "root_hash": "%s", ' \
        "$slot" "$disk" "$root" "$root_hash"
    printf '"trial": %s, "left": %s, "first_boot": %s, ' "$trial" "$left" "$first_boot"
    printf '"persist_check": "%s", "identity_lost": %s}\n' "$(kept persist_check)" "$(kept identity_lost)"
}

stage disk
load_drivers
root_hash=$(argument proa.root_hash) && salt=$(argument proa.salt) && data_blocks=$(argument proa.data_blocks) &&
    hash_offset=$(argument proa.hash_offset) && deadline=$(argument proa.deadline) &&
    compatible=$(argument proa.compatible) || exit 1
guid=$(booted_guid) || exit 1
disk=$(find_disk "$guid") || exit 1
case $(partitions "$disk" | sed -n "s/^[^ ]* $guid //p") in
    UKI-A) slot=a ;;
    UKI-B) slot=b ;;
    *) die "this kernel came from partition $guid of $disk, which is no slot's" ;;
esac

first_boot=false
if timeout 30 sfdisk --dump "$disk" 2>/dev/null | grep -q 'name="PERSIST".*attrs="[^"]*GUID:48'; then
    first_boot=true
    say "first boot: giving $disk its own GUIDs, growing PERSIST"
fi
# At every boot: where the first one was cut off in the middle of the write, half a table is left.
/usr/lib/proa/initrd/proa-grow.sh "$disk" || die "$disk: its table could not be given its own GUIDs"
table=$(partitions "$disk")
state=$(node STATE) && root=$(node "ROOT-$(echo "$slot" | tr ab AB)") && persist=$(node PERSIST) || exit 1
for device in "$state" "$root" "$persist"; do
    wait_for "$device"
done
keep disk "$disk"
keep slot "$slot"
keep state "$state"
keep persist "$persist"
keep root "$root"
keep compatible "$compatible"
keep first_boot "$first_boot"

trial=false left=0
if proa_state_read "$state"; then
    left=$LEFT
    proa_state_trial "$slot" && trial=true
else
    say "neither copy of the boot state is valid"
fi
keep trial "$trial"
[ "$trial" = false ] || begin_trial

stage persist
/usr/lib/proa/initrd/proa-check.sh || exit 1
write_boot_json >"$run/boot.json"
stage root
[ "$(kept suspect)" != true ] || check_all "$root"
say "slot $slot of $disk, root $root_hash$([ "$trial" = false ] || echo ", on trial, $left tries left")"
check_root "$root"
open_root "$root"
