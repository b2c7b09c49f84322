"""Fixtures shared by the tests of the core: a small release, and a registry that is only a transport."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proa.core.oci.access import Access
from proa.core.oci.limits import TransferLimits
from proa.core.oci.reference import Reference, parse
from proa.core.oci.source import Target, blob_of
from proa.core.oci.target import open_target
from proa.core.release.document import MEDIA_TYPES, Boot, Release, Requires, Root
from proa.core.runtime.clock import VirtualClock
from proa.core.testing.registry import FakeRegistry


@pytest.fixture
def payload_files(tmp_path: Path) -> dict[str, Path]:
    """A file for every blob of a release."""
    folder = tmp_path / "payload"
    folder.mkdir()
    for name in MEDIA_TYPES:
        (folder / name).write_bytes(f"the {name} blob ".encode() * 500)
    return {name: folder / name for name in MEDIA_TYPES}


@pytest.fixture
def release(payload_files: dict[str, Path]) -> Release:
    """A release document about ``payload_files``."""
    return Release(
        name="node",
        version="1.0+deb12",
        architecture="amd64",
        compatible="worker",
        created="2026-01-01T00:00:00+00:00",
        serial=7,
        floor=3,
        root=Root("erofs", 40 * 4096, 4096, "a" * 64, "bb" * 32, 4096, 128 * 1024),
        boot=Boot(4096, f"sha256:{'c' * 64}", f"sha256:{'d' * 64}"),
        requires=Requires(1, "0.1.0", 1),
        blobs={name: blob_of(path) for name, path in payload_files.items()},
    )


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def fake_registry(clock: VirtualClock) -> FakeRegistry:
    return FakeRegistry(clock)


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home without auth files."""
    for variable in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


Opener = Callable[..., Target]


@pytest.fixture
def open_fake(fake_registry: FakeRegistry, clock: VirtualClock, no_credentials: None) -> Opener:
    """Opens ``registry.test/team/node`` in the fake registry; the clock is virtual, so nothing waits."""

    def open_it(
        text: str = "registry.test/team/node:1.0", limits: TransferLimits | None = None, **options: Any
    ) -> Target:
        reference: Reference = parse(text)
        return open_target(
            reference, Access(**options), transport=fake_registry, clock=clock, limits=limits or TransferLimits()
        )

    return open_it
