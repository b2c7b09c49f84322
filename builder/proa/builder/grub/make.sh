#!/bin/sh
# Runs in a room of its own, as root there: makes an unsigned GRUB by the target suite's own grub-mkimage.
#   $1 base.tar   $2 packages of the boot chain, unpacked   $3 folder with memdisk.tar and sbat.csv, gets grub.efi
#   $4 GRUB's target   $5.. modules
set -eu
base=$1 boot=$2 work=$3 target=$4
shift 4
mount -t tmpfs -o mode=755 tmpfs /mnt
# The loader of programs and the libraries, wherever the architecture has them; nothing else of the system is needed.
tar -x -C /mnt --no-same-owner --wildcards --exclude='./usr/share' --exclude='./usr/bin' --exclude='./usr/sbin' \
    --exclude='./usr/include' --exclude='./usr/lib/modules' --exclude='./usr/lib/firmware' \
    --exclude='./usr/lib/python3*' --exclude='./boot' --exclude='./dev' --exclude='./etc' --exclude='./var' -f "$base"
mkdir -p /mnt/proa/boot /mnt/proa/work
mount --bind "$boot" /mnt/proa/boot
mount --bind "$work" /mnt/proa/work
chroot /mnt /proa/boot/usr/bin/grub-mkimage --directory="/proa/boot/usr/lib/grub/$target" --format="$target" \
    --prefix='(memdisk)/boot/grub' --memdisk=/proa/work/memdisk.tar --sbat=/proa/work/sbat.csv \
    --output=/proa/work/grub.efi "$@"
