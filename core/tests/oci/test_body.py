"""Bodies of answers: only what was asked for, and all of it."""

from __future__ import annotations

import io

import pytest
import requests
import urllib3

from proa.core.oci.body import check_range, read_all
from proa.core.oci.retry import Patience, Temporary
from proa.core.runtime.clock import VirtualClock

URL = "https://registry.example/v2/node/blobs/x"


def answer(status: int = 200, body: bytes = b"", **headers: str) -> requests.Response:
    """An answer whose connection says nothing of an end that came too early."""
    found = requests.Response()
    found.status_code = status
    found.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    found.raw = urllib3.HTTPResponse(io.BytesIO(body), preload_content=False, enforce_content_length=False)
    return found


def patience() -> Patience:
    return Patience(size=1 << 20, clock=VirtualClock())


@pytest.mark.parametrize(("length", "whole"), [("4", True), ("5", False), ("3", False)])
def test_a_document_is_as_long_as_its_answer_says(length: str, whole: bool) -> None:
    response = answer(body=b"data", Content_Length=length)
    if whole:
        assert read_all(response, 100, patience(), URL) == b"data"
        return
    with pytest.raises(Temporary) as caught:
        read_all(response, 100, patience(), URL)
    assert f"4 of {length} bytes" in caught.value.error.message


@pytest.mark.parametrize(
    ("said", "takes"),
    [
        ("bytes 10-19/100", (0, 10)),
        ("bytes 10-14/100", (0, 5)),  # fewer than were asked for: the rest is asked for again
        ("bytes 9-18/100", None),
        ("bytes 11-19/100", None),
        ("bytes 10-20/100", None),
        ("bytes 10-19/99", None),
        ("bytes 10-9/100", None),
        ("bytes=10-19/100", None),
        ("", None),
    ],
)
def test_a_part_is_the_one_that_was_asked_for(said: str, takes: tuple[int, int] | None) -> None:
    response = answer(206, Content_Range=said)
    if takes:
        assert check_range(response, 100, 10, 20, URL) == takes
        return
    with pytest.raises(Temporary):
        check_range(response, 100, 10, 20, URL)
