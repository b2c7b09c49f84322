"""build.json: what was built, from what the steps left, and how long each took."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from proa.builder.config.image_settings import ReleaseConfig
from proa.builder.engine.context import Made
from proa.builder.steps.fit import FIT
from proa.builder.steps.release import RELEASE
from proa.builder.steps.verity import VERITY
from proa.core.oci.layoutdir import LayoutDir
from proa.core.oci.reference import Reference
from proa.core.release.document import MEDIA_TYPES
from proa.core.schema.model import Part, Report, field
from proa.core.schema.values import Count, Digest, Hash, Seconds

_SIZES: Final = ("root", "tree", "boot")


@dataclass(frozen=True)
class BuiltStep(Part):
    """A step."""

    name: str = field("Its name.")
    key: Hash = field("The hash of all inputs.")
    digest: str = field("The hash of all outputs; empty if no other step needs it.")
    cached: bool = field("Whether the result came from the cache.")
    seconds: Seconds = field("Duration of the step.")


@dataclass(frozen=True, kw_only=True)
class BuildReport(Report, schema="proa.build/v1"):
    """`proa-build image`, and the file `build.json` in its output folder."""

    name: str = field("The product line.")
    version: str = field("The release's version.")
    serial: Count = field("Orders the releases of a product line.")
    architecture: str = field("The architecture as Debian names it.")
    created: str = field("The time used in everything that is built (RFC 3339, UTC).")
    root_hash: Hash = field("The root hash, which identifies the release.", default="")
    digest: Digest = field("Digest of the manifest, which is what is signed.", default="")
    digests: Mapping[str, Digest] = field("Digest of each blob of the release.", keys=MEDIA_TYPES, default={})
    sizes: Mapping[str, Count] = field(
        "Bytes on the disk: of the root file system, of its verity tree, and of the image of `UKI-x`.",
        keys=_SIZES,
        default={},
    )
    download: Mapping[str, Count] = field("Size in bytes of each blob, as it is fetched.", keys=MEDIA_TYPES, default={})
    headroom: Mapping[str, Count] = field(
        "Bytes that are left in `UKI-x` (`boot`) and in `ROOT-x` (`root`) for releases to come; slots never grow.",
        keys=("boot", "root"),
        default={},
    )
    budget: Count = field("Bytes that `build.budget` allows for the root; 0 if it is not set.", default=0)
    signed: bool = field("Whether keys were given.")
    reproduced: bool = field(
        "Whether it was built twice without the cache, both times with the same bytes.", default=False
    )
    seconds: Seconds = field("Duration of the whole build.")
    cache_hits: Count = field("Steps whose result came from the cache.")
    steps: tuple[BuiltStep, ...] = field("In order.")


@dataclass(frozen=True)
class PlannedStep(Part):
    """A step."""

    name: str = field("Its name.")
    title: str = field("The same, for people.")
    plan: str = field("`kept`, or `made` and why, as far as that is known before earlier steps run.")


@dataclass(frozen=True)
class PlannedBuild(Report, schema="proa.build-plan/v1"):
    """`proa-build image --dry-run`: what a build would do."""

    output: str = field("The output folder.")
    epoch: Count = field("The time used in everything that is built, in seconds since 1970.")
    signed: bool = field("Whether keys were given.")
    steps: tuple[PlannedStep, ...] = field("In order.")


def report(
    release: ReleaseConfig,
    made: Sequence[Made],
    outputs: Mapping[str, Path],
    *,
    epoch: int,
    signed: bool,
    seconds: float,
) -> BuildReport:
    """What is told of a build.

    Args:
        release: What was built.
        made: What became of every step.
        outputs: Their output folders, by name.
        epoch: The time of the build.
        signed: Whether keys were given.
        seconds: How long all of it took.
    """
    return BuildReport(
        name=release.name,
        version=release.version,
        serial=release.serial,
        architecture=release.architecture,
        created=datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z"),
        **_root_facts(outputs),
        **_release_facts(outputs),
        **_fit_facts(outputs),
        signed=signed,
        seconds=round(seconds, 3),
        cache_hits=sum(one.cached for one in made),
        steps=tuple(BuiltStep(one.step, one.key, one.digest, one.cached, round(one.seconds, 3)) for one in made),
    )


def _root_facts(outputs: Mapping[str, Path]) -> dict[str, Any]:
    if VERITY.name not in outputs:
        return {}
    return {"root_hash": json.loads((outputs[VERITY.name] / "verity.json").read_text())["root_hash"]}


def _fit_facts(outputs: Mapping[str, Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((outputs[FIT.name] / "fit.json").read_text()) if FIT.name in outputs else {}
    return found


def _release_facts(outputs: Mapping[str, Path]) -> dict[str, Any]:
    """Digests and sizes, if the build came so far."""
    if RELEASE.name not in outputs:
        return {}
    document = json.loads((outputs[RELEASE.name] / "release.json").read_text())
    root, boot, blobs = document["root"], document["boot"], document["blobs"]
    with LayoutDir(Reference("", "", layout=outputs[RELEASE.name] / "release")) as layout:
        digest = layout.resolve()
    return {
        "digest": digest,
        "digests": {name: blob["digest"] for name, blob in blobs.items()},
        "sizes": {"root": root["size"], "tree": root["tree_size"], "boot": boot["size"]},
        "download": {name: blob["size"] for name, blob in blobs.items()},
    }
