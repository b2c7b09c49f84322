"""``files``: small text files at paths that the release signs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from proa.core.settings.model import Base, Key, Model, Never, Part, Refusal
from proa.core.settings.values import Lines

_PATH: Final = re.compile(r"/etc(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,63}){1,6}")
_CODE: Final = "programs run code, or trust people, by what is there"
_PLACES: Final = """
    acpi adduser.* adjtime alternatives anacrontab ansible apm apparmor apparmor.d apt at.allow at.deny audisp audit
    auto.* autofs.* avahi bash.* binfmt.d bird blkid.* bluetooth bonding ca-certificates.* calico chrony.keys cifs-*
    cilium clevis cloud cni conman conntrackd console-setup consul containerd containers corosync cri-o crictl.*
    crio cron.* crontab cryptsetup* crypttab csh.* dbus-1 dconf ddclient* debconf.* debuginfod default deluser.*
    depmod.d dhcp dhcpcd.* discover* dkms dnsmasq* doas.* docker dpkg dracut.* emacs environment environment.d etcd
    ethertypes exim4 exports.* fail2ban falco firewalld flannel fluent-bit fonts frr fstab ftp* fuse.* fwupd
    gai.conf gitconfig gnupg gnutls group.* grub.* gshadow.* gss haproxy hostname hosts.allow hosts.deny hosts.equiv
    idmapd.* ifplugd incus inetd.* init init.d initramfs-tools inittab inputrc insserv* integritytab ipmi* iproute2
    ipsec.* iptables iscsi java-* k0s k3s kdump* keepalived kernel kexec* keyutils krb5.* kubernetes ld-* ld.so.*
    ldap lib* libvirt lightdm locale.* logcheck login.* logrotate.* lvm lxc lxd lynx machine* machine-id
    machine-info magic mail* mandb* mdadm* mke2fs.* modprobe.* modules modules-load.d mtab multipath* munge mysql
    nanorc needrestart net-snmp netconfig netns netplan network networkd-dispatcher NetworkManager networks newt
    nfs* nftables.* nix node-problem-detector nologin nova nslcd.* nsswitch.* nut nvidia-* nvme ocfs2 odbc* openmpi
    openvpn openvswitch opt os-release overlayroot.* pacemaker pam.* passwd.* pcmcia perl pki pm podman polkit-1
    postfix postgresql* ppp printcap proa profile profile.d prometheus protocols python* qemu qemu-ga rancher rc.*
    request-key.* resolv* rke2 rmt rpc rpc* rpm rsyncd.* rsyslog.* runit salt samba sane.d screenrc securetty
    security selinux sensors.d services shadow.* shells skel smartd.* smartmontools snmp ssh ssl sssd stunnel*
    subgid.* subuid.* sudo.* sudo_* sudoers sudoers.d supervisor* sv swanctl sysconfig sysctl.* syslog-ng* sysstat
    system-release* systemd sysusers.d tcsd.* terminfo tmpfiles.d tor tuned udev udisks2 ufw uki update-* updatedb.*
    vault vconsole.* veritytab vim* virc virtualbox vmware-tools wgetrc wireguard wpa_supplicant X11 xattr.* xdg xen
    xinetd.* zabbix* zfs zsh.*
"""
"""Folders and files below /etc; ``*`` stands for any ending, ``.*`` for any ending behind a dot or none."""
_PARTS: Final = (
    r"\.?hooks?(?:\.d)?",
    r"[^/]*(?:dispatch(?:er)?|scripts?|plugins?|modules?|handlers?|helpers?|triggers?|checks?|actions?)(?:\.d)?",
    r"if-[^/]*\.d|s?bin|lib(?:exec)?(?:32|64)?|rc[0-9S]?\.d|[^/]*\.(?:service|timer|socket|path|mount|target)\.d",
    r"credentials?|keys?|private|secrets?|authorized_keys[^/]*",
)
"""Names of folders, anywhere below /etc, whose files programs run or trust."""
_ENDINGS: Final = (
    *("sh", "bash", "py", "pl", "rb", "lua", "js", "so", "ko", "o", "a", "exe", "efi", "jar", "awk", "el"),
    *("service", "timer", "socket", "path", "mount", "automount", "target", "slice", "swap", "rules", "hook"),
    *("key", "pem", "crt", "cer", "p12", "pfx", "gpg", "asc", "list", "sources", "repo", "desktop", "policy", "te"),
)
"""Endings of files that programs run or trust."""


def _names() -> str:
    known = (re.escape(one).replace(r"\.\*", r"(?:[.-][^/]*)?").replace(r"\*", "[^/]*") for one in _PLACES.split())
    return "|".join(known)


NEVER: Final = (
    Never(f"/etc/(?:{_names()})(?:/.*)?", _CODE),
    Never(f"/etc/(?:.*/)?(?:{'|'.join(_PARTS)})(?:/.*)?", _CODE),
    Never(rf"/etc/.*\.(?:{'|'.join(_ENDINGS)})", _CODE),
)


def place(path: str) -> str:
    """Where a file's content lies below the generation's folder."""
    return "files" + path


def _render(part: Part, _: Base) -> Mapping[str, str]:
    return {place(path): part[path] for path in sorted(part)}


def _together(part: Part) -> list[Refusal]:
    """A path cannot be a file and a folder."""
    return [
        Refusal(f"files.{path}", f"{above} is a file in the same document, not a folder")
        for path in sorted(part)
        for above in sorted(part)
        if path.startswith(f"{above}/")
    ]


def _open_key(name: str) -> Key | None:
    return Key(Lines(), "a text file") if _PATH.fullmatch(name) else None


FILES: Final = Model(
    "files",
    "Text files below `/etc`, at paths that the release lists; owner root, mode 0644.",
    {},
    _render,
    NEVER,
    _together,
    open_key=_open_key,
    open_kind=Lines(),
)
