#!/bin/bash
# What an initrd needs besides to make and open an encrypted PERSIST; module-setup.sh reads it in. dracut's own module
# for it is not taken: it wants the programs of tpm2-tools. systemd opens its libraries only when it needs them.
inst_multiple chmod cryptsetup mke2fs stty systemd-cryptenroll "$systemdutildir/systemd-cryptsetup" /etc/mke2fs.conf
inst_multiple -o "$systemdutildir/systemd-pcrphase" "$systemdutildir/systemd-pcrextend"
inst_libdir_file "libtss2-esys.so*" "libtss2-sys.so*" "libtss2-mu.so*" "libtss2-rc.so*" "libtss2-tcti-device.so*"
inst_simple "$moddir/proa-crypt.sh" /usr/lib/proa/initrd/proa-crypt.sh
