"""What the verbs of ``proa-build`` report, besides what a build leaves (:mod:`proa.builder.build.record`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from proa.core.release.document import Release
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import Part, Report, field
from proa.core.schema.values import Count, Digest, Hash
from proa.partition.disk.layout import Partition


@dataclass(frozen=True)
class ConfigError(Part):
    """An error."""

    code: str = field("The stable code.", enum=[code.name for code in Code])
    message: str = field("What is wrong.")
    at: str = field("file:line:column.")
    hint: str = field("What is allowed, or what you probably meant.")

    @classmethod
    def of(cls, error: ProaError) -> ConfigError:
        """What is told of an error."""
        return cls(error.code.name, error.message, error.at, error.hint)


@dataclass(frozen=True)
class Checked(Report, schema="proa.check/v1"):
    """`proa-build check`: every error of a configuration."""

    errors: tuple[ConfigError, ...] = field("Empty if there are none; otherwise the exit status is 2.")


@dataclass(frozen=True)
class Effective(Part):
    """A setting as it holds."""

    name: str = field("Such as `disk.root` or `file[0].path`.")
    value: Any = field("Sizes in bytes, times in seconds.")
    origin: str = field("The origin: file:line:column, `default`, `derived`, or an option.")


@dataclass(frozen=True)
class DiskLayout(Part):
    """The disk."""

    disk_size: Count = field("Size of the disk in bytes.")
    sector_size: int = field("Bytes per sector.", enum=[512, 4096])
    disk_guid: str = field("The disk's GUID.")
    partitions: tuple[Partition, ...] = field("In order.")
    free: Count = field("Bytes that belong to no partition.")


@dataclass(frozen=True)
class Summary(Report, schema="proa.summary/v1"):
    """`proa-build summary`: every setting as it holds, and the layout of the disk."""

    config: str = field("The configuration file.")
    settings: tuple[Effective, ...] = field("In the order of docs/reference/settings.md.")
    proxy: str = field("The proxy that the build fetches through, and where it was found; empty without one.")
    layout: DiskLayout | None = field("The disk; null if it depends on the build's results.")


@dataclass(frozen=True)
class Pushed(Report, schema="proa.push/v1"):
    """`proa-build push`."""

    reference: str = field("With the digest: give this to nodes.")
    digest: Digest = field("Digest of the manifest, which is what is signed.")
    version: str = field("The release's version.")
    root_hash: Hash = field("The root hash, which identifies the release.")
    bytes: Count = field("Size of all blobs in bytes.")
    pushed: bool = field("False for a dry run.")


@dataclass(frozen=True)
class Verified(Report, schema="proa.verify/v1"):
    """`proa-build verify`, when all holds; else the exit status is 3 and the document is `proa.error/v1`."""

    reference: str = field("The reference as it was given.")
    digest: Digest = field("Digest of the manifest, which is what is signed.")
    name: str = field("The product line.")
    version: str = field("The release's version.")
    root_hash: Hash = field("The root hash, which identifies the release.")
    signers: tuple[Hash, ...] = field("The keys that have signed: SHA-256 of the key's DER form.")
    checked: tuple[str, ...] = field("What was checked, in words.")
    ok: Literal[True] = field("Always.", default=True)


@dataclass(frozen=True)
class Package(Part):
    """A package."""

    name: str = field("Its name.")
    version: str = field("Its version.")


@dataclass(frozen=True)
class InspectedRelease(Release):
    """The release document: what a release is, as it is signed. `proa-build inspect --json` adds the last four keys."""

    proa: str = field("The version of Proa that wrote the document.", default="")
    reference: str = field("The reference that was read.", default="")
    digest: str = field("Digest of the manifest.", default="", pattern="^sha256:[0-9a-f]{64}$")
    packages: tuple[Package, ...] = field("The contents, from the bill of materials.", default=())
