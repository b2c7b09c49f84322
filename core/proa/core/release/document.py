"""The release document: what a release is, as it is signed (docs/reference/release.md).

One OCI image manifest of ``artifactType`` :data:`ARTIFACT_TYPE` holds the document as its config and the
payload as its layers. The manifest's digest is what is signed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from proa.core.release import verity
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json
from proa.core.schema.model import Document, Part, document, field, keys, limits, parse
from proa.core.schema.values import Digest, Hash, Time

ARTIFACT_TYPE: Final = "application/vnd.proa.release.v1+json"
CONFIG_TYPE: Final = ARTIFACT_TYPE
MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
MEDIA_TYPES: Final[Mapping[str, str]] = {
    "root": "application/vnd.proa.root.v1+zstd",
    "map": "application/vnd.proa.map.v1",
    "tree": "application/vnd.proa.verity.v1+zstd",
    "boot": "application/vnd.proa.boot.v1+zstd",
    "sbom": "application/spdx+json",
}
"""Blob name to media type, in the order of the manifest's layers."""

LAYOUT_VERSION: Final = 1
"""The disk layout that this version writes and knows (docs/reference/layout.md)."""
LOADER_VERSION: Final = 1
"""The protocol between GRUB's frozen script and the boot state."""
BLOCK_SIZE: Final = verity.BLOCK_SIZE
"""Bytes of a verity block."""
MAX_SETTINGS: Final = 64 * 1024
"""Characters of the list of what may be set."""
FRAME_SIZE: Final = 128 * 1024
"""Bytes of image in one zstd frame, unless the document says otherwise."""

_UTC: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?(Z|[+]00:00)"
_Name = Annotated[str, limits(pattern="^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$")]
_Version = Annotated[str, limits(pattern="^[A-Za-z0-9]([A-Za-z0-9._+~-]{0,62}[A-Za-z0-9])?$")]
_Salt = Annotated[str, limits(pattern="^([0-9a-f]{2}){1,64}$")]
_Serial = Annotated[int, limits(minimum=0, maximum=1 << 53)]
_Protocol = Annotated[int, limits(minimum=1, maximum=1 << 16)]
_Blocks = limits(minimum=BLOCK_SIZE, maximum=1 << 45, multipleOf=BLOCK_SIZE)


@dataclass(frozen=True)
class Blob(Part):
    """A blob of the release, as it is fetched."""

    digest: Digest = field("Digest of the blob as it is fetched.")
    size: int = field("Size of the blob in bytes.", minimum=1, maximum=1 << 45)


@dataclass(frozen=True)
class Root(Part):
    """The root file system and its verity tree, as they stand in `ROOT-x`."""

    filesystem: str = field("The type of file system.", enum=["erofs"])
    size: Annotated[int, _Blocks] = field(
        "Size of the file system in bytes; the tree starts right after it.", minimum=2 * BLOCK_SIZE
    )
    block_size: int = field("Size of a verity block in bytes.", enum=[BLOCK_SIZE])
    root_hash: Hash = field("The root hash, which identifies the release.")
    salt: _Salt = field("The salt of the tree; the same for a whole product line.")
    tree_size: Annotated[int, _Blocks] = field("Size of the tree in bytes; it has no superblock.")
    frame_size: Annotated[int, _Blocks] = field("Bytes of the image in one zstd frame.", maximum=1 << 22)


@dataclass(frozen=True)
class Boot(Part):
    """The image of `UKI-x`: a small FAT file system with the signed unified kernel image."""

    size: Annotated[int, _Blocks] = field("Size of the image in bytes.", maximum=1 << 32)
    digest: Digest = field("Digest of the uncompressed image.")
    uki_digest: Digest = field("Digest of the file /EFI/proa/uki.efi in it.")
    content: str = field(
        "How a node recognises frames that it already has: the first 8 bytes of the SHA-256 of each frame's content, "
        "in order.",
        default="",
        pattern="^([0-9a-f]{16})*$",
    )


@dataclass(frozen=True)
class Requires(Part):
    """What the node must have."""

    layout: _Protocol = field("The version of the disk layout.")
    agent: _Version = field("The lowest version of the agent.")
    loader: _Protocol = field("The version of the protocol between GRUB's script and the boot state.")


@dataclass(frozen=True)
class Release(Document, schema="proa.release/v1", received=True):
    """The release document: what a release is, as it is signed."""

    name: _Name = field("The product line.")
    version: _Version = field("The label for people; only a hint.")
    architecture: _Name = field("The architecture as Debian names it, such as `amd64`.")
    compatible: _Name = field("The kind of node that the release is for.")
    created: Time = field("When it was built (RFC 3339, UTC).", pattern=f"^{_UTC}$")
    serial: _Serial = field("Orders the releases of a product line.")
    floor: _Serial = field("The lowest serial that a node may roll back to once it has booted this release.")
    root: Root = field("The root file system and its verity tree, as in `ROOT-x`.")
    boot: Boot = field("The image of `UKI-x`: a small FAT file system with the signed unified kernel image.")
    requires: Requires = field("What the node must provide.")
    blobs: Mapping[str, Blob] = field("Every other blob of the release.", keys=MEDIA_TYPES)
    expires: str = field(
        "When nodes stop installing it (RFC 3339, UTC); empty for never.", default="", pattern=f"^({_UTC})?$"
    )
    settings: str = field(
        "What may be set on nodes of this release, as the text of `/usr/lib/proa/settings.json`; empty for nothing.",
        default="",
        maxLength=MAX_SETTINGS,
        left_out=True,
    )
    critical: tuple[str, ...] = field(
        "Fields that a reader must know; a reader that does not know one refuses the release.", default=()
    )

    def encode(self) -> bytes:
        """The document's bytes: JSON with sorted keys, so that equal releases are equal bytes."""
        return (json.dumps(document(self), sort_keys=True, indent=1) + "\n").encode()

    @property
    def slot_size(self) -> int:
        """Bytes that ``ROOT-x`` must have at least."""
        return self.root.size + self.root.tree_size


def decode(data: bytes) -> Release:
    """Read and check a release document.

    Fields that are not known are ignored unless ``critical`` names them; duplicate keys, numbers out of
    range and wrong types are refused.

    Raises:
        ProaError: ``RELEASE``, with the field in ``at``.
    """
    found = load_json(data, Code.RELEASE)
    if found.get("schema") == Release.SCHEMA:
        _check_critical(parse(_Critical, found, code=Code.RELEASE).critical)
    release = parse(Release, found, code=Code.RELEASE)
    if release.expires:
        _check_expiry(release.expires)
    if release.floor > release.serial:
        raise ProaError(Code.RELEASE, f"floor {release.floor} is above serial {release.serial}", at="floor")
    if release.root.tree_size != (right := verity.tree_size(release.root.size)):
        what = f"the tree has {release.root.tree_size} bytes, but such an image needs {right}"
        raise ProaError(Code.RELEASE, what, at="root.tree_size")
    return release


@dataclass(frozen=True)
class _Critical(Part):
    """What is looked at before all else: what a reader does not know, it may not understand the rest without."""

    critical: tuple[str, ...] = field("Fields.", default=())


def _check_critical(names: tuple[str, ...]) -> None:
    for name in names:
        if name not in ("schema", *keys(Release)):
            raise ProaError(Code.RELEASE, f"it needs {name[:80]!r}, which this version does not know", at="critical")


def _check_expiry(time: str) -> None:
    try:
        datetime.fromisoformat(time)
    except ValueError as error:
        raise ProaError(Code.RELEASE, f"expires {time!r} is not a time", at="expires") from error
