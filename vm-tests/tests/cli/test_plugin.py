"""The pytest plugin, as a project that uses it sees it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import proa.vm.machine.fleet  # noqa: F401 -- loaded once: a run inside this one forgets what it loads itself

pytest_plugins = ["pytester"]

FAKES = """
import socket
import pytest
from proa.vm.machine.console import Console
from proa.core.runtime.clock import Deadline

class Fake:
    name = "node"

    def __init__(self, folder):
        self.folder = folder
        self.console = Console(folder)
        self.crashed = False
        ours, self.guest = socket.socketpair()
        self.console.attach(ours)

    def say(self, text):
        mark = self.console.mark()
        self.guest.sendall(text.encode() + b"\\r\\n")
        self.console.wait_for(".", Deadline("said", 300), since=mark)

    def crash(self):
        self.crashed = True
        self.guest.close()
        self.console.finish()

@pytest.fixture
def node(fleet, tmp_path):
    fake = Fake(tmp_path)
    (tmp_path / "disk0.qcow2").touch()
    fleet.add(fake)
    yield fake
    fleet.retire([fake])
    assert fake.crashed
    assert not (tmp_path / "disk0.qcow2").exists()

@pytest.fixture(scope="module")
def shared(fleet, tmp_path_factory):
    fake = Fake(tmp_path_factory.mktemp("shared"))
    fleet.add(fake)
    yield fake
    fleet.retire([fake])
"""

PANIC = "Kernel panic - not syncing: oh"


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(FAKES)
    pytester.makeini("[pytest]\naddopts = --strict-markers -p no:cacheprovider -p no:hypothesispytest\n")
    return pytester


def test_a_quiet_console_passes(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(node): node.say('all is well')")
    project.runpytest_inprocess().assert_outcomes(passed=1)


def test_a_bad_sign_fails_a_test_that_passed_otherwise(project: pytest.Pytester) -> None:
    project.makepyfile(f"def test_it(node): node.say('{PANIC}')")
    result = project.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*1 bad sign on the console:*", "*node*kernel-panic: Kernel panic*"])


def test_the_last_words_count_too(project: pytest.Pytester) -> None:
    project.makepyfile(
        f"""
        import pytest

        @pytest.fixture
        def dying(node):
            yield node
            node.say("{PANIC}")

        def test_it(dying): pass
        """
    )
    project.runpytest_inprocess().assert_outcomes(passed=1, errors=1)


def test_the_marker_and_the_block_allow_signs(project: pytest.Pytester) -> None:
    project.makepyfile(
        f"""
        import pytest

        @pytest.mark.bad_signs("kernel-panic")
        def test_marked(node): node.say("{PANIC}")

        def test_inside(node):
            with node.console.allowing("kernel-panic"):
                node.say("{PANIC}")
        """
    )
    project.runpytest_inprocess().assert_outcomes(passed=2)


def test_an_unknown_name_in_the_marker_is_an_error(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.bad_signs("kernel-picnic")
        def test_it(node): pass
        """
    )
    result = project.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*there is no bad sign kernel-picnic*"])


def test_on_a_shared_machine_each_test_answers_for_itself(project: pytest.Pytester) -> None:
    project.makepyfile(
        f"""
        def test_good(shared): shared.say("fine")
        def test_bad(shared): shared.say("{PANIC}")
        def test_good_again(shared): shared.say("fine")
        def test_fails_by_itself(shared):
            shared.say("{PANIC}")
            assert False, "own reason"
        def test_good_at_last(shared): shared.say("fine")
        """
    )
    result = project.runpytest_inprocess("-rA")
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(["*own reason*"])


def test_a_failed_test_leaves_its_console(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        def test_it(node):
            node.say("last words")
            assert False
        """
    )
    result = project.runpytest_inprocess("--proa-artifacts=out")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*console of node, last lines*", "last words"])
    (log,) = (project.path / "out").rglob("console.log")
    assert "last words" in log.read_text()
    assert log.relative_to(project.path / "out").parts[0].endswith("test_it")


def test_no_disk_is_told_before_anything_boots(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        def test_factory(vm): vm()
        def test_fixture(disk): pass
        """
    )
    result = project.runpytest_inprocess()
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(["*pass --proa-disk*", "*no disk to boot*"])


def test_options_reach_the_factory(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from pathlib import Path

        def test_it(vm, shared_vm, disk):
            assert vm.disk == shared_vm.disk == disk == Path("some.raw")
            assert vm.keys == Path("keys")
        """
    )
    project.runpytest_inprocess("--proa-disk=some.raw", "--proa-keys=keys").assert_outcomes(passed=1)


def test_it_is_cheap_to_have_it_installed() -> None:
    heavy = (
        "('qemu', 'virt', 'click', 'cryptography', 'requests', 'proa.vm.machine.machine', 'proa.core.runtime.errors')"
    )
    code = f"import proa.vm.cli.plugin, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
