"""Boot disks in QEMU, cut the power, read the console: the machine that tests and rehearsals drive."""
