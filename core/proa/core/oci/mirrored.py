"""A repository that has mirrors, as one source: each is asked in turn, and left when it fails.

Nothing that a mirror says is believed: what counts is signed, or checked against a signed digest. Tags are resolved by
the registry itself, and by a mirror only where that cannot be reached. Signatures are looked for everywhere, so that no
mirror can keep them back.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final, Self, TypeVar

from proa.core.oci.failures import safe_url
from proa.core.oci.reference import Reference
from proa.core.oci.remote import RemoteRepository
from proa.core.oci.source import MAX_REFERRERS, Descriptor, Source, Wanted, everything
from proa.core.runtime.clock import Clock
from proa.core.runtime.errors import Code, ProaError

LEFT: Final = 300.0
"""Seconds for which a mirror that failed is not asked."""
_UNREACHABLE: Final = frozenset(
    {Code.NETWORK, Code.REGISTRY, Code.AUTH, Code.AUTH_FILE, Code.NOT_FOUND, Code.PLAIN_HTTP}
)
_WRONG: Final = frozenset({Code.DIGEST, Code.FRAMES, Code.VERITY, Code.RELEASE})
"""A mirror that gives other bytes is not asked any more."""
Result = TypeVar("Result")
Tell = Callable[[str], None]
"""Is told, in a sentence, which mirror is left and why."""


@dataclass
class Place:
    """One of the places that have the content.

    Attributes:
        name: What it is called.
        open: Opens it; done when it is first asked.
        left_until: When it may be asked again, by the clock.
    """

    name: str
    open: Callable[[], RemoteRepository]
    left_until: float = -math.inf
    _opened: RemoteRepository | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def source(self) -> RemoteRepository:
        """The repository there."""
        with self._lock:
            if self._opened is None:
                self._opened = self.open()
            return self._opened

    def close(self) -> None:
        """Close it, if it was opened."""
        if self._opened is not None:
            self._opened.close()


class MirroredRepository:
    """A repository and its mirrors as a :class:`proa.core.oci.source.Source`.

    Args:
        reference: The repository, and what is meant in it.
        registry: The registry itself, which is asked last.
        brief: The registry again, for what may do without it.
        mirrors: The mirrors, in order.
        clock: Whose time counts.
        tell: Is told which mirror is left.
    """

    def __init__(
        self, reference: Reference, registry: Place, brief: Place, mirrors: Sequence[Place], clock: Clock, tell: Tell
    ) -> None:
        self.reference = reference
        self._registry, self._brief, self._mirrors = registry, brief, mirrors
        self._clock = clock
        self._tell = tell
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """See :class:`proa.core.oci.source.Source`."""
        for place in (self._registry, self._brief, *self._mirrors):
            place.close()

    @property
    def ranges(self) -> bool:
        """See :class:`proa.core.oci.source.Source`. A mirror that answers no range requests is left instead."""
        return bool(self._usable()[:-1]) or self._registry.source().ranges

    @contextmanager
    def turn(self) -> Iterator[Source]:
        """See :class:`proa.core.oci.source.Source`."""
        place = self._usable()[0]
        with self._charged(place):
            yield place.source()

    def resolve(self) -> str:
        """See :class:`proa.core.oci.source.Source`. Mirrors are asked only if the registry cannot be reached."""
        if self.reference.digest:
            return self.reference.digest
        try:
            return self._registry.source().resolve()
        except ProaError as error:
            if error.code is not Code.NETWORK:
                raise
            for place in self._usable()[:-1]:
                with self._charged(place, spared=(Code.NOT_FOUND,)):
                    return place.source().resolve()
            raise

    def manifest(self, digest: str) -> bytes:
        """See :class:`proa.core.oci.source.Source`."""
        return self._anywhere(lambda source: source.manifest(digest))

    def referrers(self, digest: str, wanted: Wanted = everything) -> list[Descriptor]:
        """See :class:`proa.core.oci.source.Source`. What any place lists, of each as much as of the others."""
        lists: list[list[Descriptor]] = []
        for place in self._usable()[:-1]:
            with self._charged(place, spared=(Code.NOT_FOUND,)):
                lists.append(place.source().referrers(digest, wanted))
        if any(lists):
            with self._charged(self._brief, spared=_UNREACHABLE):
                lists.append(self._brief.source().referrers(digest, wanted))
        else:
            lists.append(self._registry.source().referrers(digest, wanted))
        merged = [entry for row in zip_longest(*lists) for entry in row if entry]
        return list({entry.digest: entry for entry in merged}.values())[:MAX_REFERRERS]

    def blob(self, digest: str, size: int, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See :class:`proa.core.oci.source.Source`. What one place did not give comes from the next."""
        done, stop = start, size if end is None else end
        hasher = hashlib.sha256() if stop - start == size else None
        while done < stop:
            with self.turn() as source:
                for chunk in source.blob(digest, size, start=done, end=stop):
                    done += len(chunk)
                    if hasher:
                        hasher.update(chunk)
                    yield chunk
        if hasher and f"sha256:{hasher.hexdigest()}" != digest:
            url = self._registry.source().url
            raise ProaError(Code.DIGEST, f"{size} bytes do not match {digest}", at=safe_url(url))

    def small_blob(self, digest: str, size: int) -> bytes:
        """See :class:`proa.core.oci.source.Source`."""
        return self._anywhere(lambda source: source.small_blob(digest, size))

    def _anywhere(self, ask: Callable[[Source], Result]) -> Result:
        """What the first place gives that has it. A mirror need not have everything, such as signatures."""
        for place in self._usable():
            with self._charged(place, spared=(Code.NOT_FOUND,)):
                return ask(place.source())
        raise AssertionError

    def _usable(self) -> list[Place]:
        """The places that may be asked, in order; the registry is always the last."""
        now = self._clock.monotonic()
        with self._lock:
            return [*(one for one in self._mirrors if one.left_until <= now), self._registry]

    @contextmanager
    def _charged(self, place: Place, spared: frozenset[Code] | tuple[Code, ...] = ()) -> Iterator[None]:
        """Leave a mirror that fails in the block, which is no failure then; ``spared`` is none at all."""
        try:
            yield
        except ProaError as error:
            if place is self._registry or error.code not in _UNREACHABLE | _WRONG:
                raise
            if error.code not in spared:
                self._leave(place, error)

    def _leave(self, place: Place, error: ProaError) -> None:
        seconds = math.inf if error.code in _WRONG else LEFT
        with self._lock:
            known = place.left_until > self._clock.monotonic()
            place.left_until = max(place.left_until, self._clock.monotonic() + seconds)
        if not known:
            how = "" if seconds == math.inf else f" for {LEFT:.0f} s"
            self._tell(f"mirror {place.name} is left{how}: {error.message}")
