"""What the groups of drivers leave out: never what a server or a virtual machine boots and is reached by."""

from __future__ import annotations

import fnmatch
from pathlib import PurePosixPath

import pytest

from proa.builder.config.drivers import EXCLUDED

EVERYWHERE = """
drivers/ata/ahci.ko drivers/block/virtio_blk.ko drivers/block/xen-blkfront.ko drivers/gpu/drm/ast/ast.ko
drivers/gpu/drm/bochs.ko drivers/gpu/drm/tiny/bochs.ko drivers/gpu/drm/virtio/virtio-gpu.ko drivers/char/tpm/tpm_crb.ko
drivers/gpu/drm/hyperv/hyperv_drm.ko drivers/gpu/drm/vmwgfx/vmwgfx.ko drivers/hid/hid-generic.ko drivers/hid/hid.ko
drivers/hid/hid-hyperv.ko drivers/hid/usbhid/usbhid.ko drivers/hv/hv_vmbus.ko drivers/input/serio/hyperv-keyboard.ko
drivers/md/dm-mod.ko drivers/md/raid1.ko drivers/message/fusion/mptspi.ko drivers/net/bonding/bonding.ko
drivers/net/ethernet/amazon/ena/ena.ko drivers/net/ethernet/amd/pcnet32.ko drivers/net/ethernet/dec/tulip/tulip.ko
drivers/net/ethernet/google/gve/gve.ko drivers/net/ethernet/intel/e1000/e1000.ko drivers/net/ethernet/intel/igb/igb.ko
drivers/net/ethernet/intel/iavf/iavf.ko drivers/net/ethernet/microsoft/mana/mana.ko drivers/net/hyperv/hv_netvsc.ko
drivers/net/ethernet/mellanox/mlx5/core/mlx5_core.ko drivers/net/ethernet/realtek/8139cp.ko drivers/net/vxlan/vxlan.ko
drivers/net/ethernet/realtek/r8169.ko drivers/net/virtio_net.ko drivers/net/vmxnet3/vmxnet3.ko drivers/net/tun.ko
drivers/net/wireguard/wireguard.ko drivers/net/veth.ko drivers/net/xen-netfront.ko drivers/nvme/host/nvme.ko
drivers/infiniband/hw/mlx5/mlx5_ib.ko drivers/infiniband/hw/efa/efa.ko drivers/scsi/hv_storvsc.ko drivers/scsi/sd_mod.ko
drivers/scsi/megaraid/megaraid_sas.ko drivers/scsi/mpt3sas/mpt3sas.ko drivers/scsi/virtio_scsi.ko
drivers/scsi/vmw_pvscsi.ko drivers/target/target_core_mod.ko drivers/usb/storage/uas.ko drivers/usb/host/xhci-pci.ko
drivers/vfio/pci/vfio-pci.ko drivers/vhost/vhost_net.ko drivers/virtio/virtio_balloon.ko drivers/watchdog/i6300esb.ko
fs/btrfs/btrfs.ko fs/ceph/ceph.ko fs/ext4/ext4.ko fs/fat/vfat.ko fs/fuse/fuse.ko fs/nfs/nfsv4.ko fs/overlayfs/overlay.ko
fs/smb/client/cifs.ko fs/xfs/xfs.ko fs/9p/9p.ko fs/erofs/erofs.ko net/8021q/8021q.ko net/bridge/br_netfilter.ko
net/ceph/libceph.ko net/ipv4/netfilter/ip_tables.ko net/netfilter/nf_tables.ko net/netfilter/ipvs/ip_vs.ko
net/openvswitch/openvswitch.ko net/sched/cls_bpf.ko net/sctp/sctp.ko net/tls/tls.ko net/vmw_vsock/vsock.ko
drivers/rapidio/rapidio.ko crypto/sha256_generic.ko lib/libcrc32c.ko arch/x86/kvm/kvm-intel.ko
"""
ON_SERVERS = """
drivers/net/ethernet/broadcom/bnxt/bnxt_en.ko drivers/net/ethernet/qlogic/qede/qede.ko drivers/scsi/lpfc/lpfc.ko
drivers/net/ethernet/chelsio/cxgb4/cxgb4.ko drivers/net/ethernet/sfc/sfc.ko drivers/scsi/aacraid/aacraid.ko
drivers/scsi/hpsa.ko drivers/scsi/mpi3mr/mpi3mr.ko drivers/scsi/qla2xxx/qla2xxx.ko drivers/scsi/smartpqi/smartpqi.ko
drivers/edac/skx_edac.ko drivers/hwmon/coretemp.ko drivers/infiniband/hw/irdma/irdma.ko drivers/mmc/host/sdhci-pci.ko
drivers/platform/x86/dell/dcdbas.ko drivers/char/ipmi/ipmi_si.ko drivers/net/ethernet/marvell/sky2.ko
"""
NOWHERE = """
sound/core/snd.ko drivers/media/cec/core/cec.ko drivers/gpu/drm/amd/amdgpu/amdgpu.ko drivers/iio/industrialio.ko
drivers/net/wireless/intel/iwlwifi/iwlwifi.ko drivers/bluetooth/btusb.ko drivers/input/joystick/xpad.ko fs/jfs/jfs.ko
drivers/hid/hid-apple.ko drivers/comedi/comedi.ko net/mac80211/mac80211.ko drivers/net/ethernet/fealnx.ko.xz
lib/test_bpf.ko drivers/net/thunderbolt-net.ko drivers/net/thunderbolt/thunderbolt_net.ko
drivers/thunderbolt/thunderbolt.ko
"""


def left_out(name: str, group: str) -> bool:
    path = PurePosixPath("kernel", name)
    return any(fnmatch.fnmatchcase(str(one), pattern) for one in (path, *path.parents) for pattern in EXCLUDED[group])


@pytest.mark.parametrize("name", EVERYWHERE.split())
def test_what_every_machine_may_need_is_in_every_group(name: str) -> None:
    assert not any(left_out(name, group) for group in EXCLUDED)


@pytest.mark.parametrize("name", ON_SERVERS.split())
def test_hardware_is_only_left_out_for_virtual_machines(name: str) -> None:
    assert not left_out(name, "server")
    assert left_out(name, "virtual") or "ipmi" in name or "broadcom" in name


@pytest.mark.parametrize("name", NOWHERE.split())
def test_what_no_server_has_is_left_out(name: str) -> None:
    assert [left_out(name, group) for group in ("server", "virtual", "all")] == [True, True, False]


def test_a_virtual_machine_has_no_more_than_a_server() -> None:
    assert set(EXCLUDED["server"]) < set(EXCLUDED["virtual"])
    assert all(pattern.startswith("kernel/") for pattern in EXCLUDED["virtual"])
    assert all(len(set(patterns)) == len(patterns) for patterns in EXCLUDED.values())
