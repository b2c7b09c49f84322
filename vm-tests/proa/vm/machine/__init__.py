"""Virtual machines: firmware, QEMU, console, SSH."""
