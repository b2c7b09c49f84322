"""Writes of ours that may not show yet: their nodes are left alone until they do.

A write shows once the reflector of its collection has reached its resource version. A write that got no answer may have
been made or not: the object is read, and what it says then must be reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from proa.core.runtime.backoff import Backoff
from proa.scheduler.kube import paths
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.server import Server, find
from proa.scheduler.kube.stream import number_of, version_of
from proa.scheduler.objects.writing import Outcome, Written
from proa.scheduler.planning.actions import Action, Cordon, Uncordon
from proa.scheduler.spec.crd import NODE_OSES

REST: Final = 60.0
"""Seconds for which a node is left alone whose write the cluster does not accept; doubled each time, up to:"""
LONGEST_REST: Final = 1800.0
PAUSE: Final = 5.0
"""The same of a node whose write failed although the API server answers others; doubled each time as well."""
_SOON: Final = 1.0
_UNKNOWN: Final = -1


def collection_of(action: Action) -> str:
    """Where an action writes to."""
    return paths.NODES if isinstance(action, (Cordon, Uncordon)) else NODE_OSES


@dataclass(eq=False)
class Pending:
    """The nodes that are left alone, and why.

    Attributes:
        api: The API server.
    """

    api: Server
    _versions: dict[tuple[str, str], int] = field(default_factory=dict)
    _resting: dict[str, float] = field(default_factory=dict)
    _refused: set[str] = field(default_factory=set)
    _rests: dict[str, Backoff] = field(default_factory=dict)
    _why: dict[str, str] = field(default_factory=dict)

    def note(self, action: Action, written: Written, now: float) -> None:
        """What became of a write."""
        key = (collection_of(action), action.node)
        match written.outcome:
            case Outcome.DONE:
                self._versions[key] = max(written.version, self._versions.get(key, 0))
                self._rests.pop(action.node, None)
            case Outcome.AWAY:
                self._versions[key] = _UNKNOWN
            case Outcome.STALE:
                self._resting[action.node] = now + _SOON
                self._refused.discard(action.node)
            case Outcome.REFUSED:
                self._rest(action.node, written, now, REST)
            case _:
                pass

    def failed(self, action: Action, written: Written, now: float) -> None:
        """A write failed on an object of this node alone, as where a webhook is down that is asked about it."""
        self._rest(action.node, written, now, PAUSE)

    def _rest(self, node: str, written: Written, now: float, first: float) -> None:
        rest = self._rests.setdefault(node, Backoff(first=first, longest=LONGEST_REST))
        after = written.error.retry_after if isinstance(written.error, ApiError) else None
        self._resting[node] = now + rest.next(after)
        self._refused.add(node)
        self._why[node] = written.error.message if written.error else ""

    def nodes(self, reached: Mapping[str, int], now: float) -> frozenset[str]:
        """The nodes to leave alone, given up to which version each collection is known."""
        for key, version in list(self._versions.items()):
            if version != _UNKNOWN and reached.get(key[0], 0) >= version:
                del self._versions[key]
        self._resting = {node: until for node, until in self._resting.items() if now < until}
        return frozenset(self._resting) | {node for _, node in self._versions}

    def resting(self) -> frozenset[str]:
        """Those of the last :meth:`nodes` of which nothing is under way: what was written last was not accepted."""
        return frozenset(self._refused & self._resting.keys()) - {node for _, node in self._versions}

    def refusals(self) -> dict[str, str]:
        """By node, of those that rest because their last write was not accepted, or failed: what was said."""
        return {node: self._why.get(node, "") for node in self._refused & self._resting.keys()}

    def due(self, now: float) -> float | None:
        """How many seconds until a node is left alone no longer although nothing has happened; none if never."""
        return min((max(0.0, until - now) for until in self._resting.values()), default=None)

    @property
    def unknown(self) -> bool:
        """Whether there are writes of which nobody knows whether they were made."""
        return any(version == _UNKNOWN for version in self._versions.values())

    def resolve(self) -> None:
        """Find out about them.

        Raises:
            ProaError: When that is not possible now.
        """
        for key in [key for key, version in self._versions.items() if version == _UNKNOWN]:
            item = find(self.api, paths.named(*key))
            if item is None:
                del self._versions[key]
            else:
                self._versions[key] = number_of(version_of(item))

    def clear(self) -> None:
        """Another term begins: nobody rests any more. What was written in the one before may still have to show."""
        self._resting.clear()
        self._refused.clear()
        self._rests.clear()
        self._why.clear()
