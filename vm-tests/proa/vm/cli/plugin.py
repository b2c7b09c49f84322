"""pytest plugin: virtual machines and a control plane as fixtures, and consoles read against the list of bad signs.

It is loaded in every pytest run where Proa is installed, so it imports nothing of the harness before a test
asks for a machine.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from proa.vm.kube.controlplane import ControlPlane
    from proa.vm.machine.fleet import Factory, Fleet
    from proa.vm.simulated.nodes import SimNodes
    from proa.vm.support.registry import LocalRegistry

_FLEET: pytest.StashKey[Fleet] = pytest.StashKey()
_PLANE: pytest.StashKey[ControlPlane] = pytest.StashKey()
_KEPT: pytest.StashKey[list[str]] = pytest.StashKey()
_MARKER = "bad_signs(*names): bad signs that the machines of this test may show on their consoles."


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options; ``--proa-disk`` and ``--proa-keys`` are what the fixtures use by default."""
    group = parser.getgroup("proa", "virtual machines for node images")
    group.addoption("--proa-disk", type=Path, metavar="DISK", help="disk image that the fixture vm boots")
    group.addoption("--proa-keys", type=Path, metavar="DIR", help="keys folder: Secure Boot with its keys")
    group.addoption(
        "--proa-machine",
        metavar="NAME",
        help="the kind of machine for the story of an upgrade (proa.vm.machine.variants)",
    )
    group.addoption("--proa-keep", action="store_true", help="keep the disks of the machines")
    group.addoption(
        "--proa-artifacts",
        type=Path,
        metavar="DIR",
        default=Path("build/consoles"),
        help="where consoles of failed tests go (default: build/consoles under the root folder)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKER)
    config.stash[_KEPT] = []


@pytest.fixture(scope="session")
def fleet(request: pytest.FixtureRequest) -> Fleet:
    """All machines of the run. Tests seldom need it; ``vm`` and ``shared_vm`` do."""
    from proa.vm.machine.fleet import Fleet

    found = Fleet()
    request.config.stash[_FLEET] = found
    return found


@pytest.fixture
def vm(request: pytest.FixtureRequest, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    """Make machines that live as long as the test, by :class:`proa.vm.machine.fleet.Factory`."""
    yield from _factory(request, fleet, tmp_path_factory)


@pytest.fixture(scope="module")
def shared_vm(
    request: pytest.FixtureRequest, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Factory]:
    """Make machines that live as long as the module, for tests that share a boot."""
    yield from _factory(request, fleet, tmp_path_factory)


@pytest.fixture(scope="session")
def disk(request: pytest.FixtureRequest) -> Path:
    """The disk image of ``--proa-disk``."""
    given: Path | None = request.config.getoption("--proa-disk")
    if given is None:
        pytest.fail("this test boots a disk image: pass --proa-disk", pytrace=False)
    return given


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRegistry]:
    """A real registry on this host, with TLS, reached by guests too."""
    from proa.vm.support.registry import LocalRegistry

    with LocalRegistry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def control_plane(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real Kubernetes control plane with Proa's custom resources, for the whole run. Tests want ``cluster``."""
    from proa.vm.kube import wipe
    from proa.vm.kube.controlplane import ControlPlane

    with ControlPlane(tmp_path_factory.mktemp("cluster"), before=wipe.definitions()) as running:
        pytestconfig.stash[_PLANE] = running
        yield running
        del pytestconfig.stash[_PLANE]


@pytest.fixture
def cluster(control_plane: ControlPlane) -> ControlPlane:
    """The control plane, running and empty: what tests before have left is gone, but for their namespaces."""
    from proa.vm.kube import wipe

    wipe.wipe(control_plane)
    return control_plane


@pytest.fixture
def nodes(cluster: ControlPlane) -> Iterator[Callable[..., SimNodes]]:
    """Make simulated nodes in the cluster, Ready when they come; by :func:`proa.vm.simulated.nodes.run`."""
    from contextlib import ExitStack

    from proa.vm.simulated.nodes import run

    with ExitStack() as stack:
        yield lambda *words, **options: stack.enter_context(run(cluster, *words, **options))


def _factory(request: pytest.FixtureRequest, fleet: Fleet, folders: pytest.TempPathFactory) -> Iterator[Factory]:
    from proa.vm.machine.fleet import Factory

    option = request.config.getoption
    factory = Factory(fleet, folders.mktemp, disk=option("--proa-disk"), keys=option("--proa-keys"))
    yield factory
    if option("--proa-keep"):
        request.config.stash[_KEPT].extend(str(machine.folder) for machine in factory.machines)
    fleet.retire(factory.machines, _allowed(request.node), keep=option("--proa-keep"))


def _allowed(node: pytest.Item | pytest.Collector) -> list[str]:
    return [name for marker in node.iter_markers("bad_signs") for name in marker.args]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test begins: the machines of those before are forgotten."""
    fleet = item.config.stash.get(_FLEET, None)
    if fleet is not None:
        fleet.forget_retired()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """After a file of tests, what it has left of admission policies goes: they refuse what the next one does."""
    result = yield
    plane = item.config.stash.get(_PLANE, None)
    if plane is not None and (nextitem is None or nextitem.path != item.path):
        from proa.vm.simulated.installed import uninstall

        plane.start()
        uninstall(plane)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """After every test that passed, the consoles are read; those of a failed one are shown anyway."""
    try:
        result = yield
    except BaseException:
        if (fleet := item.config.stash.get(_FLEET, None)) is not None:
            fleet.skip()
        raise
    if (fleet := item.config.stash.get(_FLEET, None)) is not None:
        fleet.check(_allowed(item))
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test gets the error's hint, and the consoles: the ends in its report, all of it as files."""
    report = yield
    fleet = item.config.stash.get(_FLEET, None)
    if report.failed and fleet is not None:
        from proa.core.runtime.errors import ProaError
        from proa.vm.machine.fleet import file_name

        if call.excinfo is not None and isinstance(call.excinfo.value, ProaError):
            report.sections.append(("the error in full", call.excinfo.value.text("proa-vm")))
        folder = item.config.rootpath / item.config.getoption("--proa-artifacts") / file_name(item.nodeid)
        for path in fleet.save(folder):
            report.sections.append(("console saved as", str(path)))
        report.sections += [(f"console of {name}, last lines", text) for name, text in fleet.tails()]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was kept."""
    for folder in config.stash[_KEPT]:
        terminalreporter.write_line(f"proa: kept {folder}")
