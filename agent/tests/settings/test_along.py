"""A release and settings: it is not armed unless it allows them, and an order may bring some along."""

from __future__ import annotations

import json
import zlib

import pytest

from proa.agent.daemon.daemon import Daemon
from proa.agent.install.install import plan_only
from proa.agent.install.order import InstallOrder
from proa.agent.settings.engine import NOTHING_SET, Engine
from proa.agent.testing.orders import Agent, Site
from proa.agent.testing.results import done, result
from proa.agent.testing.trials import refused
from proa.agent.testing.world import World
from proa.agent.verbs import verbs
from proa.core.runtime.errors import Code
from proa.core.settings import allow_list
from proa.core.settings.document import Document
from proa.partition.boot.bootstate import Slot

WIDE = allow_list.of_entries({"sysctl": ["vm.swappiness=0..60"]}).to_json()
NARROW = allow_list.of_entries({"sysctl": ["vm.swappiness=0..15"]}).to_json()
ONE = Document({"sysctl": {"vm.swappiness": 10}}, 1)
TWO = Document({"sysctl": {"vm.swappiness": 20}}, 2)


@pytest.fixture
def site(site: Site) -> Site:
    """A node whose release allows a parameter."""
    site.node.write("proc/sys/vm/swappiness", "60\n")
    (site.node.paths.usr / "settings.json").write_text(WIDE)
    return site


def publish(site: Site, world: World, settings: str) -> str:
    """A release that allows something, which the node may fetch; its digest."""
    folder = world.folder / f"release-{zlib.crc32(settings.encode())}"
    made = folder.exists()
    place = f"oci:{folder}/oci" if made else world.release(folder, world.recipe("2", settings=settings))
    site.node.know(place)
    digest = plan_only(site.node.context, InstallOrder(place)).release.manifest
    site.places[digest] = place
    return digest


def swappiness(site: Site) -> str:
    return (site.node.paths.root / "proc/sys/vm/swappiness").read_text().strip()


def boot(site: Site) -> Agent:
    """Boot the trial; the agent as it is when its daemon is about to be ready."""
    assert site.reboot() is Slot.B
    return site.agent()


def test_settings_come_along_with_a_release_and_are_committed(site: Site, world: World) -> None:
    digest = publish(site, world, WIDE)
    site.agent().order(1, "Stage", digest)
    site.agent().order(2, "Boot", digest, settings=TWO.canonical())
    assert swappiness(site) == "60", "nothing is set before the release runs"
    boot(site)
    daemon = Daemon(site.node.context)
    daemon._bring_settings()
    assert (daemon.brought, swappiness(site)) == (None, "20")
    agent = site.agent()
    assert done(agent.work())
    told = agent.status.settings
    assert told
    assert (told.hash, told.phase, told.revision) == (TWO.digest, "Committed", 2)
    daemon._bring_settings()
    assert Engine(site.node.context).report().generation == 1, "a second start changes nothing"


def test_what_does_not_take_effect_ends_the_trial(site: Site, world: World) -> None:
    digest = publish(site, world, WIDE)
    site.agent().order(1, "Stage", digest)
    site.agent().order(2, "Boot", digest, settings=TWO.canonical())
    boot(site)
    (site.node.paths.root / "proc/sys/vm/swappiness").unlink()
    daemon = Daemon(site.node.context)
    daemon._bring_settings()
    daemon.watch_trial()
    assert site.node.state.good is Slot.A
    assert not site.node.state.on_trial
    assert site.reboot() is Slot.A
    assert "SETTINGS_FAILED: sysctl.vm.swappiness" in site.node.returned.reason


@pytest.mark.parametrize("settings", [NARROW, ""], ids=["less", "nothing"])
def test_a_release_that_does_not_allow_them_is_not_armed(site: Site, world: World, settings: str) -> None:
    digest = publish(site, world, settings)
    agent = site.agent()
    agent.order(1, "Stage", digest)
    told = agent.order(2, "Boot", digest, settings=TWO.canonical())
    assert result(told) == ("Refused", "SETTINGS_REFUSED")
    assert told.last_error
    assert "release 2 does not allow settings of the order: sysctl.vm" in told.last_error.message
    assert not site.node.state.pending
    engine = Engine(site.node.context)
    engine.apply(TWO, commit=True)
    error = refused(verbs.activate, site.node.context)
    assert (error.code, "settings that the node has" in error.message) == (Code.SETTINGS_REFUSED, True)
    assert refused(site.node.install, site.places[digest], activate=True).code is Code.SETTINGS_REFUSED
    if settings:
        agent.order(3, "Boot", digest, settings=Document(ONE.models, 2).canonical())
        assert site.node.state.pending


def test_nothing_is_written_for_a_release_that_does_not_allow_them(site: Site, world: World) -> None:
    digest = publish(site, world, "")
    Engine(site.node.context).apply(TWO, commit=True)
    before = site.node.bytes_of(Slot.B)
    assert refused(site.node.install, site.places[digest], activate=True).code is Code.SETTINGS_REFUSED
    assert site.node.bytes_of(Slot.B) == before
    assert site.node.install(site.places[digest])["bytes"]["write"] > 0, "without arming it may be there"


def test_an_older_document_is_not_brought_along(site: Site, world: World) -> None:
    digest = publish(site, world, WIDE)
    agent = site.agent()
    Engine(site.node.context).apply(TWO, commit=True)
    agent.order(1, "Stage", digest)
    assert result(agent.order(2, "Boot", digest, settings=ONE.canonical())) == ("Refused", "SETTINGS_OLDER")
    assert result(agent.order(3, "Boot", digest, settings="{")) == ("Refused", "SETTINGS_INVALID")
    agent.order(4, "Boot", digest)
    assert site.node.state.pending


def test_a_slot_of_which_the_list_is_not_known_is_left_to_its_trial(site: Site, world: World) -> None:
    digest = publish(site, world, "")
    site.agent().order(1, "Stage", digest)
    path = site.node.paths.state / "agent.json"
    written = json.loads(path.read_text())
    del written["slots"]["b"]["settings"]
    path.write_text(json.dumps(written))
    Engine(site.node.context).apply(TWO, commit=True)
    assert verbs.activate(site.node.context).trial is Slot.B


def test_another_trial_gets_nothing(site: Site, world: World) -> None:
    """The order must be about what runs."""
    digest = publish(site, world, WIDE)
    site.agent().order(1, "Stage", digest)
    site.agent().order(2, "Boot", f"sha256:{'0' * 64}", settings=TWO.canonical())
    verbs.activate(site.node.context)
    boot(site)
    daemon = Daemon(site.node.context)
    daemon._bring_settings()
    assert Engine(site.node.context).report().hash == NOTHING_SET
