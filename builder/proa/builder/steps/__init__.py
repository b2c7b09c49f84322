"""The steps of a build, one file each; ``proa.builder.engine.context`` says what a step is.

What lies in each step's output folder:

======== ========================================================================================================
packages ``base.tar`` (the tree as the packages leave it, with dracut and without initrd), ``packages.json``,
         ``hooked.json`` (files that hooks left in it), ``passwd`` and ``group`` (of that tree),
         ``kernel/vmlinuz``, ``kernel/version`` (one line), ``kernel/modules``
         (a path on each line, built-in ones too), ``boot/`` (the
         packages of the boot chain unpacked: ``boot/usr/lib/grub/x86_64-efi``, ``boot/usr/lib/shim``,
         ``boot/usr/lib/systemd/boot/efi`` ...)
software ``site/`` (the agent's Python packages from wheels), ``wheels.json``
root     ``root.erofs``, ``root.json`` (size, accounts: what belongs into proa.users.lock), ``contents.json`` (the
         packages, and the files that the configuration and hooks brought), ``early.tar`` (what the initrd takes of it)
verity   ``root.tree``, ``verity.json`` (root_hash, salt, data_blocks, hash_offset, tree_size)
sbom     ``sbom.spdx.json``, ``sbom.cdx.json``
provenance ``provenance.json`` (the predicate)
early    ``early.tar``
initrd   ``initrd.img``
uki      ``uki.efi``, ``boot.img`` (the image of ``UKI-x``)
loader   ``BOOTX64.EFI`` (shim), ``grubx64.efi``
esp      ``esp.img``
fit      ``fit.json`` (headroom)
disk     ``disk.raw``
release  ``release/`` (an OCI layout), ``release.json`` (the release document)
======== ========================================================================================================
"""
