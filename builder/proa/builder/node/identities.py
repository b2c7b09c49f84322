"""Identities: what a package draws at random when it is installed, and what must differ from node to node.

Drawn on the building machine it would be the same on every node, and published with the release. What is known is
taken out and made again by the node itself, at its first boot with the package; what is not known and looks like a
private key or a host's name fails the build.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from proa.builder.node.tree import Tree
from proa.builder.node.units import FOLDER, enable
from proa.core.runtime.errors import Code, ProaError, ProaErrors

SCRIPT: Final = "/usr/lib/proa/identities"
UNIT: Final = "proa-identities.service"


@dataclass(frozen=True)
class Identity:
    """One identity.

    Attributes:
        package: Who draws it.
        path: The file.
        make: The shell command that makes it anew in ``$new``; or in its own places, if it does not say ``$new``.
        mode: The mode of the file.
        owner: Its owner.
    """

    package: str
    path: str
    make: str
    mode: str = "0600"
    owner: str = "root:root"


_UNBOUND: Final = "unbound-control-setup"
_SNAKEOIL: Final = "make-ssl-cert generate-default-snakeoil --force-overwrite"
_RANDOM: Final = "head -c {} /dev/urandom"
_COOKIE: Final = "/var/lib/rabbitmq/.erlang.cookie"
KNOWN: Final = (
    Identity("open-iscsi", "/etc/iscsi/initiatorname.iscsi", 'echo "InitiatorName=$(iscsi-iname)" >"$new"'),
    Identity("nvme-cli", "/etc/nvme/hostnqn", 'nvme gen-hostnqn >"$new"', "0644"),
    Identity("nvme-cli", "/etc/nvme/hostid", 'sed "s/.*uuid://" /etc/nvme/hostnqn >"$new"', "0644"),
    Identity("munge", "/etc/munge/munge.key", 'mungekey --create --keyfile="$new"', "0400", "munge:munge"),
    Identity("bind9", "/etc/bind/rndc.key", 'rndc-confgen -a -q -c "$new"', "0640", "bind:bind"),
    Identity("ssl-cert", "/etc/ssl/private/ssl-cert-snakeoil.key", _SNAKEOIL, "0640", "root:ssl-cert"),
    Identity("ssl-cert", "/etc/ssl/certs/ssl-cert-snakeoil.pem", _SNAKEOIL, "0644"),
    Identity("unbound", "/etc/unbound/unbound_server.key", _UNBOUND, "0640", "root:unbound"),
    Identity("unbound", "/etc/unbound/unbound_server.pem", _UNBOUND, "0640", "root:unbound"),
    Identity("unbound", "/etc/unbound/unbound_control.key", _UNBOUND, "0640", "root:unbound"),
    Identity("unbound", "/etc/unbound/unbound_control.pem", _UNBOUND, "0640", "root:unbound"),
    *(
        Identity("dropbear", f"/etc/dropbear/dropbear_{kind}_host_key", f'dropbearkey -t {kind} -f "$new"')
        for kind in ("rsa", "ecdsa", "ed25519")
    ),
    Identity("pacemaker", "/etc/pacemaker/authkey", f'{_RANDOM.format(4096)} >"$new"', "0640", "root:haclient"),
    Identity("rabbitmq-server", _COOKIE, f'{_RANDOM.format(42)} | base64 >"$new"', "0400", "rabbitmq:rabbitmq"),
)
"""Every identity that is known."""
_PLACES: Final = ("/etc", "/var", "/root", "/home", "/opt", "/srv", "/usr/local")
_LARGEST: Final = 1 << 16
_UUID: Final = rb"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_SIGNS: Final = {
    "a private key": re.compile(
        rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----|\A\0\0\0[\x07-\x1f](?:ssh-|ecdsa-sha2-)"  # dropbear's own form
    ),
    "a UUID": re.compile(rb"\A\s*(?:nqn\.\S*:)?(?:uuid:)?" + _UUID + rb"\s*\Z"),
    "the name of an iSCSI initiator": re.compile(rb"^InitiatorName=iqn\.", re.MULTILINE),
}
_HEAD: Final = """\
#!/bin/sh
# Makes what each node must have of its own; written by proa-build. What is there stays.
set -u
failed=0
"""
_TEXT: Final = f"""\
[Unit]
Description=Proa: the node's own identities
DefaultDependencies=no
After=local-fs.target systemd-tmpfiles-setup.service systemd-random-seed.service proa-provision.service
Before=sysinit.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={SCRIPT}
StandardOutput=journal+console

[Install]
WantedBy=sysinit.target
"""


def forget(tree: Tree, origins: Mapping[str, str]) -> list[Identity]:
    """Take known identities out of a tree and leave a unit that makes them anew; which ones.

    Args:
        tree: The tree.
        origins: Files that the configuration brought: those are meant, and stay.
    """
    found = [one for one in KNOWN if tree.exists(one.path) and not _is_meant(one.path, origins)]
    for one in found:
        tree.remove(one.path)
        _remove_links(tree, one.path)
    if found:
        tree.write(SCRIPT, script(found), 0o755)
        tree.write(f"{FOLDER}/{UNIT}", _TEXT)
        enable(tree, UNIT)
    return found


def script(identities: Iterable[Identity]) -> str:
    """The program that makes identities which are not there."""
    lines = [_HEAD]
    for one in identities:
        path = shlex.quote(one.path)
        lines.append(f'if [ ! -s {path} ]; then\n  path={path} new={path}.new\n  rm -f "$new"\n')
        if "$new" in one.make:
            own = f'chown {one.owner} "$new" && chmod {one.mode} "$new" && sync "$new" && mv "$new" "$path"'
            lines.append(f"  (umask 077 && {one.make}) && {own} && sync {_folder(one)} || failed=1\n")
        else:
            lines.append(f'  {one.make} && sync "$path" {_folder(one)} || failed=1\n')
        lines.append(f'  echo "$path: made for {one.package}"\nfi\n')
    return "".join([*lines, "exit $failed\n"])


def _folder(identity: Identity) -> str:
    return shlex.quote(posixpath.dirname(identity.path))


def check(tree: Tree, origins: Mapping[str, str]) -> None:
    """Look for identities that are not known.

    Args:
        tree: The tree, with its /var.
        origins: Files that the configuration brought: those are meant.

    Raises:
        ProaErrors: ``PACKAGES`` for each, with its path.
    """
    found = []
    for place in _PLACES:
        for inside, path in tree.files(place):
            if path.is_symlink() or not path.is_file() or _is_meant(inside, origins):
                continue
            data = path.read_bytes() if path.stat().st_size <= _LARGEST else b""
            what = next((name for name, sign in _SIGNS.items() if sign.search(data)), "")
            if what:
                found.append(_refusal(inside, what))
    if found:
        raise ProaErrors(found)


def _refusal(inside: str, what: str) -> ProaError:
    return ProaError(
        Code.PACKAGES,
        f"it holds {what}, which would be the same on every node and public with the release",
        at=inside,
        hint="Remove it in a tree-after hook and make it on the node; list it as a [[file]] if all may share it.",
    )


def _is_meant(path: str, origins: Mapping[str, str]) -> bool:
    return origins.get(path, "").startswith("file ")


def _remove_links(tree: Tree, path: str) -> None:
    """Links beside a file that lead to it, as openssl's by hash do."""
    folder, _, name = path.rpartition("/")
    for link in list(tree.path(folder).iterdir()):
        if link.is_symlink() and link.readlink().name == name:
            link.unlink()
