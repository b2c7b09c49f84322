"""Groups of kernel modules that a root leaves out, as patterns below the kernel's folder.

A server is a machine in a rack or a virtual machine; what it never has is left out. No group leaves out a module that
one of the modules needs which stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final


def _below(folder: str, names: str) -> Iterator[str]:
    return (f"kernel/{folder}/{name}" for name in names.split())


_SERVER: Final = (
    "kernel/sound",
    "kernel/lib/test*",
    *_below(
        "drivers", "accessibility android atm bluetooth comedi gnss greybus iio isdn media memstick mtd nfc pcmcia"
    ),
    *_below("drivers", "soundwire ssb staging thunderbolt w1"),
    *_below("drivers/gpu/drm", "amd gma500 i915 nouveau panel radeon xe"),
    *_below("drivers/hid", "amd-sfh-hid hid-[!ghms]* intel-ish-hid surface-hid"),
    *_below("drivers/input", "joystick tablet touchscreen"),
    *_below("drivers/platform", "chrome surface"),
    *_below("drivers/usb", "atm gadget image"),
    *_below("drivers/video/fbdev", "aty geode i810 intelfb kyro matrox nvidia riva savage sis via"),
    *_below("drivers/net", "arcnet can fddi hamradio ieee802154 plip slip thunderbolt* wan wireless wwan"),
    *_below("drivers/net/ethernet", "3com adaptec agere alteon dlink fealnx.ko* fujitsu natsemi neterion"),
    *_below("drivers/net/ethernet", "packetengines rdc silan sis sun tehuti via xircom"),
    *_below(
        "fs", "adfs affs befs bfs coda efs freevxfs hfs hfsplus hpfs jffs2 jfs minix nilfs2 omfs qnx4 qnx6 reiserfs"
    ),
    *_below("fs", "romfs sysv ubifs ufs"),
    *_below(
        "net", "6lowpan appletalk atm ax25 batman-adv bluetooth caif can ieee802154 lapb mac80211 mac802154 netrom"
    ),
    *_below("net", "nfc phonet rose wireless x25"),
)
_HARDWARE: Final = (
    *_below("drivers", "edac hwmon mmc platform ufs"),
    *_below("drivers/infiniband", "hw/[!em]*"),
    *_below("drivers/scsi", "aacraid aic7xxx aic94xx arcmsr be2iscsi bfa bnx2fc bnx2i csiostor cxgbi elx esas2r fnic"),
    *_below(
        "drivers/scsi", "hpsa.ko* hptiop.ko* ips.ko* isci lpfc mpi3mr mvsas mvumi.ko* myrb.ko* myrs.ko* pm8001 qedf"
    ),
    *_below("drivers/scsi", "qedi qla2xxx qla4xxx smartpqi snic stex.ko*"),
    *_below("drivers/net/ethernet", "aquantia atheros brocade cavium chelsio cisco emulex marvell micrel microchip"),
    *_below("drivers/net/ethernet", "myricom netronome qlogic sfc smsc stmicro ti"),
)
EXCLUDED: Final[Mapping[str, tuple[str, ...]]] = {"server": _SERVER, "virtual": (*_SERVER, *_HARDWARE), "all": ()}
"""What each group of ``kernel.drivers`` leaves out. Kernels differ, so that a pattern may fit nothing."""
