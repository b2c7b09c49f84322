"""The software bill of materials, as SPDX 2.3 JSON (https://spdx.github.io/spdx-spec/v2.3/)."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any, Final

from proa.builder.formats.components import Bill, DebianPackage, OperatingSystem, python_purl
from proa.core import VERSION
from proa.core.runtime.errors import Code, ProaError

_NAMESPACE: Final = "https://spdx.org/spdxdocs/proa"
_RELEASE: Final = "SPDXRef-release"
_SYSTEM: Final = "SPDXRef-OperatingSystem"
_CONFIGURATION: Final = "SPDXRef-configuration"
_NOT_ID: Final = re.compile(r"[^A-Za-z0-9.-]")


def document(bill: Bill) -> dict[str, Any]:
    """The document for a release."""
    subject = f"{bill.name}-{bill.version}"
    root = {
        "SPDXID": _RELEASE,
        "name": bill.name,
        "versionInfo": bill.version,
        "primaryPackagePurpose": "OTHER",
        **_unknown(),
    }
    base = {
        "SPDXID": _SYSTEM,
        "name": bill.system.name,
        "versionInfo": bill.system.version,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        **_unknown(),
    }
    debs = {one["SPDXID"]: one for one in (_debian(package, bill.system) for package in bill.packages)}
    own = [_configuration(bill.name, bill.version, bill.files)] if bill.files else []
    others = {one["SPDXID"]: one for one in [*map(_wheel, bill.wheels), *own]}
    listed = sorted([*debs.values(), *others.values()], key=lambda package: str(package["SPDXID"]))
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": subject,
        "documentNamespace": f"{_NAMESPACE}/{urllib.parse.quote(subject)}-{bill.root_hash}",
        "creationInfo": {
            "created": bill.created,
            "creators": [f"Tool: proa-{VERSION}"],
        },
        "packages": [root, base, *listed],
        "relationships": [_relation("SPDXRef-DOCUMENT", "DESCRIBES", _RELEASE)]
        + [_relation(_RELEASE, "CONTAINS", identity) for identity in (_SYSTEM, *sorted(others))]
        + [_relation(_SYSTEM, "CONTAINS", identity) for identity in sorted(debs)]
        + [_relation(_CONFIGURATION, "CONTAINS", _file_identity(file)) for file in bill.files],
        **({"files": [_file(file) for file in bill.files]} if bill.files else {}),
    }


def _debian(package: DebianPackage, system: OperatingSystem) -> dict[str, Any]:
    return {
        "SPDXID": _identity("deb", package.name),
        "name": package.name,
        "versionInfo": package.version,
        # In the words that Trivy writes and reads; the package URL says the same to other scanners.
        "sourceInfo": f"built package from: {package.source} {package.source_version}",
        "supplier": _supplier(package.maintainer),
        **({"homepage": package.homepage} if package.homepage.startswith("http") else {}),
        "externalRefs": [_purl(package.purl(system))],
        **_unknown(),
    }


def _wheel(entry: Mapping[str, str]) -> dict[str, Any]:
    package, version = entry["package"], entry["version"]
    return {
        "SPDXID": _identity("python", package),
        "name": package,
        "versionInfo": version,
        "externalRefs": [_purl(python_purl(package, version))],
        **_unknown(),
    }


def _configuration(name: str, version: str, files: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """The files that belong to no package, as one; its code is that of SPDX 2.3, section 7.9."""
    sums = "".join(sorted(file["sha1"] for file in files))
    code = hashlib.sha1(sums.encode(), usedforsecurity=False).hexdigest()
    return {
        **_unknown(),
        "SPDXID": _CONFIGURATION,
        "name": f"{name}-configuration",
        "versionInfo": version,
        "sourceInfo": "added by proa.toml and its hooks",
        "filesAnalyzed": True,
        "packageVerificationCode": {"packageVerificationCodeValue": code},
        "licenseInfoFromFiles": ["NOASSERTION"],
    }


def _file(file: Mapping[str, str]) -> dict[str, Any]:
    return {
        "SPDXID": _file_identity(file),
        "fileName": f".{file['path']}",
        "comment": f"added by {file['origin']}",
        "checksums": [
            {"algorithm": "SHA1", "checksumValue": file["sha1"]},
            {"algorithm": "SHA256", "checksumValue": file["sha256"]},
        ],
        "licenseConcluded": "NOASSERTION",
        "licenseInfoInFiles": ["NOASSERTION"],
        "copyrightText": "NOASSERTION",
    }


def _file_identity(file: Mapping[str, str]) -> str:
    """Paths may have any character, ids may not: the hash of the path tells them apart."""
    return f"SPDXRef-File-{hashlib.sha256(file['path'].encode()).hexdigest()[:32]}"


def _unknown() -> dict[str, Any]:
    """What SPDX wants said and the package database does not know."""
    return {
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
    }


def _supplier(maintainer: str) -> str:
    match = re.fullmatch(r'"?([^"<]+?)"?\s*<([^>]+)>', maintainer)
    return f"Organization: {match[1]} ({match[2]})" if match else "NOASSERTION"


def _purl(url: str) -> dict[str, str]:
    return {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": url}


def _relation(one: str, what: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": what, "relatedSpdxElement": other}


def _identity(kind: str, name: str) -> str:
    """An SPDX id; ``+`` and ``_``, which names may have and ids not, become words."""
    return f"SPDXRef-{kind}-" + _NOT_ID.sub(lambda match: {"+": "-plus", "_": "-u"}.get(match[0], "-x"), name)


def packages(data: bytes) -> list[dict[str, str]]:
    """Names and versions of the packages that a document lists.

    Args:
        data: The document, from a release that somebody else may have built.

    Raises:
        ProaError: ``RELEASE`` when it is not SPDX JSON.
    """
    try:
        found = json.loads(data).get("packages", [])
        return [
            {"name": str(package["name"]), "version": str(package.get("versionInfo", ""))}
            for package in found
            if package.get("SPDXID") not in (_RELEASE, _SYSTEM, _CONFIGURATION)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProaError(Code.RELEASE, "the bill of materials is not SPDX JSON", at="sbom") from error
