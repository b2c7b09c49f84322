"""A stream read in other pieces than it came in."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from proa.core.release.chunks import ChunkReader


@settings(max_examples=50)
@given(chunks=st.lists(st.binary(max_size=20)), sizes=st.lists(st.integers(0, 30)))
def test_pieces_are_taken_in_order(chunks: list[bytes], sizes: list[int]) -> None:
    whole, reader, place = b"".join(chunks), ChunkReader(chunks), 0
    for size in sizes:
        assert reader.fill(size) is (len(whole) - place >= size)
        assert reader.take(size) == whole[place : place + size]
        place = min(place + size, len(whole))


def test_no_more_is_fetched_than_is_needed() -> None:
    chunks = iter([b"ab", b"cd", b"ef"])
    assert ChunkReader(chunks).take(3) == b"abc"
    assert list(chunks) == [b"ef"]
