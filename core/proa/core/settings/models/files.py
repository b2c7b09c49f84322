"""``files``: small text files at paths that the release signs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from proa.core.settings.model import Base, Key, Model, Never, Part
from proa.core.settings.values import Lines

_PATH: Final = re.compile(r"/etc(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,63}){1,6}")
_CODE: Final = "programs run code, or trust people, by what is there"
_PLACES: Final = """
    systemd udev modprobe.d modules modules-load.d pam.* security sudoers sudoers.d ssh ld.so.* tmpfiles.d
    sysusers.d sysctl.* cron.* crontab anacrontab cni kubernetes containerd docker crictl.* proa profile
    profile.d bash.* environment environment.d default init.d rc.* network networkd-dispatcher dbus-1 polkit-1
    apt dpkg ca-certificates.* ssl pki passwd.* shadow.* group.* gshadow.* subuid.* subgid.* shells fstab
    crypttab machine-id hostname hosts.equiv nsswitch.conf xdg skel alternatives initramfs-tools dracut.*
    grub.* kernel audit logrotate.* rsyslog.* update-motd.d opt binfmt.d iscsi adjtime login.defs inittab
    inputrc zsh.* csh.* python.* perl
"""
"""Folders and files below /etc; ``.*`` stands for any ending."""
_NAMES: Final = "|".join(re.escape(one).replace(r"\.\*", "[^/]*") for one in _PLACES.split())
NEVER: Final = (Never(f"/etc/(?:{_NAMES})(?:/.*)?", _CODE),)


def place(path: str) -> str:
    """Where a file's content lies below the generation's folder."""
    return "files" + path


def _render(part: Part, _: Base) -> Mapping[str, str]:
    return {place(path): part[path] for path in sorted(part)}


def _open_key(name: str) -> Key | None:
    return Key(Lines(), "a text file") if _PATH.fullmatch(name) else None


FILES: Final = Model(
    "files",
    "Text files below `/etc`, at paths that the release lists; owner root, mode 0644.",
    {},
    _render,
    NEVER,
    open_key=_open_key,
)
