#!/bin/sh
# proa-grow.sh DISK: PERSIST grows up to the next partition or the end of the disk, whenever there is room: at the first
# boot, and at each one after the disk was enlarged. The first boot also gives the disk and every partition of ours but
# BOOT a GUID of its own (every image of a release leaves the factory as a twin; the firmware's boot entries name the
# GUID of BOOT). Nothing of the disk is open meanwhile.
#
# That it is the first boot says an attribute of PERSIST, GPT bit 48, which the same write clears. Again is harmless.
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

# field NAME LINE: the number behind NAME= in a line of the dump, whatever the disk is called.
field() {
    value=${2#* : } value=${value#*"$1="}
    echo $((${value%%,*}))
}

# room START: the sector up to which a partition that begins at START may reach: the next one or 20 KiB before the end
# of the disk, rounded down to a whole MiB, as proa.partition.disk.layout has it.
room() {
    room=$(((bytes - 20480) / 1048576 * 1048576 / sector))
    while IFS= read -r line; do
        case $line in *' : start='*) ;; *) continue ;; esac
        first=$(field start "$line")
        [ "$first" -le "$1" ] || [ "$first" -ge "$room" ] || room=$first
    done <<EOF
$table
EOF
    echo $((room * sector / 1048576 * 1048576 / sector))
}

# grown LINE: the line of PERSIST with all the room that there is, but never smaller than it was.
grown() {
    start=$(field start "$1") size=$(field size "$1")
    [ $(((start + size) * sector)) -le $(((bytes - 20480) / 1048576 * 1048576)) ] ||
        fail "it has $bytes bytes, too few for PERSIST as it is"
    end=$(room "$start")
    [ $((end - start)) -le "$size" ] || size=$((end - start))
    echo "${1%%size=*}size=$(printf %12s "$size"),${1#*size=*,}"
}

# renamed LINE: the line of a partition with a new GUID and without the attribute of PERSIST.
renamed() {
    rest=${1#*uuid=}
    case $rest in *,*) rest=,${rest#*,} ;; *) rest= ;; esac
    line="${1%%uuid=*}uuid=$(new_guid)$rest"
    echo "${line%%, attrs=*}"
}

# changed HOW: reads the table as sfdisk dumps it, writes it as it shall be: "first", or "later" for the growth alone.
changed() {
    while IFS= read -r line; do
        case $1$line in
            firstlabel-id:*) echo "label-id: $(new_guid)" ;;
            ?*last-lba:*) ;; # so that sfdisk puts the backup at the real end
            first*', name="PERSIST"'*)
                line=$(grown "$line") || exit 1
                renamed "$line"
                ;;
            later*', name="PERSIST"'*) grown "$line" || exit 1 ;;
            first*', name="STATE"'* | first*', name="UKI-'[AB]'"'* | first*', name="ROOT-'[AB]'"'*) renamed "$line" ;;
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
persist=$(echo "$table" | grep ', name="PERSIST"' || :)
how=later
case $persist in
    '') fail "no partition of the table is called PERSIST (is the disk smaller than its image?)" ;;
    *"
"*) fail "several partitions of the table are called PERSIST" ;;
    *GUID:48*) how=first ;;
esac
new=$(echo "$table" | changed "$how")
if [ "$how" = later ]; then
    case $warnings in *'primary GPT table is corrupt'*) ;; *)
        [ "$(field size "$(grown "$persist")")" != "$(field size "$persist")" ] || exit 0
        ;;
    esac
fi
write_table "$new"
[ ! -b "$disk" ] || reread
