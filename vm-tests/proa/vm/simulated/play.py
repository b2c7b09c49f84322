"""``make play-cluster``: a cluster to try things on, until Ctrl-C: real API server and scheduler, simulated nodes.

``build/play-cluster/env`` is for a shell: it names the kubeconfig, and puts kubectl and its plugin on ``PATH``.
"""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from proa.core.runtime import output
from proa.core.runtime.cli import end_politely
from proa.core.runtime.errors import Code, Exit, ProaError
from proa.core.runtime.events import SILENT, Monitor
from proa.core.runtime.files import replace
from proa.core.runtime.renderers import monitor
from proa.scheduler.kube import paths
from proa.vm.kube.api import KubeApi
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.simulated.demo import ACCOUNT, TIMING, install, say, workload
from proa.vm.simulated.nodes import run as run_nodes
from proa.vm.simulated.scheduler import NAMESPACE, Scheduler

FOLDER: Final = Path("build/play-cluster")
NODES: Final = 6
ZONES: Final = 3
_LOOK_SECONDS: Final = 0.5


@contextmanager
def playing(folder: Path, monitor: Monitor = SILENT) -> Iterator[Mapping[str, str]]:
    """A cluster that lives as long as the block; what a shell needs to use it.

    Raises:
        ProaError: What went wrong.
    """
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane(folder, monitor=monitor))
        install(plane)
        stack.enter_context(run_nodes(plane, NODES, zones=ZONES, timing=TIMING))
        plane.apply(workload(plane))
        scheduler = Scheduler(plane, kubeconfig=plane.kubeconfig_for(ACCOUNT, NAMESPACE))
        stack.callback(scheduler.stop)
        scheduler.start()
        scheduler.wait_leading()
        ends = threading.Event()
        follower = threading.Thread(target=_follow, args=(plane.api, scheduler, ends), daemon=True)
        follower.start()
        stack.callback(follower.join)
        stack.callback(ends.set)
        own = Path(sys.executable).parent
        yield {"KUBECONFIG": str(plane.kubeconfig), "PATH": f"{own}:{plane.folder / 'bin'}"}


def _follow(api: KubeApi, scheduler: Scheduler, ends: threading.Event) -> None:
    """The scheduler stands for the pods of its Deployment, which no kubelet runs here: it ends when that goes."""
    path = paths.named(paths.within("/apis/apps/v1/deployments", NAMESPACE), ACCOUNT)
    while not ends.wait(_LOOK_SECONDS):
        with suppress(ProaError):  # looked at again
            if api.find(path) is None:
                scheduler.stop()
                return


def main() -> None:
    """Run it until Ctrl-C, which ends what is being built or started as well."""
    end_politely()
    folder = FOLDER.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with playing(folder / "cluster", monitor("auto")) as words:
            lines = [f"export KUBECONFIG='{words['KUBECONFIG']}'", f"export PATH='{words['PATH']}':\"$PATH\""]
            replace(folder / "env", ("\n".join(lines) + "\n").encode())
            say(f"{NODES} nodes in {ZONES} zones are up. In another terminal, run: . {FOLDER / 'env'}")
            say("Press Ctrl-C to end all of it.")
            with suppress(KeyboardInterrupt):
                threading.Event().wait()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # it is ending
    except KeyboardInterrupt:
        output.say(ProaError(Code.INTERRUPTED).text("play-cluster"), err=True)
        sys.exit(int(Exit.INTERRUPTED))
    except ProaError as error:
        output.say(error.text("play-cluster"), err=True)
        sys.exit(int(error.exit))


if __name__ == "__main__":
    main()
