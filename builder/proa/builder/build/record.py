"""build.json: what was built, from what the steps left, and how long each took."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from proa.builder.config.settings import Release
from proa.builder.engine import output
from proa.builder.engine.context import Made
from proa.builder.steps.release import RELEASE
from proa.builder.steps.verity import VERITY
from proa.core import VERSION
from proa.core.oci.layoutdir import LayoutDir
from proa.core.oci.reference import Reference


def report(
    release: Release,
    made: Sequence[Made],
    outputs: Mapping[str, Path],
    *,
    epoch: int,
    signed: bool,
    seconds: float,
) -> dict[str, Any]:
    """The content of ``proa.build/v1``.

    Args:
        release: What was built.
        made: What became of every step.
        outputs: Their output folders, by name.
        epoch: The time of the build.
        signed: Whether keys were given.
        seconds: How long all of it took.
    """
    return {
        "schema": output.SCHEMA,
        "proa": VERSION,
        "name": release.name,
        "version": release.version,
        "serial": release.serial,
        "architecture": release.architecture,
        "created": datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z"),
        **_root_facts(outputs),
        **_release_facts(outputs),
        "signed": signed,
        "seconds": round(seconds, 3),
        "cache_hits": sum(one.cached for one in made),
        "steps": [_step(one) for one in made],
    }


def _step(one: Made) -> dict[str, Any]:
    facts = {"name": one.step, "key": one.key, "digest": one.digest}
    return facts | {"cached": one.cached, "seconds": round(one.seconds, 3)}


def _root_facts(outputs: Mapping[str, Path]) -> dict[str, Any]:
    if VERITY.name not in outputs:
        return {}
    return {"root_hash": json.loads((outputs[VERITY.name] / "verity.json").read_text())["root_hash"]}


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
