"""What our node must do before anybody gets it. One boot for all of it; the console is read after each test."""

from __future__ import annotations

import json

import pytest

from proa.vm.machine.fleet import Factory
from proa.vm.machine.machine import Machine


@pytest.fixture(scope="module")
def node(shared_vm: Factory) -> Machine:
    machine = shared_vm(name="node")
    machine.wait_for_boot()
    machine.wait_until("systemctl is-system-running | grep -qxE 'running|degraded'")
    return machine


def test_no_unit_has_failed(node: Machine) -> None:
    assert node.succeed("systemctl list-units --state=failed --plain --no-legend").strip() == ""


def test_the_root_is_verified_and_read_only(node: Machine) -> None:
    assert node.succeed("findmnt --noheadings --output SOURCE,FSTYPE /").split() == ["/dev/mapper/proa-root", "erofs"]
    node.fail("touch /usr/lib/here")


def test_the_agent_runs_the_good_slot(node: Machine) -> None:
    node.wait_for_unit("proa-agent.service")
    status = json.loads(node.succeed("proa-agent status --json"))
    assert (status["state"], status["booted"], status["problem"]) == ("good", "a", None)
