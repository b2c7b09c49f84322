"""What stories of trials are told with: a daemon that watches, a system that is ill or well, damage."""

from __future__ import annotations

from typing import Any

import pytest

from proa.agent.daemon.daemon import Daemon
from proa.agent.testing.node import Node
from proa.agent.testing.systemctl import Systemctl
from proa.core.runtime.errors import ProaError
from proa.core.runtime.events import Note


def watch(node: Node) -> Daemon:
    """Let the daemon watch this boot's trial to its end."""
    daemon = Daemon(node.context)
    daemon.watch_trial()
    return daemon


def refused(verb: Any, *arguments: Any, **options: Any) -> ProaError:
    """The error of a verb that is refused."""
    with pytest.raises(ProaError) as caught:
        verb(*arguments, **options)
    return caught.value


def fail_unit(systemctl: Systemctl) -> None:
    """Let a unit have failed."""
    systemctl.answer("is-system-running", "degraded\n", 1)
    systemctl.answer("list-units", "bad.service loaded failed failed Bad thing\n")
    systemctl.answer("show", "exit-code\n")


def unhealthy(node: Node, systemctl: Systemctl) -> None:
    """Watch a boot with a unit that failed."""
    fail_unit(systemctl)
    node.write("etc/proa/agent.toml", "[health]\ninterval = 270\n")
    watch(node)


def healthy(systemctl: Systemctl) -> None:
    """Let the system be well again."""
    systemctl.answer("is-system-running", "running\n")
    systemctl.answer("list-units", "")


def no_room(*_: Any, **__: Any) -> Any:
    """A file system that takes no new file."""
    raise OSError(28, "No space left on device")


def warnings(node: Node) -> str:
    """What the node has warned of."""
    return "\n".join(event.text for event in node.events.events if isinstance(event, Note) and event.level == "warning")


def rot(node: Node, name: str, place: int = 0) -> None:
    """Damage a partition from a place on."""
    with node.part(name).open("r+b") as file:
        file.seek(place)
        file.write(b"rot" * 2000)
