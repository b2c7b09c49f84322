"""A bill of materials as Trivy reads it, against what dpkg says of the same packages.

The packages are those of this machine; both documents are read with the decoders of Trivy's own module.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from proa.builder.formats import cyclonedx, sbom
from proa.builder.formats.components import Bill, OperatingSystem
from proa.builder.node import contents
from proa.builder.steps.sbom import parts
from proa.core.runtime import process
from proa.vm.support.tools import go_tool

pytestmark = pytest.mark.contract
STATUS: Final = Path("/var/lib/dpkg/status")
FIELDS: Final = "${Package}\\t${Version}\\t${Architecture}\\t${source:Package}\\t${source:Version}\\n"
WHEELS: Final = [{"package": "typing_extensions", "version": "4.1"}]
FORMS: Final = {"spdx": sbom.document, "cyclonedx": cyclonedx.document}


@pytest.mark.parametrize("form", FORMS)
def test_b12_trivy_finds_each_package_with_the_source_that_advisories_are_about(tmp_path: Path, form: str) -> None:
    installed = contents.installed(STATUS.read_text())
    bill = Bill(
        name="node",
        version="1.0.0",
        root_hash="ab" * 32,
        system=OperatingSystem("debian", "12"),
        packages=parts({"installed": installed, "boot": []}, installed, {}),
        wheels=WHEELS,
        files=[],
        epoch=1_700_000_000,
    )
    path = tmp_path / "sbom.json"
    path.write_text(json.dumps(FORMS[form](bill)))
    found: dict[str, Any] = json.loads(process.run([go_tool("scanner"), form, path]).stdout)
    assert found["system"] == ["debian", "12"]
    assert sorted(map(tuple, found["packages"])) == dpkgs()
    assert found["others"] == [["python-pkg", "typing_extensions", "4.1"]]


def dpkgs() -> list[tuple[str, ...]]:
    """Name, version, architecture, source and its version of each package of this machine, as dpkg says."""
    listed = process.run(["dpkg-query", "--show", f"--showformat={'${db:Status-Status}'}\\t{FIELDS}"]).text
    rows = [line.split("\t") for line in listed.splitlines()]
    found = sorted(tuple(row[1:]) for row in rows if row[0] == "installed")
    assert len(found) > 300
    return found
