"""The bill of materials as CycloneDX 1.5 JSON (https://cyclonedx.org/docs/1.5/json)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from proa.builder.formats.components import Bill, DebianPackage, OperatingSystem, python_purl
from proa.core import VERSION

_SOURCE: Final = "aquasecurity:trivy:"
"""The properties that Trivy reads a source package from; package URLs say the same to other scanners."""


def document(bill: Bill) -> dict[str, Any]:
    """The document for a release."""
    subject = f"{bill.name}:{bill.version}"
    release = {"type": "platform", "bom-ref": "release", "name": bill.name, "version": bill.version}
    base = {"type": "operating-system", "bom-ref": "system", "name": bill.system.name, "version": bill.system.version}
    debs = {one["bom-ref"]: one for one in (_debian(package, bill.system) for package in bill.packages)}
    others = {one["bom-ref"]: one for one in [*map(_wheel, bill.wheels), *map(_file, bill.files)]}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'proa:sbom:{subject}:{bill.root_hash}')}",
        "version": 1,
        "metadata": {
            "timestamp": bill.created,
            "tools": {"components": [{"type": "application", "name": "proa", "version": VERSION}]},
            "component": release,
        },
        "components": [base, *(debs[ref] for ref in sorted(debs)), *(others[ref] for ref in sorted(others))],
        "dependencies": [
            {"ref": "release", "dependsOn": ["system", *sorted(others)]},
            {"ref": "system", "dependsOn": sorted(debs)},
        ],
    }


def _debian(package: DebianPackage, system: OperatingSystem) -> dict[str, Any]:
    purl = package.purl(system)
    facts = {"PkgType": "debian", "SrcName": package.source, "SrcVersion": package.source_version}
    return {
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "purl": purl,
        **({"publisher": package.maintainer} if package.maintainer else {}),
        "properties": [{"name": _SOURCE + key, "value": value} for key, value in facts.items()],
    }


def _wheel(entry: Mapping[str, str]) -> dict[str, Any]:
    purl = python_purl(entry["package"], entry["version"])
    return {
        "type": "library",
        "bom-ref": purl,
        "name": entry["package"],
        "version": entry["version"],
        "purl": purl,
    }


def _file(file: Mapping[str, str]) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"file:{file['path']}",
        "name": file["path"],
        "hashes": [{"alg": "SHA-1", "content": file["sha1"]}, {"alg": "SHA-256", "content": file["sha256"]}],
        "properties": [{"name": "proa:origin", "value": file["origin"]}],
    }
