"""What became of each node when, as the API server tells it: stage, drain, reboot, ready, commit."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from proa.core.runtime.errors import ProaError
from proa.scheduler.kube import paths
from proa.scheduler.spec.crd import NODE_OSES
from proa.vm.kube.api import KubeApi, Object

_PERIOD: Final = 0.5


@dataclass(frozen=True)
class Sight:
    """One look at a node.

    Attributes:
        ready: Whether it is Ready.
        cordoned: Whether no pods come to it.
        order: The action of its order, with its id.
        result: How far that has come.
        phase: What its agent says it does.
        version: Of the release that runs.
        slot: That it runs in.
        committed: Whether that is the good one.
        boot_id: Of the running kernel, as the agent says.
        kubelet_boot: The same, as the kubelet says: it may know of another boot earlier.
        standby: The digest of the release in the other slot.
        root_hash: Of the running root.
        error: The agent's reason for the last failure.
    """

    ready: bool
    cordoned: bool
    order: str
    result: str
    phase: str
    version: str
    slot: str
    committed: bool
    boot_id: str
    kubelet_boot: str
    standby: str
    root_hash: str
    error: str

    @property
    def text(self) -> str:
        """In one line."""
        words = [f"{self.slot or '-'}:{self.version or '-'}", "committed" if self.committed else "", self.phase]
        words += [self.order, self.result, "" if self.ready else "NotReady", "cordoned" if self.cordoned else ""]
        return " ".join(word for word in words if word)


@dataclass
class Timeline:
    """Looks at all nodes as long as the ``with`` block lasts.

    Attributes:
        api: The API server; what it does not tell while it is away is missing.
        seen: For each node every change: seconds from the beginning, and what was seen.
    """

    api: KubeApi
    seen: dict[str, list[tuple[float, Sight]]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def now(self) -> float:
        """Seconds from the beginning."""
        return time.monotonic() - self.began

    def document(self) -> dict[str, list[dict[str, Any]]]:
        """Every change, by node, as a report has it."""
        return {
            name: [{"at": round(at, 1), "what": sight.text} for at, sight in list(changes)]
            for name, changes in sorted(self.seen.items())
        }

    def _run(self) -> None:
        while not self._stop.wait(_PERIOD):
            try:
                sights = look(self.api)
            except ProaError:
                continue
            for name, sight in sights.items():
                changes = self.seen.setdefault(name, [])
                if not changes or changes[-1][1] != sight:
                    changes.append((self.now, sight))


def turns(seen: Mapping[str, Sequence[tuple[float, Sight]]], since: float, until: float) -> dict[str, dict[str, float]]:
    """Seconds of each part of the last turn that a node had between two times.

    Args:
        seen: As :attr:`Timeline.seen`.
        since: Seconds from the beginning.
        until: The same.
    """
    found = {}
    for name, changes in sorted(seen.items()):
        marks = {mark: at for mark, at in _marks(list(changes)) if since <= at <= until}
        if spans := {step: round(end - begin, 1) for step, begin, end in _spans(marks)}:
            found[name] = spans
    return found


def look(api: KubeApi) -> dict[str, Sight]:
    """All nodes as they are now.

    Raises:
        ProaError: ``NETWORK`` or ``TOOL`` while the API server is away.
    """
    told = api.call("GET", NODE_OSES).check(404).document.get("items", ())  # 404: Proa is not installed yet
    oses = {item["metadata"]["name"]: item for item in told}
    return {
        item["metadata"]["name"]: _sight(item, oses.get(item["metadata"]["name"], {}))
        for item in api.items(paths.NODES)
    }


def _sight(node: Object, os: Object) -> Sight:
    status = os.get("status") or {}
    order, observed = (os.get("spec") or {}).get("order") or {}, status.get("observedOrder") or {}
    booted, standby = status.get("booted") or {}, status.get("standby") or {}
    conditions = node.get("status", {}).get("conditions") or []
    error = status.get("lastError") or {}
    return Sight(
        ready=any(one["type"] == "Ready" and one["status"] == "True" for one in conditions),
        cordoned=bool(node["spec"].get("unschedulable")),
        order=f"{order['action']}#{order['id']}" if order else "",
        result=observed.get("result", "") if observed.get("id") == order.get("id") else "",
        phase=status.get("phase", ""),
        version=booted.get("version", ""),
        slot=booted.get("slot", ""),
        committed=bool(booted.get("committed")),
        boot_id=booted.get("bootID", ""),
        kubelet_boot=node.get("status", {}).get("nodeInfo", {}).get("bootID", ""),
        standby=standby.get("release", ""),
        root_hash=booted.get("rootHash", ""),
        error=" ".join(word for word in (error.get("code", ""), error.get("message", "")) if word),
    )


def _marks(changes: list[tuple[float, Sight]]) -> Iterator[tuple[str, float]]:
    """When each part of a turn began; of two, the last one counts."""
    before: Sight | None = None
    for at, sight in changes:
        if before is not None:
            action = sight.order.partition("#")[0] if sight.order != before.order else ""
            if action:
                yield action, at
            if sight.cordoned and not before.cordoned:
                yield "cordon", at
            if before.cordoned and not sight.cordoned:
                yield "uncordoned", at
            if sight.boot_id != before.boot_id:
                yield "booted", at
            if sight.result == "Done" != before.result:
                yield f"{sight.order.partition('#')[0]} done", at
            if sight.ready and not before.ready:
                yield "ready", at
        before = sight


def _spans(marks: dict[str, float]) -> Iterator[tuple[str, float, float]]:
    left = "Rollback" if marks.get("Rollback", -1.0) > marks.get("Boot", -1.0) else "Boot"
    ends = {
        "stage": ("Stage", "Stage done"),
        "drain": ("cordon", left),
        "reboot": (left, "booted"),
        "ready": ("booted", "Commit" if "Commit" in marks else "ready"),
        "commit": ("Commit", "Commit done"),
        "uncordon": ("Commit done", "uncordoned"),
    }
    for step, (begin, end) in ends.items():
        if begin in marks and marks.get(end, -1.0) >= marks[begin]:
            yield step, marks[begin], marks[end]
