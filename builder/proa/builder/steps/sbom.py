"""SBOM: what is inside, as SPDX and as CycloneDX."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from proa.builder.engine.context import BuildContext
from proa.builder.formats import components, cyclonedx, sbom
from proa.builder.formats.components import Bill, DebianPackage, OperatingSystem
from proa.builder.steps import packages


class Sbom:
    """See the module."""

    name = "sbom"
    title = "Bill of materials"
    needs = ("packages", "software", "root", "verity")
    tools = ()
    keep = True

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """The release's name and version, who gives out packages that are not the distribution's, the time."""
        release = context.config.release
        return {
            "name": release.name,
            "version": release.version,
            "origins": packages.strangers(context),
            "epoch": context.epoch,
        }

    def run(self, context: BuildContext, out: Path) -> None:
        """Write the documents."""
        contents = json.loads((context.output("root") / "contents.json").read_text())
        wheels = json.loads((context.output("software") / "wheels.json").read_text())
        listed = json.loads((context.output("packages") / "packages.json").read_text())
        bill = Bill(
            name=context.config.release.name,
            version=context.config.release.version,
            root_hash=json.loads((context.output("verity") / "verity.json").read_text())["root_hash"],
            system=OperatingSystem(**contents["system"]),
            packages=parts(listed, contents["installed"], packages.strangers(context)),
            wheels=[*wheels, *contents["python"]],
            files=contents["files"],
            epoch=context.epoch,
        )
        for name, document in (("spdx", sbom.document(bill)), ("cdx", cyclonedx.document(bill))):
            (out / f"sbom.{name}.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def parts(
    listed: Mapping[str, Sequence[Mapping[str, str]]],
    installed: Sequence[Mapping[str, str]],
    origins: Mapping[str, str],
) -> list[DebianPackage]:
    """The packages of a release.

    Args:
        listed: What the packages step installed, and what it unpacked for the boot chain.
        installed: What the finished tree has; what is new there was installed by a hook.
        origins: Who gives out packages that are not the distribution's.
    """
    resolved = {(entry["package"], entry["version"]) for entry in listed["installed"]}
    found = []
    for entry in installed:
        known = (entry["package"], entry["version"]) in resolved
        found.append(components.debian(entry, origins.get(entry["package"], "") if known else components.LOCAL))
    return found + [components.debian(entry, origins.get(entry["package"], "")) for entry in listed["boot"]]


SBOM: Final = Sbom()
