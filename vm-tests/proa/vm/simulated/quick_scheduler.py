"""``proa-scheduler run`` with a leader that starts at once, for tests that start one many times.

Run it as ``python -m proa.vm.simulated.quick_scheduler KUBECONFIG NAMESPACE LISTEN``. A leader
settles for a second because a write of the one before may be under way; where that one was killed at a known write,
there is nothing to wait for.
"""

from __future__ import annotations

import sys

from proa.scheduler.control import log
from proa.scheduler.control.service import ControllerSettings, serve
from proa.scheduler.kube import access
from proa.scheduler.kube.lease_timings import LeaseTimings


def main() -> None:
    """Run until SIGTERM."""
    kubeconfig, namespace, listen = sys.argv[1:]
    log.to_stderr()
    serve(ControllerSettings(access.find(kubeconfig), namespace, listen=listen, terms=LeaseTimings(settle=0.05)))


if __name__ == "__main__":
    main()
