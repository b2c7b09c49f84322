#!/bin/sh
# Runs in a room of its own, as root there: makes the initrd by the dracut of the target's own packages.
#   $1 base.tar   $2 folder for the tree   $3 our dracut module   $4 kernel version   $5 the initrd, as a new file
#   $6 early.tar: what the initrd takes of the finished root
set -eu
base=$1 tree=$2 module=$3 kernel=$4 out=$5 early=$6

mkdir "$tree"
tar -x -C "$tree" --exclude='./dev/*' --exclude='./usr/share/[!d]*' --exclude='./usr/include' --exclude='./var/*' \
    --exclude='./usr/lib/python3*' --exclude='./usr/lib/modules/*/kernel/sound' \
    --exclude='./usr/lib/modules/*/kernel/drivers/gpu' --exclude='./usr/lib/modules/*/kernel/drivers/media' \
    --exclude='./usr/lib/modules/*/kernel/drivers/net' -f "$base"
rm -rf "$tree/etc/modprobe.d" "$tree/usr/lib/modprobe.d" "$tree/usr/local/lib/modprobe.d"
tar -x -C "$tree" --keep-directory-symlink --no-same-owner -f "$early"
mkdir -p "$tree/var/tmp" "$tree/dev" "$tree/proc" "$tree/run" "$tree/tmp"
mount -t tmpfs -o mode=755 tmpfs "$tree/run"
mount --rbind /dev "$tree/dev"
mount --rbind /proc "$tree/proc"

# Drivers that were added are known from here on.
if tar -tf "$early" | grep -q "^[.]/usr/lib/modules/"; then chroot "$tree" depmod "$kernel"; fi

# dracut takes modules from one folder only: the suite's own beside ours.
mkdir -p "$tree/run/dracut/modules.d" "$tree/run/dracut/conf.d"
for path in "$tree"/usr/lib/dracut/*; do
    [ "${path##*/}" = modules.d ] || ln -s "/usr/lib/dracut/${path##*/}" "$tree/run/dracut/"
done
for path in "$tree"/usr/lib/dracut/modules.d/*; do
    ln -s "/usr/lib/dracut/modules.d/${path##*/}" "$tree/run/dracut/modules.d/"
done
# The last one: it takes away what others have put there.
cp -r "$module" "$tree/run/dracut/modules.d/99proa"
# dracut gives all files of the initrd the time of the link (touch -h -r), which was made just now.
find "$tree/run/dracut" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

# What mends the processor comes first in the initrd, where its package is installed (kernel, arch/x86/microcode).
microcode=--no-early-microcode
for path in "$tree"/usr/lib/firmware/*-ucode; do
    [ ! -d "$path" ] || microcode=--early-microcode
done

chroot "$tree" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TZ=UTC \
    SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" dracutbasedir=/run/dracut \
    dracut --force --quiet --no-hostonly --no-hostonly-cmdline --no-hostonly-i18n "$microcode" --nostrip \
    --reproducible --compress 'zstd -12 -T0' --conf /dev/null --confdir /run/dracut/conf.d --tmpdir /tmp \
    --modules 'systemd systemd-initrd udev-rules proa' --kver "$kernel" /tmp/initrd.img
# The mounts go with the room; the tree is in a folder that is taken away.
cp "$tree/tmp/initrd.img" "$out"
