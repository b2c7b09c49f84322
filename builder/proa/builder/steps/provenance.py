"""Provenance: what a release was built from, as SLSA 1.0 has it (slsa.dev/spec/v1.0/provenance).

It holds neither times nor the machine's name, so that equal builds have equal provenance, and no address of a source,
since those may hold passwords: a package is named by its URL and its hash.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from proa.builder.engine import resolve
from proa.builder.engine.context import BuildContext
from proa.builder.formats.components import debian_purl, python_purl
from proa.builder.inputs import fingerprint
from proa.builder.steps import packages
from proa.core import VERSION

BUILD_TYPE: Final = "https://proa.dev/build/v1"
"""What the parameters mean: docs/how-to/attestations.md."""
BUILDER: Final = "https://proa.dev/builder"
_DEBIAN: Final = "debian"


class Provenance:
    """See the module."""

    name = "provenance"
    title = "Provenance"
    needs = ("packages", "software")
    tools = ()
    keep = True

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """All that it says but for the Python packages, which the step's output of that name has."""
        return {"parameters": _parameters(context), "packages": _packages(context), "version": VERSION}

    def run(self, context: BuildContext, out: Path) -> None:
        """Write the predicate."""
        wheels = json.loads((context.output("software") / "wheels.json").read_text())
        python = [{"uri": python_purl(one["package"], one["version"])} for one in wheels]
        document = {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": _parameters(context),
                "internalParameters": {"epoch": context.epoch},
                "resolvedDependencies": [*_packages(context), *python],
            },
            "runDetails": {"builder": {"id": BUILDER, "version": {"proa": VERSION}}},
        }
        (out / "provenance.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def _parameters(context: BuildContext) -> dict[str, Any]:
    """What a person chose: the release, and a hash of every setting."""
    release = context.config.release
    settings = fingerprint.of(fingerprint.hidden(dataclasses.asdict(context.config)))
    return {
        "name": release.name,
        "version": release.version,
        "architecture": release.architecture,
        "serial": release.serial,
        "settings": {"sha256": settings},
    }


def _packages(context: BuildContext) -> list[dict[str, Any]]:
    """Each by the owner that the bill of materials names too."""
    origins = packages.strangers(context)
    return [
        {
            "uri": debian_purl(origins.get(one.name, _DEBIAN), one.name, one.version, {"arch": one.architecture}),
            "digest": {"sha256": one.sha256},
        }
        for one in resolve.resolve(packages.request_of(context)).all
    ]


PROVENANCE: Final = Provenance()
