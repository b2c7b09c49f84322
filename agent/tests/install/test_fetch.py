"""What is known before a blob is fetched."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from proa.agent.install.fetch import fetch_maps
from proa.core.release.document import MEDIA_TYPES, Blob, Boot, Release, Requires, Root
from proa.core.release.frames import expected, map_size
from proa.core.runtime.errors import Code, ProaError

RELEASE = Release(
    name="os",
    version="2",
    architecture="amd64",
    compatible="worker",
    created="2026-01-01T00:00:00+00:00",
    serial=2,
    floor=0,
    root=Root("erofs", 8192, 4096, "a" * 64, "5a", 4096, 131072),
    boot=Boot(4096, "sha256:" + "b" * 64, "sha256:" + "c" * 64),
    requires=Requires(1, "0.1.0", 1),
    blobs={name: Blob("sha256:" + "e" * 64, 100) for name in MEDIA_TYPES},
)


class Source:
    """A source that counts what is asked of it."""

    asked = 0

    def small_blob(self, digest: str, size: int) -> bytes:
        self.asked += 1
        return bytes(size)


@pytest.mark.parametrize(("more", "asked"), [(1, 0), (-1, 0), (100 << 20, 0), (0, 1)])
def test_a_map_of_another_size_is_not_fetched(more: int, asked: int) -> None:
    size = map_size(expected(RELEASE)) + more
    release = dataclasses.replace(RELEASE, blobs={**RELEASE.blobs, "map": Blob("sha256:" + "e" * 64, size)})
    source: Any = Source()
    with pytest.raises(ProaError) as caught:
        fetch_maps(source, release)
    assert (caught.value.code, source.asked) == (Code.FRAMES, asked)
