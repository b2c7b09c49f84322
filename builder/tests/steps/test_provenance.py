"""What a release says that it was built from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from spdx_tools.spdx.parser.parse_anything import parse_file

from proa.builder.config.image_settings import SourceConfig
from proa.builder.engine import resolve
from proa.builder.engine.aptroot import Package
from proa.builder.engine.context import BuildContext
from proa.builder.engine.resolve import Resolved, Supply
from proa.builder.steps.packages import request_of
from proa.builder.steps.provenance import PROVENANCE
from proa.builder.steps.sbom import SBOM
from proa.core import VERSION

SECRET = "https://user:secret@mirror.example.net"
ODD = (
    Package("bash", "5.2.15-2+b7", "amd64", "a" * 64, f"{SECRET}/bash.deb"),
    Package("libstdc++6", "1:12~rc1", "amd64", "b" * 64, f"{SECRET}/libstdc.deb"),
)


VENDORS = "https://pkgs.vendor.test/core/deb"
FOREIGN = (
    Package("kubelet", "1.30.1-1.1", "amd64", "d" * 64, f"{VENDORS}/amd64/kubelet.deb"),
    Package("mine", "1:0.1", "all", "e" * 64, f"copy:/cache/packages/apt/{'a1' * 12}/own/0123-mine.deb"),
    Package("near", "1", "all", "f" * 64, f"{VENDORS}ian/pool/near.deb"),
)
"""Of a repository that is not Debian's, of the user's own, and of a mirror whose address begins like the former's."""


def locked(context: BuildContext) -> Resolved:
    """What a lock has: all that is asked for, and two packages with odd names."""
    asked = request_of(context)
    found = [
        tuple(Package(name, "1", "amd64", "c" * 64, f"{SECRET}/{name}.deb") for name in names)
        for names in (asked.wanted, asked.beside)
    ]
    return Resolved((*ODD, *found[0]), found[1])


@pytest.fixture
def context(step_context: BuildContext, tmp_path: Path) -> BuildContext:
    (tmp_path / "proa.packages.lock").write_text(locked(step_context).text())
    software = tmp_path / "software"
    software.mkdir()
    (software / "wheels.json").write_text('[{"package": "zstandard", "version": "0.25.0"}]\n')
    resolve.forget()
    return dataclasses.replace(
        step_context, supply=Supply(locked=True), outputs={**step_context.outputs, "software": software}
    )


def test_packages_are_named_by_url_and_hash_and_sources_not_at_all(context: BuildContext, tmp_path: Path) -> None:
    PROVENANCE.run(context, tmp_path)
    text = (tmp_path / "provenance.json").read_text()
    said = json.loads(text)
    found = said["buildDefinition"]["resolvedDependencies"]
    assert found[-1] == {"uri": "pkg:pypi/zstandard@0.25.0"}
    by_uri = {one["uri"]: one["digest"]["sha256"] for one in found[:-1]}
    assert len(by_uri) == len(locked(context).all)
    assert by_uri["pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64"] == "a" * 64
    assert by_uri["pkg:deb/debian/libstdc%2B%2B6@1%3A12~rc1?arch=amd64"] == "b" * 64
    assert by_uri[f"pkg:deb/debian/{request_of(context).beside[0]}@1?arch=amd64"] == "c" * 64
    assert said["runDetails"]["builder"]["version"] == {"proa": VERSION}
    assert "secret" not in text


def test_it_says_what_was_asked_for_and_no_time(context: BuildContext, tmp_path: Path) -> None:
    def parameters(changed: BuildContext) -> dict[str, object]:
        PROVENANCE.run(changed, tmp_path)
        said = json.loads((tmp_path / "provenance.json").read_text())
        assert set(said["runDetails"]) == {"builder"}
        return dict(said["buildDefinition"]["externalParameters"])

    said, again = parameters(context), parameters(context)
    assert said == again
    assert (said["name"], said["version"], said["serial"]) == ("my-node", "1.2.3", 1)
    health = dataclasses.replace(context.config.health, seconds=7)
    other = parameters(dataclasses.replace(context, config=dataclasses.replace(context.config, health=health)))
    assert {key for key in said if said[key] != other[key]} == {"settings"}


def test_b12_it_names_owners_as_the_bill_of_materials_does(context: BuildContext, tmp_path: Path) -> None:
    """Read by another's reader of SPDX; from a lock, which knows no keys."""
    vendor = SourceConfig(uri=f"{VENDORS}/", suites=("/",), components=(), signed_by="vendor.asc")
    context = dataclasses.replace(context, config=dataclasses.replace(context.config, source=(vendor,)))
    known = locked(context)
    found = Resolved((*known.root, *FOREIGN), known.beside)
    (tmp_path / "proa.packages.lock").write_text(found.text())
    resolve.forget()
    rows = {
        what: [
            {"package": one.name, "version": one.version, "architecture": one.architecture}
            for one in getattr(found, what)
        ]
        for what in ("root", "beside")
    }
    documents = {
        ("packages", "packages.json"): {"installed": rows["root"], "boot": rows["beside"]},
        ("verity", "verity.json"): {"root_hash": "ab" * 32},
        ("root", "contents.json"): {
            "system": {"name": "debian", "version": "12"},
            "installed": rows["root"],
            "python": [],
            "files": [],
        },
    }
    for (step, name), document in documents.items():
        (tmp_path / "made" / step).mkdir(parents=True)
        (tmp_path / "made" / step / name).write_text(json.dumps(document))
    outputs = {step: tmp_path / "made" / step for step, _ in documents} | {"software": context.output("software")}
    context = dataclasses.replace(context, outputs=outputs)
    PROVENANCE.run(context, tmp_path)
    SBOM.run(context, tmp_path)
    document = parse_file(str(tmp_path / "sbom.spdx.json"))
    listed = {one.locator.partition("?")[0] for part in document.packages for one in part.external_references}
    said = json.loads((tmp_path / "provenance.json").read_text())["buildDefinition"]["resolvedDependencies"]
    assert {one["uri"].partition("?")[0] for one in said} == listed
    assert listed >= {
        "pkg:deb/pkgs.vendor.test/kubelet@1.30.1-1.1",
        "pkg:deb/local/mine@1%3A0.1",
        "pkg:deb/debian/near@1",
    }
