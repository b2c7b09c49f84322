"""What is fuzzed: every function that reads bytes of a stranger, and what it may raise for them.

A target is given bytes and must come back, or raise what it says in its documentation. The corpus beside this module
has a folder for each; the unit tests run all of it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import zstandard

from proa.agent.node import record
from proa.builder.config import loading
from proa.core.oci import authfile, headers, reference
from proa.core.orders.messages import NodeStatus, Order
from proa.core.release import delta, document, frames, zstdframe
from proa.core.release.frames import Expected
from proa.core.runtime.errors import Code, ProaError, ProaErrors
from proa.core.runtime.json_text import load_json
from proa.core.schema.model import parse
from proa.core.settings import allow_list, checking
from proa.core.settings import document as settings
from proa.core.settings.registry import render
from proa.core.signing import bundle, trustfile
from proa.core.signing.keys import Algorithm, public_from_pem
from proa.partition.boot import bootstate, decisions, envblock
from proa.partition.boot.bootstate import Slot
from proa.partition.disk import fatfile, gpt
from proa.scheduler.objects import annotations as notes
from proa.scheduler.objects import reading
from proa.scheduler.report import document as snapshot

Target = Callable[[bytes], object]
CORPUS: Final = Path(__file__).with_name("corpus")
EXPECTED: Final = {"boot": Expected(1 << 18, 1 << 17, 4096), "root": Expected(1 << 20, 1 << 17, 1 << 16)}
"""What the map that is fuzzed must describe."""
_KEY: Final = Algorithm.ED25519.generate().public
_DIGEST: Final = f"sha256:{'0' * 64}"
_ENV_BLOCK: Final = 1024
_SECTOR: Final = 512


def _refused(*kinds: type[BaseException]) -> Callable[[Target], Target]:
    """A target that may raise these."""

    def made(target: Target) -> Target:
        def run(data: bytes) -> object:
            try:
                return target(data)
            except kinds:
                return None

        return run

    return made


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _settings(data: bytes) -> object:
    """A document that is allowed is rendered, too: nothing may go wrong once it was accepted."""
    found = settings.parse(data)
    everything = allow_list.AllowList(
        {name: dict.fromkeys(part, allow_list.ANY) for name, part in found.models.items()}
    )
    return render(found) if not checking.check(found, everything) else None


def _file(data: bytes, name: str, read: Callable[[Path], object]) -> object:
    with tempfile.TemporaryDirectory(prefix="proa-fuzz-") as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        return read(path)


def _trust(data: bytes) -> object:
    return _file(data, "trust.json", lambda path: trustfile.load(path.parent, None))


def _auth(data: bytes) -> object:
    return _file(data, "auth.json", lambda path: authfile.find("registry.example", "a/b", path))


def _configuration(data: bytes) -> object:
    return _file(data, "proa.toml", loading.load)


def _fat(data: bytes) -> object:
    return fatfile.file_digest(lambda at, size: data[at : at + size].ljust(size, b"\0"), len(data), "/EFI/proa/uki.efi")


def _delta_index(data: bytes) -> object:
    """The document, a NUL, and the index."""
    first, _, rest = data.partition(b"\0")
    return list(delta.read_index(rest, delta.decode(first)))


def _blocks(data: bytes) -> object:
    """Both copies of the boot state: what is read, and what GRUB would do."""
    first, second = data[:_ENV_BLOCK].ljust(_ENV_BLOCK, b"#"), data[_ENV_BLOCK:][:_ENV_BLOCK].ljust(_ENV_BLOCK, b"#")
    bootstate.refused(first)
    bootstate.rounds(first)
    return bootstate.decode(first), bootstate.pick(first, second), decisions.decide(first, second, Slot.A)


def _node_os(data: bytes) -> object:
    """What the scheduler sees of an object in which anything may stand."""
    found = load_json(data, Code.CONFIG_SYNTAX)
    found["metadata"] = {"name": "n", **(found["metadata"] if isinstance(found.get("metadata"), dict) else {})}
    return reading.node(found), reading.node_os(found), reading.rollout(found)


def _order(data: bytes) -> object:
    found = load_json(data, Code.CONFIG_SYNTAX)
    return parse(Order, found, strict=True), parse(NodeStatus, found)


def _headers(data: bytes) -> object:
    text = data.decode("latin-1")
    return headers.challenges(text), headers.media_type(text), headers.next_link(text), headers.date(text)


def _snapshot(data: bytes) -> object:
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return snapshot.read(found)


_KNOWN: Final = _refused(ProaError, ProaErrors)
TARGETS: Final[Mapping[str, Target]] = {
    "agent-record": _KNOWN(lambda data: record.read(load_json(data, Code.CONFIG_SYNTAX))),
    "annotations": lambda data: (notes.read_mark(_text(data)), notes.read_record(_text(data))),
    "auth-file": _KNOWN(_auth),
    "boot-state": _blocks,
    "configuration": _KNOWN(_configuration),
    "delta": _KNOWN(_delta_index),
    "env-block": lambda data: envblock.parse(data.ljust(_ENV_BLOCK, b"#")),
    "fat": _KNOWN(_fat),
    "frame": _refused(zstandard.ZstdError)(lambda data: zstdframe.content(data, 1 << 12)),
    "gpt": lambda data: gpt.decode(data.ljust(_SECTOR, b"\0")[:_SECTOR]),
    "headers": _headers,
    "key": _KNOWN(public_from_pem),
    "map": _KNOWN(lambda data: frames.decode_maps(data, expected=EXPECTED)),
    "node-os": _KNOWN(_node_os),
    "order": _KNOWN(_order),
    "reference": _KNOWN(lambda data: reference.parse(_text(data))),
    "release": _KNOWN(lambda data: document.decode(data).encode()),
    "settings": _KNOWN(_settings),
    "settings-allowed": _KNOWN(allow_list.of_json),
    "signature": _KNOWN(lambda data: (bundle.predicate_of(data), bundle.examine(data, _DIGEST, [_KEY]))),
    "snapshot": _KNOWN(_snapshot),
    "trust": _KNOWN(_trust),
}
"""Every target by its name."""
