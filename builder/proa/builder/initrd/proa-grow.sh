#!/bin/sh
# proa-grow.sh DISK: the one write of the partition table in a node's life, at the first boot, before anything of the
# disk is open. PERSIST grows to the end of the disk, and the disk and every partition but BOOT get GUIDs of their own
# (every image of a release leaves the factory as a twin; the firmware's boot entries name the GUID of BOOT).
#
# That it was not done yet says an attribute of PERSIST, GPT bit 48, which the same write clears. Again is harmless.
# sfdisk writes and flushes in the order of UEFI 2.10, section 5.3.2: backup, primary entries, primary header. Cut off
# before the last of these, the primary table is damaged and the backup is whole and new: the next run mends it.
set -eu
export LC_ALL=C
disk=$1

fail() {
    echo "proa-grow: $disk: $*" >&2
    exit 1
}

new_guid() {
    cat /proc/sys/kernel/random/uuid
}

disk_size() {
    if [ -b "$disk" ]; then blockdev --getsize64 "$disk"; else wc -c <"$disk"; fi
}

# field NAME LINE: the number behind NAME= in a line of the dump.
field() {
    value=${2#*"$1="}
    echo $((${value%%,*}))
}

# grown LINE: the line of PERSIST, up to 20 KiB before the end of the disk, rounded down to a whole MiB: as
# proa.partition.disk.layout has it. Never smaller than it was, and without the attribute.
grown() {
    start=$(field start "$1")
    size=$(((bytes - 20480) / 1048576 * 1048576 / sector - start))
    [ "$size" -ge "$(field size "$1")" ] || fail "it has $bytes bytes, too few for PERSIST as it is"
    line="${1%%size=*}size=$size,${1#*size=*,}"
    echo "${line%%, attrs=*}"
}

# renamed LINE: the line of a partition with a new GUID.
renamed() {
    rest=${1#*uuid=}
    case $rest in *,*) rest=,${rest#*,} ;; *) rest= ;; esac
    echo "${1%%uuid=*}uuid=$(new_guid)$rest"
}

# first_boot: reads the table as sfdisk dumps it, writes it as it shall be.
first_boot() {
    while IFS= read -r line; do
        case $line in
            label-id:*) echo "label-id: $(new_guid)" ;;
            last-lba:*) ;; # so that sfdisk puts the backup at the real end
            *'name="PERSIST"'*)
                line=$(grown "$line") || exit 1
                renamed "$line"
                ;;
            *'name="BOOT"'*) echo "$line" ;;
            *uuid=*) renamed "$line" ;;
            *) echo "$line" ;;
        esac
    done
}

write_table() {
    echo "$1" | sfdisk --quiet --lock=yes --no-reread --no-tell-kernel --wipe=never --wipe-partitions=never "$disk"
}

# reread: whoever looks at the disk just now (udev does, after each write) is waited for.
reread() {
    tries=20
    until blockdev --rereadpt "$disk"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "the kernel does not take the new table"
        udevadm settle --timeout=10 || :
        sleep 0.5
    done
}

warnings=$(sfdisk --dump "$disk" 2>&1 >/dev/null) || fail "$warnings"
table=$(sfdisk --dump "$disk" 2>/dev/null)
sector=$(echo "$table" | sed -n 's/^sector-size: //p')
bytes=$(disk_size)
case $table in
    *'name="PERSIST"'*GUID:48*) new=$(echo "$table" | first_boot) ;;
    *'name="PERSIST"'*) case $warnings in *'primary GPT table is corrupt'*) new=$table ;; *) exit 0 ;; esac ;;
    *) fail "no partition of the table is called PERSIST (is the disk smaller than its image?)" ;;
esac
write_table "$new"
[ ! -b "$disk" ] || reread
