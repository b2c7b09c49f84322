"""The daemon as its unit starts it: ``python3 -ISB .../proa/agent/daemon/serve.py``.

Not through the command line, whose import a slow machine feels at every boot.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proa.agent.node.view import Context


def serve_until_stopped(context: Context) -> None:
    """Be the daemon until SIGTERM or SIGINT.

    Raises:
        ProaError: ``DEVICE`` or ``DISK_FULL`` when there can be no socket.
    """
    from proa.agent.daemon.daemon import Daemon
    from proa.agent.daemon.notify import Notifier
    from proa.agent.daemon.signals import stop_on_signals

    with stop_on_signals(context.cancel):
        Daemon(context, Notifier.of()).run()


def main() -> int:
    """The unit's program; the exit status comes back."""
    from proa.agent.node.paths import Paths
    from proa.agent.node.view import Context
    from proa.core.runtime.errors import ProaError
    from proa.core.runtime.renderers import Plain

    try:
        serve_until_stopped(Context(Paths(), Plain(sys.stderr)))
    except ProaError as error:
        sys.stderr.write(error.text("proa-agent") + "\n")
        return int(error.exit)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))
    sys.exit(main())
