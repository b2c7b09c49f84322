#!/bin/bash
# dracut module 99proa: all that the initrd of a Proa node needs besides systemd and udev.
# $initdir, $systemdsystemunitdir and $moddir are dracut's.

check() {
    require_binaries sfdisk e2fsck resize2fs veritysetup dmsetup blkid || return 1
    return 255
}

depends() {
    echo "systemd systemd-initrd udev-rules"
}

installkernel() {
    local drivers
    # shellcheck disable=SC2154 # dracut's
    mapfile -t drivers < <("$moddir/proa-drivers.sh" "$moddir/drivers.list" "$srcmods")
    hostonly='' instmods -s "${drivers[@]}"
}

install() {
    local file
    inst_multiple sh basename basenc cat cp cut dd env grep head ln mkdir mount mountpoint mv od rm sed sha256sum sleep \
        sync tail timeout tr umount uname blockdev sfdisk e2fsck resize2fs veritysetup dmsetup udevadm modprobe systemctl
    inst_simple "$moddir/trial.conf" /usr/lib/proa/initrd/trial.conf
    inst_rules 55-dm.rules 60-persistent-storage-dm.rules 95-dm-notify.rules
    inst_libdir_file "libgcc_s.so*"
    # Options and blacklists: a driver that is loaded here is not loaded again.
    inst_multiple -o /etc/modprobe.d/*.conf /usr/local/lib/modprobe.d/*.conf /usr/lib/modprobe.d/*.conf

    if [ -e "$moddir/encryption-setup.sh" ]; then
        # shellcheck source=encryption-setup.sh
        . "$moddir/encryption-setup.sh"
    fi

    # systemd takes itself to be in an initrd only where this file is.
    inst_simple /usr/lib/os-release /usr/lib/initrd-release
    ln -sf ../usr/lib/initrd-release "$initdir/etc/initrd-release"

    for file in common slot check persist ended fail state grow credentials modest; do
        inst_simple "$moddir/proa-$file.sh" "/usr/lib/proa/initrd/proa-$file.sh"
    done
    inst_simple "$moddir/credentials" /usr/lib/proa/initrd/credentials
    for file in "$moddir"/*.service "$moddir"/*.timer; do
        inst_simple "$file" "$systemdsystemunitdir/${file##*/}"
    done
    # The device of the root is there once proa-slot.service is done; that one has the time limit.
    mkdir -p "$initdir$systemdsystemunitdir/dev-mapper-proa\\x2droot.device.d"
    printf '[Unit]\nJobRunningTimeoutSec=1h\n' \
        >"$initdir$systemdsystemunitdir/dev-mapper-proa\\x2droot.device.d/50-proa.conf"
    # No shell waits for a person in here: both targets lead to the same way out.
    for file in emergency rescue; do
        rm -f "$initdir$systemdsystemunitdir/$file.service"
        # With its time: files that are alike become one if their times are the same (hardlink(1)), which dracut calls.
        cp -p "$moddir/proa-fail.target" "$initdir$systemdsystemunitdir/$file.target"
    done
    $SYSTEMCTL -q --root "$initdir" enable proa-credentials.service proa-slot.service proa-persist.service
    $SYSTEMCTL -q --root "$initdir" set-default initrd.target

    # Only root can make these, and the kernel makes its own before anything runs.
    rm -f "$initdir"/dev/{console,kmsg,null,random,urandom}

    # Nothing here looks for a disk by what its content says, so nobody's disk is read for that.
    # shellcheck disable=SC2154 # dracut's
    rm -f "$initdir${udevdir:-/usr/lib/udev}/rules.d/60-persistent-storage.rules"

    # What dracut's modules bring along and nothing here uses.
    rm -f "$initdir$systemdutildir"/system-generators/systemd-{gpt-auto,debug}-generator \
        "$initdir$systemdutildir"/systemd-{coredump,volatile-root,vconsole-setup} \
        "$initdir$systemdsystemunitdir"/debug-shell.service
    # A volatile root would hide a broken one, an early shell would wait for ever.
    rm -f "$initdir"/usr/bin/systemd-ask-password "$initdir"/usr/bin/systemd-tty-ask-password-agent \
        "$initdir$systemdsystemunitdir"/sysinit.target.wants/systemd-ask-password-console.path
}
