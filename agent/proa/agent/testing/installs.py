"""How the end of an install is looked at: refused, or in the standby slot byte for byte."""

from __future__ import annotations

from typing import Any

import pytest

from proa.agent.testing.node import Node
from proa.agent.testing.world import World
from proa.agent.verbs.verbs import scrub_slot
from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot.bootstate import Slot


def refused(node: Node, reference: str, code: Code, **options: Any) -> ProaError:
    """Install, and see it refused: with that code, the slot unarmed, the good slot's bytes untouched."""
    before = node.bytes_of(Slot.A)
    with pytest.raises(ProaError) as caught:
        node.install(reference, activate=True, **options)
    assert caught.value.code is code, caught.value
    assert not node.state.on_trial
    assert node.state.good is Slot.A
    assert node.bytes_of(Slot.A) == before
    assert node.last.code == code.name
    return caught.value


def standby_is(node: Node, world: World, recipe: Any) -> None:
    """The standby holds this release, byte for byte, and its tree agrees."""
    root = node.part("ROOT-B").read_bytes()
    assert root.startswith(recipe.root.read_bytes())
    assert node.part("UKI-B").read_bytes().startswith(recipe.boot.read_bytes())
    assert scrub_slot(node.context, "b").ok
