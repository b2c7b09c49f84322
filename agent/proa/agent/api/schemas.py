"""The JSON Schemas of what ``proa-agent`` reports: those of its API, and those of the verbs that do long work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from proa.agent.node.cause import Cause
from proa.core.artifact.schemas import DIGEST, HEX64, Schema, flag, listing, number, record, report, seconds, text
from proa.core.orders.messages import NodeStatus
from proa.core.schema.json_schema import json_schema
from proa.partition.cli.schemas import SLOT

_CAUSES: Final = ", ".join(f"`{cause.value}`" for cause in Cause)
_API: Final = Path(__file__).with_name("openapi.json")
_REFERENCE: Final = "#/components/schemas/"
_WHAT: Final[Mapping[str, str]] = {
    "Change": "`proa-agent activate`, `deactivate`, `commit` and `rollback`: the node after it, or before a dry run.",
    "Job": "`proa-agent cancel`: what was asked to stop.",
    "Status": "`proa-agent status`: one look at the node.",
}
"""The reports that the API gives too."""
_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "Change": {
        "state": "What the node is now (docs/reference/agent-states.md).",
        "booted": "The running slot; null where nothing runs, as with an image file.",
        "good": "The committed slot.",
        "trial": "The slot that is armed or on trial.",
        "left": "Tries that the trial has left.",
        "version": "What the slot holds that does not run.",
        "dry_run": "Whether nothing was done.",
        "actions": "What was done, or would be, in order.",
    },
    "Job": {
        "job": "Its number; of a process without daemon its process number.",
        "verb": "What it does; empty if that is not known.",
        "since": "The number of its first event.",
    },
    "Status": {
        "state": "What the node is (docs/reference/agent-states.md).",
        "meaning": "The same in a sentence.",
        "booted": "The running slot; null where nothing runs, as with an image file.",
        "good": "The committed slot.",
        "trial": "The slot that is armed or on trial.",
        "left": "Tries that the trial has left.",
        "other_good": "Whether the slot that is not good is known to be good too.",
        "disk": "The disk.",
        "boot_id": "The kernel's identifier of this boot.",
        "floor": "The lowest serial that is accepted.",
        "slots": "Both slots.",
        "progress": "The work that is under way; null if there is none.",
        "last": "How the last work ended.",
        "returned": "The last trial that came back without a commit, and why.",
        "problem": "Why nothing can be changed on this node: an error's code and message.",
        "warnings": "What does not hinder, but should be read.",
        "etc": "`hidden`: files of the release's /etc that the node's own hide; null if that cannot be seen.",
        "order": "The order that the cluster gave last (docs/explanation/orders.md); null if it never gave one.",
    },
    "GivenOrder": {
        "id": "Its number; it grows.",
        "action": "What it asks for.",
        "release": "The release; empty where none is meant.",
        "result": "`Running`, `Done`, `Refused` or `Failed`.",
        "code": "The error's code; empty if there is none.",
        "message": "The error's text.",
    },
    "SlotStatus": {
        "state": "What the slot is (docs/reference/agent-states.md).",
        "meaning": "The same in a sentence.",
        "version": "Of the release in it; empty if it is not known.",
        "root_hash": "Of the release in it.",
        "manifest": "The digest that was signed; empty for what the factory put there.",
        "serial": "Of the release in it.",
        "complete": "Whether all of it is there.",
    },
    "Progress": {
        "verb": "What is done.",
        "job": "Its number.",
        "slot": "The slot that is written; empty if none is.",
        "step": "The step that is under way.",
        "done": "Bytes of it that are done.",
        "total": "Bytes of it; 0 if that is not known.",
    },
    "Result": {
        "verb": "What was done.",
        "ok": "Whether it ended well.",
        "time": "When it ended (RFC 3339).",
        "code": "The error's code; empty if it ended well.",
        "message": "The error's text.",
        "details": "Further facts, such as the version.",
    },
    "Returned": {
        "slot": "The slot that was tried.",
        "version": "Of the release in it.",
        "root_hash": "Of the release in it.",
        "time": "When the return was noticed (RFC 3339).",
        "reason": "Why, in one sentence.",
        "tries": "Tries that it had.",
        "used": "Tries that were used.",
        "failures": "What its last look at itself found.",
        "kernel": "The last messages of the trial's kernel, where its end left them.",
        "etc": "What it changed in /etc: where that is kept, and its files; null if nothing.",
        "code": "`TRIAL_RETURNED`, or `NO_COMMIT_ORDER` for a healthy one that nobody ordered to be committed.",
        "cause": f"Why, as one word: {_CAUSES}; empty in what an older agent wrote.",
    },
    "Failure": {
        "what": "`unit NAME`, `check NAME` or `system`.",
        "why": "In a few words.",
        "output": "The end of what a check said.",
        "waiting": "Whether it may mend itself with time.",
    },
}
"""What the API's schemas do not say: component and key to a sentence."""

_RELEASE: Final = record(
    "The release.",
    name=text("The product line."),
    version=text("What people call it."),
    serial=number("Orders the releases of a product line."),
    root_hash=text("Its true name.", HEX64),
    manifest=text("What was signed.", DIGEST),
)
_BYTES: Final = record(
    "How much of what.",
    fetch=number("Fetched from the registry."),
    copy=number("Copied from a slot of this node."),
    keep=number("Already where it must be."),
    write=number("Written to the slot."),
)

_INSTALL: Final = report(
    "proa.install/v1",
    "`proa-agent install`.",
    release=_RELEASE,
    slot=SLOT,
    bytes=_BYTES,
    unchanged=flag("Whether nothing was written, because the good slot holds it."),
    activated=flag("Whether the next boot tries it."),
    taken_back=flag("Whether the good slot's release was activated, so that the arming of another one was taken back."),
    reboot=flag("Whether a reboot was ordered."),
    seconds=seconds("The whole install."),
    peak_memory=number("Bytes, of the process that did it."),
)

_PLAN: Final = report(
    "proa.install-plan/v1",
    "`proa-agent install --dry-run`: what an install would do, once the release is verified.",
    release=_RELEASE,
    slot=SLOT,
    bytes=_BYTES,
    actions=listing("In order; empty if there is nothing to do.", text("One action, in words.")),
)

_SCRUB: Final = report(
    "proa.scrub/v1",
    "`proa-agent scrub`, when the slot is whole; else the document is `proa.error/v1` with `VERITY`.",
    slot=SLOT,
    ok=flag("Whether it is whole."),
    blocks=number("Blocks that were read."),
    bad=number("Blocks that do not match the tree."),
    first=listing("The first of them.", number("A block.")),
    tree=text("What is wrong with the tree; empty if nothing."),
    boot=text("What is wrong with the image of `UKI-x`; empty if nothing."),
)


_NODE: Final = report(
    "proa.node/v1",
    "What the order socket answers, and each line of its stream: what the node says of itself to the cluster.",
    status=json_schema(NodeStatus),
)


def _of_api() -> dict[str, Schema]:
    """The API's schemas, each able to stand alone."""
    components: dict[str, Schema] = json.loads(_API.read_text())["components"]["schemas"]
    local = {name: _described(name, _local(schema)) for name, schema in components.items()}
    found = {}
    for name, what in _WHAT.items():
        needed = _needed(components[name], components)
        definitions = {"$defs": {other: local[other] for other in needed}} if needed else {}
        schema: Schema = {"description": what} | local[name] | definitions
        found[components[name]["properties"]["schema"]["const"]] = schema
    return found


def _described(name: str, schema: Schema) -> Schema:
    """The same with a sentence for every key that has none."""
    words = _WORDS.get(name, {})
    if not words:
        return schema
    keys = {
        key: ({"description": words[key]} if key in words else {}) | value
        for key, value in schema["properties"].items()
    }
    return schema | {"properties": keys}


def _needed(schema: Any, components: Mapping[str, Schema]) -> list[str]:
    """Names of the components that a schema points at, and that these point at."""
    found: list[str] = []
    queue = [schema]
    while queue:
        for name in _references(queue.pop()):
            if name not in found:
                found.append(name)
                queue.append(components[name])
    return sorted(found)


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"].removeprefix(_REFERENCE)] if "$ref" in value else []
        return own + [name for item in value.values() for name in _references(item)]
    return [name for item in value for name in _references(item)] if isinstance(value, list) else []


def _local(value: Any) -> Any:
    """The same with references into ``$defs``, and open: a reader must bear keys that it does not know."""
    if isinstance(value, dict):
        return {
            key: "#/$defs/" + item.removeprefix(_REFERENCE) if key == "$ref" else _local(item)
            for key, item in value.items()
            if (key, item) != ("additionalProperties", False)
        }
    return [_local(item) for item in value] if isinstance(value, list) else value


SCHEMAS: Final[Mapping[str, Schema]] = _of_api() | {
    "proa.install/v1": _INSTALL,
    "proa.install-plan/v1": _PLAN,
    "proa.node/v1": _NODE,
    "proa.scrub/v1": _SCRUB,
}
"""The schemas of this package, by name."""
