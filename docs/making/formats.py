"""The pages of the formats: the disk's layout, and the release."""

from __future__ import annotations

import textwrap

from making.markdown import code, page, table
from making.schemas import rows

from proa.builder.config.node_settings import DiskConfig as DiskSettings
from proa.core.artifact import deltas
from proa.core.release import delta
from proa.core.release import document as release
from proa.core.runtime.events import human_bytes
from proa.core.runtime.json_text import MAX_DOCUMENT
from proa.core.schema.json_schema import json_schema
from proa.core.signing import bundle, trust
from proa.partition.boot.statefile import STATE_SIZE
from proa.partition.disk import layout

_HOLDS = {
    "BOOT": ("The EFI system partition, FAT32: shim and GRUB.", "the factory; no release"),
    "STATE": ("The boot state, in two copies.", "GRUB and the agent, in place"),
    "UKI-A": ("Slot a: a small FAT with the signed kernel image.", "the agent, raw"),
    "UKI-B": ("Slot b, the same.", "the agent, raw"),
    "ROOT-A": ("Slot a: EROFS, and right behind it the verity tree without superblock.", "the agent, raw"),
    "ROOT-B": ("Slot b, the same; empty on a new disk.", "the agent, raw"),
    "PERSIST": (
        "ext4: /var, /home, /root, /opt/cni, the folders in `persist.keep`, and one upper /etc per slot.",
        "the node",
    ),
}
_LEAST = {"BOOT": layout.MIN_BOOT, "STATE": STATE_SIZE, "PERSIST": layout.MIN_PERSIST}
_BLOBS = {
    "root": "The root file system, in independent zstd frames in the seekable format: `zstd -d` restores it.",
    "map": "The position of each frame of root and boot, and the SHA-256 of its compressed bytes.",
    "tree": "The dm-verity tree as `veritysetup format --no-superblock` lays it out, compressed in the same way.",
    "boot": "The image of `UKI-x`, in frames like the root.",
    "sbom": "The packages inside, as SPDX.",
}
_WHAT = f"""\
A release is one OCI image manifest of `artifactType` `{release.ARTIFACT_TYPE}`, in a registry or
an OCI layout folder. Its config is the release document, its layers are the blobs below, in this order. The digest of
the manifest is what is signed, so nothing of it can be mixed with another release."""
_SIGNATURE = f"""\
A Sigstore bundle (`{bundle.BUNDLE_TYPE}`) with a DSSE envelope over an in-toto
Statement v1, whose subject is the manifest's digest and whose predicate type is `{bundle.PREDICATE_TYPE}`.
One bundle per key, each in a manifest of its own that names the release as its `subject`. It is found by the referrers
API, or where a registry has none in the index under the tag `sha256-<hex>`. At most {bundle.MAX_SIGNATURES} are looked
at. Keys are ECDSA P-256 or Ed25519. cosign 3 reads and writes the same:
`cosign verify --key release.pub --private-infrastructure REF`."""

_DELTA_BLOBS = {
    "index": "What belongs to each unit, and what it is packed against.",
    "units": "The units, one behind the other.",
}
_DELTA = f"""\
A delta is an artifact of its own, of `artifactType` `{delta.ARTIFACT_TYPE}`, whose `subject` is the manifest of
the newer release. Its manifest is signed like that of a release, by its own bundles. The annotation `{deltas.OLD}` is
the root hash of the older release, by which nodes find it among the referrers; a registry that lists no annotations has
none for them. Config and layers:"""
_UNITS = f"""\
A unit holds a row of frames of the newer root, at most {delta.UNIT >> 20} MiB, as one zstd frame: any of their blocks
may be new. Its prefix is at most {delta.PREFIX >> 20} MiB of the older root, in parts; `zstd -d --patch-from=PREFIX`
restores it. An index has at most {delta.MAX_INDEX >> 20} MiB:

```text
{textwrap.dedent((delta.__doc__ or "").partition("::")[2]).strip()}
```

Numbers are little-endian, blocks have {release.BLOCK_SIZE} bytes. A delta is refused (`DELTA`) if anything in it is out
of these bounds, or of another pair of roots. Frames that are in no unit consist of blocks of the older root. Boot image
and verity tree are in no delta."""


def layout_page() -> str:
    """docs/reference/layout.md."""
    sizes = {name: getattr(DiskSettings(), name.lower().removesuffix("-a").removesuffix("-b"), None) for name in _HOLDS}
    partitions = table(
        ["#", "name", "holds", "written by", "type", "at least", "as built"],
        [
            [
                str(number),
                code(name),
                *_HOLDS[name],
                code(layout.TYPE_GUIDS[name]),
                human_bytes(_LEAST.get(name, layout.MIB)),
                human_bytes(sizes[name] or STATE_SIZE),
            ]
            for number, name in enumerate(layout.NAMES, 1)
        ],
    )
    rules = f"""\
- GPT. Every partition begins and ends on a whole MiB, so that disks of sectors of
  {" and ".join(map(str, layout.SECTOR_SIZES))} bytes have the same layout, byte for byte.
- The last {layout.BACKUP_SIZE >> 10} KiB are kept for the backup table.
- Names are unique on the disk, numbers are fixed. A slot is a pair: `UKI-x` and `ROOT-x`.
- All GUIDs are derived from one seed: `uuid5({layout.NAMESPACE}, "SEED/NAME")`.
  The first boot replaces all of them but that of `BOOT`.
- Attribute bit {layout.NOT_GROWN.bit_length() - 1} of `PERSIST` says that the first boot is still to come. That boot
  grows `PERSIST` to the end of the disk, gives the new GUIDs and clears the bit in one write of the table. A running
  node never writes the table again.
- `root.size` of the release document is where the verity tree begins in `ROOT-x`.
- The sizes as built are the defaults of [`disk`](settings.md); `proa-build summary` and `proa-disk plan` show the
your own layout."""
    version = f"This is layout {release.LAYOUT_VERSION}; a release says in `requires.layout` which one it needs."
    return page("Disk layout", version, partitions, "## Rules", rules)


def release_page() -> str:
    """docs/reference/release.md."""
    blobs = table(
        ["layer", "media type", "what"],
        [[name, code(kind), _BLOBS[name]] for name, kind in release.MEDIA_TYPES.items()],
    )
    whole = json_schema(release.Release)
    added = ("proa", "reference", "digest", "packages")
    document = whole | {"properties": {key: one for key, one in whole["properties"].items() if key not in added}}
    return page(
        "Release",
        _WHAT,
        "## Blobs",
        blobs,
        f"A frame holds {release.FRAME_SIZE >> 10} KiB unless the document says otherwise. Sizes in the document are"
        " signed and are hard limits.",
        "## Document",
        f"JSON of at most {MAX_DOCUMENT >> 20} MiB, in UTF-8, without duplicate keys. Unknown fields "
        "are ignored, unless `critical` names them: then the release is refused.",
        table(["field", "type", "what"], rows(document)),
        "## Signature",
        _SIGNATURE,
        "## Deltas",
        _DELTA,
        table(
            ["layer", "media type", "what"],
            [[name, code(kind), _DELTA_BLOBS[name]] for name, kind in delta.MEDIA_TYPES.items()],
        ),
        "The config is the document of the delta:",
        table(["field", "type", "what"], rows(json_schema(delta.Delta))),
        _UNITS,
        "## Trust",
        f"A node trusts the keys in `{trust.FOLDER}` (`*.pub`, PEM), which verity protects. Further "
        f"conditions are in `trust.json` there, and in `{trust.LOCAL}`, which can only tighten trust:",
        table(["field", "type", "what"], rows(json_schema(trust.TrustFile))),
    )
