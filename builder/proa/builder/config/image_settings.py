"""The settings of what is in an image: its release, system, packages, files, users, units and kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proa.builder.config.architecture import AMD64, ARCHITECTURES
from proa.builder.config.drivers import EXCLUDED
from proa.builder.config.kinds import Choice, Flag, Listing, Moment, Number, Text
from proa.builder.config.setting import setting
from proa.builder.config.vocabulary import (
    ABSOLUTE,
    ACCOUNT,
    ARGUMENT,
    CAPABILITIES,
    CREDENTIAL,
    GLOB,
    LOCAL,
    MODE,
    NAME,
    OWNER,
    PACKAGE,
    SHELL,
    SSH_KEY,
    SUITE,
    UNIT,
    URI,
    VERSION,
    WORD,
    XATTR,
)

SUITES: Final = ("bookworm", "trixie")


@dataclass(frozen=True)
class ReleaseConfig:
    """Which release this is."""

    name: str = setting(NAME, "The product line; releases with the same name follow one another.", example="my-node")
    version: str = setting(VERSION, "The release's label for people; `--version` overrides it.", "", example="1.0.0")
    serial: int = setting(
        Number(0, (1 << 53) - 1),
        "Orders the releases of a product line. Derived from a version X.Y.Z as X*1000000 + Y*1000 + Z if not set.",
        "",
        example=1000000,
    )
    floor: int = setting(
        Number(0, (1 << 53) - 1), "The lowest serial that a node may roll back to once it has booted this release.", 0
    )
    compatible: str = setting(
        NAME,
        "The kind of node that the release is for; the name of the product line if not set.",
        "",
        example="my-node",
    )
    architecture: str = setting(
        Choice(tuple(ARCHITECTURES)), "The processor architecture, as Debian names it.", AMD64.debian
    )
    expires: str = setting(
        Moment(), "When nodes stop installing the release; never if not set.", "", example="2030-01-01T00:00:00Z"
    )


@dataclass(frozen=True)
class SystemConfig:
    """What the system is made of."""

    distribution: str = setting(Choice(("debian",)), "The distribution.", "debian")
    suite: str = setting(Choice(SUITES), "The release of the distribution.", "bookworm")
    packages: tuple[str, ...] = setting(
        Listing(PACKAGE),
        "Packages besides those that every node needs: NAME, or NAME=VERSION, where `*` stands for any characters.",
        [],
        example=["openssh-server", "systemd-resolved", "systemd-timesyncd"],
    )
    recommends: bool = setting(Flag(), "Whether to install recommended packages too.", False)
    machine_sources: bool = setting(
        Flag(), "Whether to use the Debian sources of the building machine in addition to those of `[[source]]`.", False
    )
    debs: tuple[str, ...] = setting(
        Listing(LOCAL), "Folders with .deb files of your own, which may be installed too.", [], example=["debs"]
    )
    preseed: tuple[str, ...] = setting(
        Listing(LOCAL),
        "Files with answers to the questions of packages (debconf-set-selections(1)).",
        [],
        example=["preseed.txt"],
    )
    documentation: bool = setting(
        Flag(), "Whether the root has manual pages and documentation; copyright files are always there.", False
    )
    translations: tuple[str, ...] = setting(
        Listing(Text(r"[a-z]{2,3}(?:_[A-Z]{2})?(?:@[a-z]+)?", "a language such as de or pt_BR")),
        "Languages, besides English, in which the root has the messages of its programs.",
        [],
        example=["de"],
    )
    locale: str = setting(
        Text(r"[A-Za-z0-9_.@-]+", "the name of a locale"),
        "The system's locale; any other than C.UTF-8 needs the package `locales-all`.",
        "C.UTF-8",
    )
    timezone: str = setting(
        Text(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*", "a time zone"),
        "The time zone; any other than UTC needs the package `tzdata`.",
        "UTC",
    )
    hostname: str = setting(
        Text(r"[a-z0-9?](?:[a-z0-9?-]{0,62}[a-z0-9?])?", "a host name"),
        "The host name; each `?` becomes a hexadecimal digit of the machine id, so that nodes differ.",
        "node-????????",
    )
    credentials: tuple[str, ...] = setting(
        Listing(CREDENTIAL),
        "Credentials of systemd that a node accepts from its machine besides Proa's own; a `*` stands for anything. "
        "Those that carry code, such as `tmpfiles.extra`, make anyone who sets them root.",
        [],
        example=["tmpfiles.extra"],
    )


@dataclass(frozen=True)
class SourceConfig:
    """Where packages come from. Without any, the Debian sources of the building machine are used."""

    uri: str = setting(URI, "The mirror.", example="https://mirror.example.net/debian")
    suites: tuple[str, ...] = setting(
        Listing(SUITE, 1),
        "The suites; one that ends in `/` is the folder of a flat repository, such as `/`.",
        example=["bookworm", "bookworm-updates"],
    )
    components: tuple[str, ...] = setting(Listing(WORD, 1), "The components; flat repositories have none.", ["main"])
    signed_by: str = setting(
        LOCAL,
        "The keyring, binary or armored, that must have signed the mirror; the suite's Debian keys if not set.",
        "",
        example="keys/archive.gpg",
    )
    check_valid_until: bool = setting(
        Flag(), "Whether to refuse an index that has expired; false for a mirror of snapshots.", True
    )


@dataclass(frozen=True)
class File:
    """A file or folder that is added to the root."""

    path: str = setting(ABSOLUTE, "The path in the image.", example="/etc/motd")
    content: str | None = setting(
        Text(), "The content of the file. Give either this or `source`.", None, example="Welcome aboard.\n"
    )
    source: str = setting(LOCAL, "The file or folder to copy, with everything below it.", "", example="files/motd")
    mode: str = setting(
        MODE,
        "The mode, set-user-ID, set-group-ID and sticky bit included; for a folder, the mode of its files. 0755 for"
        " executable files and 0644 for others if not set.",
        "",
        example="0644",
    )
    owner: str = setting(OWNER, "Its owner.", "root:root")
    capabilities: str = setting(
        CAPABILITIES,
        "The capabilities that the file gives to those who run it; for a folder, those that each of its files gives.",
        "",
        example="cap_net_raw=ep",
    )
    xattrs: tuple[str, ...] = setting(
        Listing(XATTR),
        "Extended attributes in the namespace `user`, as NAME=VALUE; for a folder, of each of its files.",
        [],
        example=["user.owner=storage team"],
    )


@dataclass(frozen=True)
class User:
    """An account for a person or a service. Passwords are locked; there is no way to set one."""

    name: str = setting(ACCOUNT, "The account; name `root` to give it SSH keys.", example="admin")
    uid: int = setting(
        Number(0, 59999),
        "Its number; if not set, the next free one from 1000, in the order of the file.",
        "",
        example=1000,
    )
    groups: tuple[str, ...] = setting(
        Listing(ACCOUNT), "Groups that it belongs to besides its own.", [], example=["sudo"]
    )
    ssh_keys: tuple[str, ...] = setting(
        Listing(SSH_KEY),
        "SSH public keys that may log in.",
        [],
        example=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f admin"],
    )
    ssh_key_files: tuple[str, ...] = setting(
        Listing(LOCAL), "Files with SSH public keys that may log in.", [], example=["keys/admin.pub"]
    )
    shell: str = setting(SHELL, "Its shell.", "/bin/bash")


@dataclass(frozen=True)
class Units:
    """systemd's units."""

    enable: tuple[str, ...] = setting(
        Listing(UNIT), "Units that start at boot.", [], example=["systemd-networkd.service"]
    )
    disable: tuple[str, ...] = setting(Listing(UNIT), "Units that a package enables, but that must not start.", [])
    mask: tuple[str, ...] = setting(Listing(UNIT), "Units that cannot start at all.", [])


@dataclass(frozen=True)
class Kernel:
    """The kernel and its initrd."""

    package: str = setting(
        PACKAGE, "The kernel's package; the suite's newest if not set.", "", example="linux-image-amd64"
    )
    arguments: tuple[str, ...] = setting(
        Listing(ARGUMENT), "Arguments to add to the signed command line.", ["console=tty0", "console=ttyS0"]
    )
    drivers: str = setting(
        Choice(tuple(EXCLUDED)),
        "The kernel modules that the root has: those for a `server` or a virtual machine, those for a `virtual` "
        "machine only, or `all`. See docs/how-to/size.md.",
        "server",
    )
    compress: bool = setting(
        Flag(),
        "Whether the root has its modules compressed by zstd: a third less to keep and to read, and more to fetch by a "
        "delta to another kernel. See docs/how-to/size.md.",
        True,
    )
    exclude: tuple[str, ...] = setting(
        Listing(GLOB),
        "Further modules to leave out of the root, as patterns below the kernel's folder; a folder means everything in "
        "it.",
        [],
        example=["kernel/fs/btrfs"],
    )
    initrd_modules: tuple[str, ...] = setting(
        Listing(WORD),
        "Modules that the initrd needs to find the disk, besides those for common hardware.",
        [],
        example=["mpt3sas"],
    )


@dataclass(frozen=True)
class BootConfig:
    """The boot chain."""

    generation: int = setting(
        Number(1, 1 << 15),
        "The SBAT generation of this product line's kernel images; raise it to revoke older ones.",
        1,
    )
