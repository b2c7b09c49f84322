"""Settings by orders of the cluster: tried, committed, reverted, and told."""

from __future__ import annotations

import pytest

from proa.agent.settings.engine import NOTHING_SET
from proa.agent.testing.orders import Agent, Site
from proa.agent.testing.results import done, result
from proa.core.orders.messages import SettingsState
from proa.core.settings import allow_list
from proa.core.settings.document import Document

ONE = Document({"sysctl": {"vm.swappiness": 10}})
TWO = Document({"sysctl": {"vm.swappiness": 20}})


@pytest.fixture
def agent(site: Site) -> Agent:
    """An agent whose release allows a parameter."""
    paths = site.node.paths
    parameter = paths.root / "proc/sys/vm/swappiness"
    parameter.parent.mkdir(parents=True)
    parameter.write_text("60\n")
    paths.usr.mkdir(parents=True, exist_ok=True)
    (paths.usr / "settings.json").write_text(allow_list.of_entries({"sysctl": ["vm.swappiness=0..60"]}).to_json())
    return site.agent()


def told(agent: Agent) -> SettingsState:
    assert agent.status.settings is not None
    return agent.status.settings


def test_a_node_says_what_it_is_set_to(agent: Agent) -> None:
    assert told(agent) == SettingsState(hash=NOTHING_SET, phase="Committed")


def test_a_document_is_tried_and_committed_by_orders(agent: Agent, site: Site) -> None:
    assert done(agent.order(1, "Configure", settings=ONE.canonical()))
    assert (told(agent).phase, told(agent).trial_hash, told(agent).hash) == ("Trial", ONE.digest, NOTHING_SET)
    assert (site.node.paths.root / "proc/sys/vm/swappiness").read_text() == "10"
    assert done(agent.order(2, "CommitSettings", settingsHash=ONE.digest))
    assert (told(agent).phase, told(agent).hash, told(agent).generation) == ("Committed", ONE.digest, 1)
    assert done(agent.order(3, "Configure", settings=ONE.canonical())), "it has them already"
    assert told(agent).generation == 1


def test_a_trial_returns_by_an_order(agent: Agent) -> None:
    agent.order(1, "Configure", settings=ONE.canonical())
    assert done(agent.order(2, "RevertSettings", settingsHash=ONE.digest))
    assert (told(agent).phase, told(agent).hash, told(agent).failed_hash) == ("Reverted", NOTHING_SET, ONE.digest)
    assert done(agent.order(3, "RevertSettings", settingsHash=ONE.digest))
    assert result(agent.order(4, "CommitSettings", settingsHash=ONE.digest)) == ("Failed", "SETTINGS_FAILED")


def test_another_document_takes_the_place_of_one_on_trial(agent: Agent) -> None:
    agent.order(1, "Configure", settings=ONE.canonical())
    assert done(agent.order(2, "Configure", settings=TWO.canonical()))
    assert told(agent).trial_hash == TWO.digest
    assert result(agent.order(3, "CommitSettings", settingsHash=ONE.digest))[0] in ("Failed", "Refused")


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ('{"sysctl":{"vm.swappiness":99}}', "SETTINGS_REFUSED"),
        ('{"sysctl":{"kernel.modprobe":1}}', "SETTINGS_REFUSED"),
        ('{"kubelet":{"staticPodPath":"/x"}}', "SETTINGS_REFUSED"),
        ('{"sysctl":', "SETTINGS_INVALID"),
    ],
)
def test_what_the_release_does_not_allow_is_refused_whatever_the_cluster_says(
    agent: Agent, settings: str, code: str
) -> None:
    assert result(agent.order(1, "Configure", settings=settings)) == ("Refused", code)
    assert told(agent).phase == "Committed"


def test_what_does_not_take_effect_fails_and_is_told(agent: Agent, site: Site) -> None:
    (site.node.paths.root / "proc/sys/vm/swappiness").unlink()
    assert result(agent.order(1, "Configure", settings=ONE.canonical())) == ("Failed", "SETTINGS_FAILED")
    assert (told(agent).phase, told(agent).failed_hash) == ("Failed", ONE.digest)
    assert "vm.swappiness" in told(agent).message


def test_drift_is_told(agent: Agent, site: Site) -> None:
    agent.order(1, "Configure", settings=ONE.canonical())
    agent.order(2, "CommitSettings", settingsHash=ONE.digest)
    (site.node.paths.root / "proc/sys/vm/swappiness").write_text("33\n")
    assert told(agent).drift == ("sysctl.vm.swappiness: 33, not 10",)
