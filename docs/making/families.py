"""The page of the families of faults: what can go wrong, and the tests whose names carry the family's number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from making.markdown import code, page, table

_ROOT: Final = Path(__file__).resolve().parents[2]
_FOLDERS: Final = ("core", "partition", "builder", "agent", "scheduler", "vm-tests")
_TEST: Final = re.compile(r"^ *def (test(?:_[ns]\d\d)*((?:_f\d+)+)_\w+)", re.MULTILINE)

FAMILIES: Final[dict[int, str]] = {
    1: "an artifact that is empty, truncated or one byte long",
    2: "random bytes with the right magic",
    3: "extra bytes at the end; duplicated or unordered entries",
    4: "path traversal, links, and control characters in names and annotations",
    5: "sizes that are negative, huge, or not multiples of a block",
    6: "decompression bombs, large windows, concatenated or truncated frames",
    7: "unknown versions and fields, duplicate keys, deep nesting, huge documents",
    8: "a release for another product, architecture or layout, or a newer agent",
    9: "an image that is smaller than the old one, exactly the slot's size, or a byte larger",
    10: "an index that lies, is stale, or has the wrong length",
    11: "no signature",
    12: "a signature with a flipped bit",
    13: "a signature by a key that is not trusted",
    14: "a signing certificate that is expired, revoked, or for another purpose",
    15: "a signed document whose blob has another digest",
    16: "signatures that are too large, too many, or listed twice",
    17: "a threshold that is not reached; rotated keys",
    18: "an older release, or another one of the same version",
    19: "an expired release; a wrong clock",
    20: "the kernel image of one release with the root of another",
    21: "weak or unknown algorithms",
    22: "trusted state that is lost, corrupt or unwritable",
    23: "DNS, connection and TLS failures",
    24: "logins that are refused or expire in the middle",
    25: "a tag that moves or is deleted in the middle",
    26: "429 and 5xx answers",
    27: "connections that are cut, stall or trickle; wrong lengths",
    28: "range requests that are answered wrongly",
    29: "redirects: loops, downgrades, other hosts, expired addresses",
    30: "wrong bytes of the right length, and more bytes than signed",
    31: "proxies that demand a login or answer with a page",
    32: "referrers that cannot be listed; signatures missing, or good ones beside bad",
    33: "mirrors that are stale or away",
    34: "errors and short answers of the operating system, on reads and writes",
    35: "writes that are lost",
    36: "bits that flip between write and read",
    37: "flushes that fail once",
    38: "a target that is mounted or in use",
    39: "two disks with the same labels; devices that appear late or vanish",
    40: "state folders that are full, read-only, or on another file system",
    41: "limits of memory, threads and open files",
    42: "other sector sizes; damaged partition tables",
    43: "a second agent; signals at every step",
    44: "hooks and checks that hang, flood or misbehave",
    45: "a resumed install whose slot was changed meanwhile",
    46: "resuming again and again",
    47: "power cuts at every write",
    48: "power cuts while the boot state is written",
    49: "power cuts at every boot of a committed slot",
    50: "power cuts at every boot of a trial",
    51: "a boot state with any bytes",
    52: "a boot state at another place than everybody expects",
    53: "another boot state than the loader's",
    54: "a damaged boot partition",
    55: "a trial whose kernel, root, init or services are broken",
    56: "two bad slots",
    57: "a block of the good slot that goes bad while it runs",
    58: "firmware variables that are full, lost or refused",
    59: "orders at odd moments: during a trial, twice, crosswise",
    60: "an older agent that reads a newer one's records",
    61: "an API server that is away, slow or contradicts; two schedulers",
    62: "drains that never end",
    63: "nodes that do not return, or return as something else",
    64: "more failures than are allowed",
    65: "the quorum of the control plane",
    66: "rollouts that are edited or deleted in the middle",
    67: "a thousand nodes at once",
    68: "orders that are replayed or stale",
}
"""Each family by its number."""
UNTESTED: Final[dict[int, str]] = {
    14: "keys have no certificates; a key that is not in the trust folder any more counts for nothing (F13)",
    54: "nothing writes to the boot partition after the factory, as crash replay shows; damage to it is not tried",
    58: "the loader needs no variable of the firmware but those of Secure Boot; full or lost stores are not tried",
}
"""Why a family has no test."""


def by_family() -> dict[int, list[tuple[str, str]]]:
    """The tests of each family: on what they run, and their names."""
    found: dict[int, list[tuple[str, str]]] = {}
    for folder in _FOLDERS:
        for path in sorted((_ROOT / folder / "tests").rglob("test_*.py")):
            for part, name, numbers in _in_file(path.read_text()):
                for number in numbers:
                    found.setdefault(number, []).append((part, name))
    return found


def _in_file(text: str) -> Iterator[tuple[str, str, list[int]]]:
    part = "machine" if "pytest.mark.vm" in text else "real parts" if "pytest.mark.contract" in text else "unit"
    for name, numbers in _TEST.findall(text):
        yield part, name, [int(number) for number in re.findall(r"\d+", numbers)]


def families_page() -> str:
    """docs/reference/fault-families.md."""
    found = by_family()
    return page(
        "Families of faults",
        "What can go wrong, and what tests it. A test carries the numbers of its families in its name. *Unit* tests "
        "run on files and fakes, *real parts* on loop devices, registries, processes and an API server, *machine* on "
        "a virtual machine.",
        table(["family", "what", "tests", "where", "for example"], list(_rows(found))),
    )


def _rows(found: dict[int, list[tuple[str, str]]]) -> Iterator[list[str]]:
    for number, what in FAMILIES.items():
        mine = found.get(number, [])
        parts = [part for part in ("unit", "real parts", "machine") if part in {one for one, _ in mine}]
        example = code(mine[-1][1]) if mine else UNTESTED.get(number, "")
        yield [f"F{number}", what, str(len(mine)), ", ".join(parts), example]
