"""What the end-to-end tests share: the images of nodes, built once for all workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from proa.vm.node.images import Images


@pytest.fixture(scope="session")
def images(pytestconfig: pytest.Config, testrun_uid: str) -> Images:
    """The images, built on demand by the real builder and kept in ``build/test/images``."""
    return Images(pytestconfig.rootpath / "build/test/images", testrun_uid)


@pytest.fixture(scope="session")
def keys(images: Images) -> Path:
    """The keys folder of all images: those of releases, and those of Secure Boot."""
    return images.keys


_BROKEN: pytest.StashKey[str] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "story: the tests of this module are told in order, on one machine.")


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Remember where a story broke off."""
    if call.excinfo is not None and item.get_closest_marker("story") and item.parent is not None:
        item.parent.stash.setdefault(_BROKEN, item.name)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail the rest of a story that broke off: it would wait for what cannot come."""
    if item.get_closest_marker("story") and item.parent is not None and _BROKEN in item.parent.stash:
        pytest.fail(f"the story broke off at {item.parent.stash[_BROKEN]}", pytrace=False)
