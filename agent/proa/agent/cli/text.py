"""Reports as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proa.core.runtime.events import human_bytes
from proa.core.runtime.printable import printable


def describe_status(document: Mapping[str, Any]) -> str:
    """``proa.status/v1``."""
    lines = [f"{document['state']}: {document['meaning']}"]
    for name, slot in document["slots"].items():
        marks = [mark for mark in ("booted", "good", "trial") if document[mark] == name]
        version = slot["version"] or "-"
        lines.append(f"  slot {name}  {version:<20} {slot['state']:<9} {', '.join(marks)}".rstrip())
        if slot["root_hash"]:
            lines.append(f"          root {slot['root_hash']}")
    if document["trial"]:
        lines.append(f"  tries left: {document['left']}")
    lines += [f"  problem: {document['problem']['message']}"] if document["problem"] else []
    lines += [f"  warning: {warning}" for warning in document["warnings"]]
    if now := document["progress"]:
        lines.append(f"  now: {now['verb']}, {now['step']} {now['done']} of {now['total']} bytes")
    if last := document["last"]:
        how = "done" if last["ok"] else f"{last['code']}: {last['message']}"
        lines.append(f"  last: {last['verb']} at {last['time']}: {how}")
    if order := document["order"]:
        why = f": {order['code']}: {order['message']}" if order["code"] else ""
        lines.append(f"  order: {order['id']}, {order['action']}: {order['result']}{why}")
    if back := document["returned"]:
        lines.append(f"  returned: {back['version']}: {back['reason']}")
        lines += [f"    {failure['what']}: {failure['why']}" for failure in back["failures"]]
        lines += [f"    kernel: {line}" for line in back["kernel"][-5:]]
    if hidden := document["etc"]["hidden"]:
        lines.append(f"  /etc: {len(hidden)} files stand over the release's: {', '.join(hidden[:10])}")
    return printable("\n".join(lines))


def describe_plan(plan: Mapping[str, Any]) -> str:
    """``proa.install-plan/v1``."""
    release, sizes = plan["release"], plan["bytes"]
    lines = [f"{release['name']} {release['version']} -> slot {plan['slot']}"]
    lines += [f"  {number}. {action}" for number, action in enumerate(plan["actions"], 1)]
    lines += [] if plan["bytes"]["write"] or plan["bytes"]["keep"] else ["  nothing to write: the good slot holds it"]
    return "\n".join([*lines, "  " + ", ".join(f"{name} {human_bytes(count)}" for name, count in sizes.items())])


def describe_install(result: Mapping[str, Any]) -> str:
    """``proa.install/v1``."""
    release = f"{result['release']['name']} {result['release']['version']}"
    if result["unchanged"]:
        done = "the arming of the other slot was taken back" if result["taken_back"] else "nothing to do"
        return f"{release} is what the good slot holds: {done}"
    armed = ", armed" if result["activated"] else ""
    size, seconds, memory = result["bytes"]["write"], result["seconds"], result["peak_memory"]
    told = f"{human_bytes(size)} written in {seconds:.1f} s" if size else "it was there already"
    return f"{release} is in slot {result['slot']}{armed}: {told}, peak memory {human_bytes(memory)}"


def describe_change(result: Mapping[str, Any]) -> str:
    """``proa.change/v1``."""
    planned = "would: " if result["dry_run"] else ""
    trial = f", trial {result['trial']} with {result['left']} tries" if result["trial"] else ""
    return f"{planned}{'; '.join(result['actions'])}\n{result['state']}: good slot {result['good']}{trial}"
