"""The bill of materials is valid SPDX and the same every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from proa.builder.formats import sbom
from proa.core.runtime.errors import Code, ProaError

DEBIAN = [
    {"package": "libstdc++6", "version": "12.2.0-14+deb12u1", "architecture": "amd64", "source": "gcc-12 (12.2.0-14)"},
    {
        "package": "bash",
        "version": "5.2.15-2+b8",
        "architecture": "amd64",
        "maintainer": "Matthias Klose <doko@debian.org>",
        "homepage": "http://tiswww.case.edu/php/chet/bash/bashtop.html",
    },
    {"package": "tzdata", "version": "1:2025b-0+deb12u1", "architecture": "all", "maintainer": "nobody"},
]
BOOT = [{"package": "shim-unsigned", "version": "16.1", "architecture": "amd64"}]
WHEELS = [{"package": "typing_extensions", "version": "4.1"}, {"package": "rpds.py", "version": "0.1"}]

FILES = [
    {"path": "/etc/motd", "origin": "file /etc/motd", "sha1": "a" * 40, "sha256": "b" * 64},
    {"path": "/opt/a b/\N{SNOWMAN}+", "origin": "hook tool.sh", "sha1": "c" * 40, "sha256": "d" * 64},
]


def made() -> dict[str, Any]:
    return sbom.document(
        name="node",
        version="1.0.0+a",
        root_hash="ab" * 32,
        distribution="debian",
        suite="bookworm",
        installed=DEBIAN,
        boot=BOOT,
        wheels=WHEELS,
        files=FILES,
        epoch=1_700_000_000,
    )


def test_it_is_valid_spdx(tmp_path: Path) -> None:
    path = tmp_path / "sbom.spdx.json"
    path.write_text(json.dumps(made()))
    document = parse_file(str(path))
    assert validate_full_spdx_document(document) == []
    assert len(document.packages) == 2 + len(DEBIAN) + len(BOOT) + len(WHEELS)


def test_it_is_the_same_every_time() -> None:
    assert json.dumps(made()) == json.dumps(made())
    assert made()["creationInfo"]["created"] == "2023-11-14T22:13:20Z"


def test_packages_are_named_by_package_urls() -> None:
    urls = {
        reference["referenceLocator"] for package in made()["packages"] for reference in package.get("externalRefs", [])
    }
    assert "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=bookworm" in urls
    assert "pkg:pypi/typing-extensions@4.1" in urls
    assert "pkg:pypi/rpds-py@0.1" in urls


def test_everything_is_contained_in_the_release() -> None:
    document = made()
    contained = {r["relatedSpdxElement"] for r in document["relationships"] if r["relationshipType"] == "CONTAINS"}
    assert contained == {one["SPDXID"] for one in [*document["packages"], *document["files"]]} - {"SPDXRef-release"}


def test_b06_files_of_the_configuration_and_of_hooks_are_listed_with_who_brought_them() -> None:
    files = {file["fileName"]: file for file in made()["files"]}
    assert files.keys() == {f".{file['path']}" for file in FILES}
    assert files["./etc/motd"]["comment"] == "added by file /etc/motd"
    assert files["./etc/motd"]["checksums"][1] == {"algorithm": "SHA256", "checksumValue": "b" * 64}
    assert len({file["SPDXID"] for file in files.values()}) == len(FILES)


def test_packages_are_read_back() -> None:
    found = sbom.packages(json.dumps(made()).encode())
    assert len(found) == len(DEBIAN) + len(BOOT) + len(WHEELS)
    assert {package["name"] for package in found} >= {"libstdc++6", "tzdata"}


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"packages": 1}', b'{"packages": [1]}', b'{"packages": [{}]}', b"\xff"]
)
def test_what_is_no_bill_of_materials_is_refused(data: bytes) -> None:
    with pytest.raises(ProaError) as raised:
        sbom.packages(data)
    assert raised.value.code is Code.RELEASE
