"""The releases of ``make proof``: the profile ``kubernetes-node`` made small, and two that are broken."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proa.builder.config.profiles import CONFIG
from proa.core.runtime.events import SILENT, Monitor
from proa.vm.machine import calibration
from proa.vm.node.images import ARGUMENTS, UNUSED, command, watchdog
from proa.vm.support.tools import go_tool

PROFILE: Final = "kubernetes-node"
TRIAL_SECONDS: Final = 360
"""The deadline of a trial on the reference machine."""
_KUBELET: Final = 'source = "kubelet"'
_MUTE: Final = 'content = "#!/bin/sh\\nexec sleep infinity\\n"'
"""Instead of the kubelet: its unit is active, and the node is never Ready again."""
_UNITS: Final = '"systemd-networkd.service"]'
_LEAN: Final = f"""
[kernel]
arguments = {ARGUMENTS}
exclude = [
{UNUSED}  "kernel/net/mac80211", "kernel/net/wireless", "kernel/net/bluetooth",
]

[build]
compression = 1
"""
_PANIC: Final = """
[[file]]
path = "/usr/lib/systemd/system/proof-panic.service"
content = '''
[Unit]
Description=A kernel panic, on purpose
After=multi-user.target

[Service]
Type=oneshot
ExecStart=sh -c 'echo 1 >/proc/sys/kernel/sysrq; sleep 2; echo c >/proc/sysrq-trigger'

[Install]
WantedBy=multi-user.target
'''
"""


@dataclass(frozen=True)
class ProofRecipe:
    """What is special about a release.

    Attributes:
        version: Its version.
        mute: Whether its kubelet never says anything.
        panics: Whether its kernel panics once the node is up.
        disk: Whether a disk image is made too: what nodes boot at first.
        deadline: Of a trial, as a part of :data:`TRIAL_SECONDS`.
        says: A regular expression: what the node says of a trial of it that came back, error code first.
    """

    version: str
    disk: bool = False
    mute: bool = False
    panics: bool = False
    deadline: float = 1.0
    says: str = ""


RECIPES: Final[Mapping[str, ProofRecipe]] = {
    "v1": ProofRecipe("1.0.0", disk=True),
    "v2": ProofRecipe("2.0.0"),
    "mute": ProofRecipe("3.0.0", mute=True, deadline=0.5, says="^NO_COMMIT_ORDER healthy, but no order to commit came"),
    "panic": ProofRecipe("3.0.1", panics=True, says="^TRIAL_RETURNED the kernel panicked: sysrq triggered crash"),
}
"""The releases by the name of their folder, in the order in which they are built."""


def config(profile: str, recipe: ProofRecipe) -> str:
    """The text of a release's proa.toml, made of the profile's."""
    deadline = calibration.stretched(TRIAL_SECONDS * recipe.deadline, calibration.factor())
    changes = {
        '\nversion = "1.0.0"': f'\nversion = "{recipe.version}"',
        "[health]\n": f'[health]\ndeadline = "{deadline} s"\nwatchdog = "{watchdog()} s"\nseconds = "10 s"\n',
        'mask = ["getty@tty1.service"]': 'mask = ["getty@tty1.service", "serial-getty@ttyS0.service"]',
    }
    if recipe.mute:
        changes[_KUBELET] = _MUTE
    if recipe.panics:
        changes[_UNITS] = f'"proof-panic.service", {_UNITS}'
    for old, new in changes.items():
        if old not in profile:
            raise AssertionError(f"the profile has no {old!r}")
        profile = profile.replace(old, new, 1)
    return profile + _LEAN + ("" if recipe.disk else "formats = []\n") + (_PANIC if recipe.panics else "")


def build(
    folder: Path,
    wanted: Sequence[str],
    *,
    keys: Path | None = None,
    monitor: Monitor = SILENT,
    tell: Callable[[str], None] = lambda name: None,
) -> dict[str, Path]:
    """Build releases, all with the same keys; their output folders by name.

    Args:
        folder: Where keys, configuration and releases go; what is there of an earlier run is used again.
        wanted: Names of :data:`RECIPES`; the kubelet is that of the control plane's build.
        keys: What they are signed with; made in ``folder`` if None.
        monitor: Where a build of the control plane is told.
        tell: Called with each name before it is built.

    Raises:
        ProaError: What the builder says.
    """
    node, keys = folder / "node", keys or folder / "keys"
    shutil.rmtree(node, ignore_errors=True)
    command("proa-build", "init", str(node), "--profile", PROFILE)
    shutil.copy(go_tool("controlplane", monitor), node / "kubelet")
    if not keys.exists():
        command("proa-build", "keys", "init", str(keys))
    profile, found = (node / CONFIG).read_text(), {}
    for name in wanted:
        tell(name)
        file, found[name] = node / f"{name}.toml", folder / name
        file.write_text(config(profile, RECIPES[name]))
        command("proa-build", "image", "-c", str(file), "-o", str(found[name]), "--keys", str(keys))
    return found
