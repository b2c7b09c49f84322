"""Identities: what a package draws at random when it is installed, and what must differ from node to node.

Drawn on the building machine it would be the same on every node, and published with the release. What is known is
taken out and made again by the node itself, at its first boot with the package, be it a file, a database or a password
in the midst of settings; what is not known and looks like a private key or a host's name fails the build.
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
        path: The file, or the folder of a database.
        make: The shell command that makes it anew in ``$new``; or in its own places, if it does not say ``$new``.
        mode: The mode of the file.
        owner: Its owner.
        drawn: What in the file is drawn, a regular expression with one group; all of it if empty.
    """

    package: str
    path: str
    make: str
    mode: str = "0600"
    owner: str = "root:root"
    drawn: str = ""

    @property
    def template(self) -> str:
        """Where a release has the rest of a file of which only a part is drawn."""
        return f"/usr/share/proa/identities{self.path}"


_DRAWN: Final = "@drawn-by-the-node@"
_REDRAW: Final = f"""awk -v draw='head -c 24 /dev/urandom | base64 | tr +/ -_' \\
    '{{ while (sub(/{_DRAWN}/, "\\001")) {{ draw | getline word; close(draw); sub(/\\001/, word) }} print }}' \\
    "/usr/share/proa/identities$path" >"$new\""""
_MARIADB: Final = """\
install -d -o mysql -g mysql -m 0755 "$new" && mariadb-install-db --no-defaults --user=mysql \
    --datadir="$new" --auth-root-authentication-method=socket --skip-test-db --skip-name-resolve >/dev/null \
    && sync -f "$new\""""
_POSTGRESQL: Final = """\
install -d -o postgres -g postgres -m 0700 "$new" \
    && (cd / && setpriv --reuid=postgres --regid=postgres --clear-groups /usr/lib/postgresql/{0}/bin/initdb -D "$new" \
    --auth-local=peer --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-instructions >/dev/null) \
    && sync -f "$new\""""
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
    Identity("mariadb-server", "/var/lib/mysql", _MARIADB, "0755", "mysql:mysql"),
    *(
        Identity(
            f"postgresql-{version}",
            f"/var/lib/postgresql/{version}/main",
            _POSTGRESQL.format(version),
            "0700",
            "postgres:postgres",
        )
        for version in (15, 17)
    ),
    Identity("bacula-fd", "/etc/bacula/bacula-fd.conf", _REDRAW, "0640", "root:bacula", drawn=r'Password = "([^"]+)"'),
)
"""Every identity that is known."""
_SHARED: Final[Mapping[str, tuple[str, str]]] = {
    "/etc/ldap/slapd.d/cn=config.ldif": (
        "slapd's configuration holds a password that nobody knows, the same on every node",
        "List your own /etc/ldap/slapd.d as [[file]], or remove it and /var/lib/ldap in a tree-after hook and make "
        "both on the node.",
    ),
    **{
        f"/etc/bacula/{name}.conf": (
            "it holds passwords that several daemons share, the same on every node and public with the release",
            "List your own file as [[file]].",
        )
        for name in ("bacula-dir", "bacula-sd", "bconsole")
    },
}
"""Files that no node can make for itself: what is wrong with them, and what to do."""
_LEFTOVERS: Final = ("/etc/bacula/common_default_passwords",)
"""What was drawn for packages that might be installed later, which happens on no node."""
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
    for path in _LEFTOVERS:
        tree.remove(path)
    found = [one for one in KNOWN if tree.exists(one.path) and not _is_given(tree, one, origins)]
    for one in found:
        if one.drawn:
            tree.write(one.template, _without(re.compile(one.drawn), tree.read(one.path)))
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
        lines.append(f'if [ ! -s {path} ]; then\n  path={path} new={path}.new\n  rm -rf "$new"\n')
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
    found = [
        ProaError(Code.PACKAGES, what, at=path, hint=hint)
        for path, (what, hint) in _SHARED.items()
        if tree.exists(path) and not _is_meant(path, origins)
    ]
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


def _is_given(tree: Tree, identity: Identity, origins: Mapping[str, str]) -> bool:
    """Whether the configuration gives it; a database is given as well by a hook that writes in it."""
    if tree.path(identity.path).is_dir():
        return any(name.startswith(f"{identity.path}/") for name in origins)
    return _is_meant(identity.path, origins)


def _without(secret: re.Pattern[str], text: str) -> str:
    """A text with a mark in place of every secret."""
    return secret.sub(lambda match: match[0].replace(match[1], _DRAWN), text)


def _is_meant(path: str, origins: Mapping[str, str]) -> bool:
    return origins.get(path, "").startswith("file ")


def _remove_links(tree: Tree, path: str) -> None:
    """Links beside a file that lead to it, as openssl's by hash do."""
    folder, _, name = path.rpartition("/")
    for link in list(tree.path(folder).iterdir()):
        if link.is_symlink() and link.readlink().name == name:
            link.unlink()
