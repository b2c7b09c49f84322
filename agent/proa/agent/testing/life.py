"""One step in the life of a node in a folder, as a program: ``life.py FOLDER STEP [WORD ...]``, which prints JSON.

Run as a file, it takes the agent from PYTHONPATH: so the steps of one life may be those of different versions of it,
as on a node whose slots hold different releases. It uses only what all of them have.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from proa.agent.node.record import load
from proa.agent.testing.node import Node, new_node
from proa.agent.testing.orders import Agent, Site
from proa.agent.testing.synthetic import Recipe
from proa.agent.testing.trials import watch
from proa.agent.testing.world import World, new_world
from proa.agent.trial.health import HealthReport
from proa.agent.trial.traces import load_try
from proa.agent.trial.trial import load_notes
from proa.agent.verbs import verbs
from proa.agent.verbs.status import status
from proa.core.schema.model import document
from proa.core.signing.keys import load_private
from proa.partition.boot.bootstate import Slot
from proa.partition.disk.readtable import read_layout


def _world(folder: Path) -> World:
    """The world that was made in a folder before."""
    key, place = load_private(folder / "key"), folder / "world"
    factory = Recipe(place / "root", place / "boot", place / "uki", level=1)
    world = World(place, key, key, read_layout(place / "disk.img"), factory)
    return World(place, key, key, world.layout, Recipe(world.image(1), factory.boot, factory.uki, level=1))


def _releases(folder: Path) -> list[str]:
    """References to all releases that were made."""
    return [f"oci:{place}" for place in sorted([folder / "world/factory/oci", *folder.glob("release-*/oci")])]


def _node(folder: Path) -> Node:
    """The node, in the boot that it is in."""
    node = Node(folder / "node", _world(folder))
    node.booted = Slot(json.loads(node.paths.boot.read_text())["slot"])
    node.boots = int((node.root / "proc/sys/kernel/random/boot_id").read_text().removeprefix("boot-"))
    for reference in _releases(folder):
        node.know(reference)
    return node


def new(folder: Path) -> None:
    """Make a disk as it leaves the factory, and run it."""
    (folder / "world").mkdir(parents=True)
    world = new_world(folder / "world")
    (folder / "key").write_bytes(world.key.pem)
    new_node(world, folder / "node").reconcile()


def release(folder: Path, version: str) -> str:
    """Make and sign a release."""
    world = _world(folder)
    return world.release(folder / f"release-{version}", world.recipe(version))


def install(folder: Path, reference: str, tries: str) -> object:
    """Install a release and arm it."""
    return _node(folder).install(reference, activate=True, tries=int(tries))


def arm(folder: Path) -> object:
    """Arm what lies in the other slot."""
    return document(verbs.activate(_node(folder).context, tries=1))


def rollback(folder: Path) -> object:
    """Go back to the other slot."""
    return document(verbs.rollback(_node(folder).context))


def boot(folder: Path) -> str:
    """Boot as this version's GRUB decides it; the slot."""
    return _node(folder).reboot(agent=False).value


def settle(folder: Path) -> object:
    """What the agent does when it starts, and its status then."""
    node = _node(folder)
    node.reconcile()
    return document(status(node.context))


def trial(folder: Path) -> object:
    """Watch over a trial to its end, and the status then."""
    node = _node(folder)
    watch(node)
    return document(status(node.context))


def order(folder: Path, body: str) -> object:
    """Give an order of the cluster, or see the last one further; the node's status."""
    given, digests = json.loads(body), {_digest(place): place for place in _releases(folder)}
    agent = Agent(_node(folder), digests, health=HealthReport(()))
    if given.pop("proof", False):
        given["trial"] = Site.proof(agent.status)
    if place := given.pop("place", ""):
        given["digest"] = _digest(place)
    return document(agent.order(given.pop("id"), given.pop("action"), **given) if given else agent.work())


def _digest(reference: str) -> str:
    """What names the release in an OCI layout."""
    index = json.loads(Path(reference.removeprefix("oci:"), "index.json").read_text())
    return str(index["manifests"][0]["digest"])


def read(folder: Path) -> object:
    """What is read of the files that outlive a boot: record, notes of the trial, the initrd's note, boot state."""
    node = _node(folder)
    record, warning = load(node.paths.record)
    notes, last = load_notes(node.paths), load_try(node.paths)
    return {
        "record": document(record),
        "warning": warning,
        "notes": document(notes) if notes else None,
        "try": str(last),
        "state": str(node.states.current()),
    }


STEPS: Final[dict[str, Callable[..., object]]] = {
    step.__name__: step for step in (new, release, install, arm, rollback, boot, settle, trial, order, read)
}


def main(folder: str, step: str, *words: str) -> None:
    """Take a step."""
    found: Any = STEPS[step](Path(folder), *words)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
