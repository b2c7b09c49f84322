"""The bill of materials is valid SPDX and the same every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from proa.builder.formats import cyclonedx, sbom
from proa.builder.formats.components import Bill, OperatingSystem
from proa.builder.steps.sbom import parts
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
DEBIAN.append({"package": "kubelet", "version": "1.30.1-1.1", "architecture": "amd64", "maintainer": "K <k@k8s.test>"})
BROUGHT = {"package": "brought", "version": "1", "architecture": "amd64"}
BOOT = [{"package": "shim-unsigned", "version": "16.1", "architecture": "amd64"}]
WHEELS = [{"package": "typing_extensions", "version": "4.1"}, {"package": "rpds.py", "version": "0.1"}]

FILES = [
    {"path": "/etc/motd", "origin": "file /etc/motd", "sha1": "a" * 40, "sha256": "b" * 64},
    {"path": "/opt/a b/\N{SNOWMAN}+", "origin": "hook tool.sh", "sha1": "c" * 40, "sha256": "d" * 64},
]


def bill() -> Bill:
    listed = {"installed": DEBIAN, "boot": BOOT}
    return Bill(
        name="node",
        version="1.0.0+a",
        root_hash="ab" * 32,
        system=OperatingSystem("debian", "12"),
        packages=parts(listed, [*DEBIAN, BROUGHT], {"kubelet": "pkgs.k8s.test"}),
        wheels=WHEELS,
        files=FILES,
        epoch=1_700_000_000,
    )


def made() -> dict[str, Any]:
    return sbom.document(bill())


def test_it_is_valid_spdx(tmp_path: Path) -> None:
    path = tmp_path / "sbom.spdx.json"
    path.write_text(json.dumps(made()))
    document = parse_file(str(path))
    assert validate_full_spdx_document(document) == []
    assert len(document.packages) == 4 + len(DEBIAN) + len(BOOT) + len(WHEELS)


def test_it_is_the_same_every_time() -> None:
    assert json.dumps(made()) == json.dumps(made())
    assert made()["creationInfo"]["created"] == "2023-11-14T22:13:20Z"


def test_packages_are_named_by_package_urls() -> None:
    urls = {
        reference["referenceLocator"] for package in made()["packages"] for reference in package.get("externalRefs", [])
    }
    assert (
        "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12&upstream=gcc-12%4012.2.0-14"
    ) in urls
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
    assert len(found) == 1 + len(DEBIAN) + len(BOOT) + len(WHEELS)
    assert {package["name"] for package in found} >= {"libstdc++6", "tzdata"}


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"packages": 1}', b'{"packages": [1]}', b'{"packages": [{}]}', b"\xff"]
)
def test_what_is_no_bill_of_materials_is_refused(data: bytes) -> None:
    with pytest.raises(ProaError) as raised:
        sbom.packages(data)
    assert raised.value.code is Code.RELEASE


def test_b12_a_scanner_finds_the_operating_system_and_what_belongs_to_it() -> None:
    document = made()
    (system,) = [one for one in document["packages"] if one.get("primaryPackagePurpose") == "OPERATING-SYSTEM"]
    assert system["SPDXID"].startswith("SPDXRef-OperatingSystem")
    assert (system["name"], system["versionInfo"]) == ("debian", "12")
    debs = {one["SPDXID"] for one in document["packages"] if one["SPDXID"].startswith("SPDXRef-deb-")}
    below = {one["relatedSpdxElement"] for one in document["relationships"] if one["spdxElementId"] == system["SPDXID"]}
    assert below == debs


@pytest.mark.parametrize(
    ("name", "source", "purl"),
    [
        ("libstdc++6", "gcc-12 12.2.0-14", "upstream=gcc-12%4012.2.0-14"),
        ("bash", "bash 5.2.15-2+b8", "pkg:deb/debian/bash@5.2.15-2%2Bb8?arch=amd64&distro=debian-12"),
        ("tzdata", "tzdata 1:2025b-0+deb12u1", "pkg:deb/debian/tzdata@1%3A2025b-0%2Bdeb12u1?arch=all&distro=debian-12"),
        ("kubelet", "kubelet 1.30.1-1.1", "pkg:deb/pkgs.k8s.test/kubelet@1.30.1-1.1?arch=amd64"),
        ("brought", "brought 1", "pkg:deb/local/brought@1?arch=amd64"),
    ],
)
def test_b12_sources_and_owners_are_named(name: str, source: str, purl: str) -> None:
    (found,) = [one for one in made()["packages"] if one["name"] == name]
    assert found["sourceInfo"] == f"built package from: {source}"
    locator = found["externalRefs"][0]["referenceLocator"]
    assert purl in locator
    assert ("debian" in locator) == (name not in ("kubelet", "brought"))


def test_b12_cyclonedx_says_the_same() -> None:
    document = cyclonedx.document(bill())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    spdx = made()
    purls = {ref["referenceLocator"] for one in spdx["packages"] for ref in one.get("externalRefs", [])}
    assert {one["purl"] for one in document["components"] if "purl" in one} == purls
    files = {f".{one['name']}": one for one in document["components"] if one["type"] == "file"}
    assert files.keys() == {one["fileName"] for one in spdx["files"]}
    refs = [one["bom-ref"] for one in document["components"]]
    assert len(set(refs)) == len(refs)
    edges = {one["ref"]: one["dependsOn"] for one in document["dependencies"]}
    assert {"release", *edges["release"], *edges["system"]} == {"release", *refs}
    source = {one["name"]: one["value"] for one in document["components"][1]["properties"]}
    assert source.keys() == {f"aquasecurity:trivy:{name}" for name in ("PkgType", "SrcName", "SrcVersion")}


def test_b12_it_is_the_same_every_time_in_both_forms() -> None:
    one, other = (cyclonedx.document(bill()) for _ in range(2))
    assert json.dumps(one) == json.dumps(other)
