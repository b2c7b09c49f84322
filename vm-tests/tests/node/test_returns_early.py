"""Trials that do not come as far as their system, told in order on one machine: each comes back, and says why."""

from __future__ import annotations

import pytest

from proa.agent.node.cause import Cause
from proa.partition.boot.bootstate import Slot
from proa.vm.machine.fleet import Factory
from proa.vm.node.faults import Break
from proa.vm.node.images import Images
from proa.vm.testing.returns import ReturnStory

pytestmark = [pytest.mark.vm, pytest.mark.story]


@pytest.fixture(scope="module")
def story(images: Images, shared_vm: Factory, tmp_path_factory: pytest.TempPathFactory) -> ReturnStory:
    story = ReturnStory.begin(images, shared_vm, tmp_path_factory.mktemp("return"))
    story.upload_kernels()
    return story


def test_a_release_with_another_deadline_differs_in_its_kernel_image_alone(images: Images) -> None:
    """So the builder makes only that anew."""
    keys = {name: {step["name"]: step["key"] for step in images.report(name)["steps"]} for name in ("2", "doomed")}
    assert images.report("doomed")["root_hash"] == images.report("2")["root_hash"]
    differs = {step for step, key in keys["doomed"].items() if key != keys["2"][step]}
    assert differs == {"uki", "fit", "provenance", "release", "disk"}


def test_a_deadline_that_is_too_short_is_a_cause_of_its_own(story: ReturnStory) -> None:
    """It fires before PERSIST is mounted: what the initrd said then is in the firmware's store."""
    back = story.kernel("no-time")
    assert back.cause is Cause.DEADLINE
    assert back.shows("the trial was not committed in time; rebooting") == 1
    for fault in Break:
        assert fault.value.cause.problem(back.told, back.broken.witness), fault


@pytest.mark.bad_signs("signature-refused", "grub-error")
def test_f55_a_kernel_image_that_is_altered_is_refused(story: ReturnStory) -> None:
    back = story.broken(Break.CORRUPT_UKI)
    assert back.shows("proa-grub: cannot-load slot=b") == 1
    assert not back.told["kernel"]
    story.put_kernel("doomed")


@pytest.mark.bad_signs("kernel-panic", "panic-on-verity", "verity-error", "erofs-error")
def test_f55_a_root_that_is_altered_is_never_used(story: ReturnStory) -> None:
    back = story.broken(Break.CORRUPT)
    assert back.cause is Cause.CORRUPT
    Break.CORRUPT.value.apply(story.node, Slot.B)  # once more: as it was


@pytest.mark.bad_signs("kernel-panic", "init-died")
def test_f50_a_kernel_that_panics_is_tried_three_times(story: ReturnStory) -> None:
    """So early that nothing can be written down."""
    back = story.kernel("no-initrd", tries=3)
    assert back.shows("Kernel panic - not syncing") == 3
    assert back.cause is Cause.SILENT


@pytest.mark.bad_signs("kernel-panic", "init-died")
def test_f55_a_broken_init_comes_back(story: ReturnStory) -> None:
    back = story.kernel("no-init")
    assert (back.cause, back.shows("Attempted to kill init")) == (Cause.PANIC, 1)
    assert "Attempted to kill init" in back.told["reason"]
