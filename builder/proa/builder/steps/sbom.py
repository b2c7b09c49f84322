"""SBOM: what is inside, as SPDX."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proa.builder.engine.context import BuildContext
from proa.builder.formats import sbom


class Sbom:
    """See the module."""

    name = "sbom"
    title = "Bill of materials"
    needs = ("packages", "software", "root", "verity")
    tools = ()
    keep = True

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """The release's name and version, the distribution, the time."""
        release = context.config.release
        return {
            "name": release.name,
            "version": release.version,
            "suite": context.config.system.suite,
            "distribution": context.config.system.distribution,
            "epoch": context.epoch,
        }

    def run(self, context: BuildContext, out: Path) -> None:
        """Write the document."""
        packages = json.loads((context.output("packages") / "packages.json").read_text())
        contents = json.loads((context.output("root") / "contents.json").read_text())
        wheels = json.loads((context.output("software") / "wheels.json").read_text())
        document = sbom.document(
            name=context.config.release.name,
            version=context.config.release.version,
            root_hash=json.loads((context.output("verity") / "verity.json").read_text())["root_hash"],
            distribution=context.config.system.distribution,
            suite=context.config.system.suite,
            installed=contents["installed"],
            boot=packages["boot"],
            wheels=[*wheels, *contents["python"]],
            files=contents["files"],
            epoch=context.epoch,
        )
        (out / "sbom.spdx.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


SBOM: Final = Sbom()
