"""A broken release of the proof counts as undone only if the node came back for what is broken in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.vm.cluster.cast import ProofRelease, check_return
from proa.vm.cluster.images import RECIPES

SAID = {
    "mute": "NO_COMMIT_ORDER healthy, but no order to commit came within 324 s; 1 of 1 attempts used",
    "panic": "TRIAL_RETURNED the kernel panicked: sysrq triggered crash; 1 of 1 attempts used",
    "slow": "TRIAL_RETURNED the trial was not committed in time; it never reached its agent; 1 of 1 attempts used",
    "crash": "TRIAL_RETURNED the kernel panicked: Attempted to kill init!; 1 of 1 attempts used",
    "silence": "",
}


def release(name: str) -> ProofRelease:
    return ProofRelease(name, Path(name), RECIPES[name].version, RECIPES[name].says)


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.says])
def test_only_what_is_broken_in_it_counts(name: str, said: str) -> None:
    if name == said:
        check_return(release(name), SAID[said])
        return
    with pytest.raises(ProaError, match=f"{name} came back, but for another reason: ") as caught:
        check_return(release(name), SAID[said])
    assert caught.value.code is Code.REHEARSAL


def test_every_broken_release_has_a_reason_of_its_own() -> None:
    assert {name for name, recipe in RECIPES.items() if recipe.says} == {
        name for name, recipe in RECIPES.items() if recipe.mute or recipe.panics
    }
