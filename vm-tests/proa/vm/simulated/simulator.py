"""Simulated nodes in a process of their own: benchmarks do not want them in the one that is measured.

``python -m proa.vm.simulated.simulator --kubeconfig FILE --nodes 12`` says on its standard output when
they are Ready, runs until SIGTERM or SIGINT, and says at the end how often each node has rebooted, and what should
not have happened.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, TextIO

import click

from proa.core.runtime.errors import ProaError
from proa.core.runtime.output import say
from proa.vm.kube.access import ApiAccess
from proa.vm.kube.control_flags import ADMINS
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.machine import calibration
from proa.vm.simulated.faults import Timing
from proa.vm.simulated.machine import shapes
from proa.vm.simulated.nodes import Options, SimNodes
from proa.vm.support.child import Child
from proa.vm.support.waiting import until

_READY_SECONDS: Final = 180.0
_END_SECONDS: Final = 60.0


@click.command(help=__doc__)
@click.option(
    "--kubeconfig", type=click.Path(path_type=Path), required=True, help=("A kubeconfig that proa.vm has written.")
)
@click.option("--nodes", default=0, help="Number of nodes to create.")
@click.option("--control-planes", default=0, help="Number of control-plane nodes to create.")
@click.option("--zones", default=3, help="Number of zones to spread them over.")
@click.option("--adopt", is_flag=True, help="Continue with the simulated nodes that exist already.")
@click.option("--proxy/--no-proxy", default=True, help="Carry orders between NodeOS objects and agents.")
@click.option("--pods/--no-pods", default=True, help="Bind, start and end pods.")
@click.option("--all-pods/--new-pods", default=True, help="Also look at the pods that exist at the start.")
@click.option("--heartbeat", default=0.0, help="Seconds between two renewals of a node's lease; 0 for none.")
@click.option("--timing", multiple=True, metavar="NAME=SECONDS", help="How long things take, such as boot=2.5.")
@click.option("--faults", type=click.Path(path_type=Path), help='JSON: {"NODE": {"never_returns": true}}.')
def main(kubeconfig: Path, faults: Path | None, timing: Sequence[str], **words: Any) -> None:
    """Simulate nodes."""
    ends = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ends.set())
    try:
        _run(ApiAccess.read(kubeconfig), faults, _timing(timing), words, ends)
    except ProaError as error:
        say(error.text("simulator"), err=True)
        sys.exit(int(error.exit))


def _run(access: ApiAccess, faults: Path | None, timing: Timing, words: dict[str, Any], ends: threading.Event) -> None:
    started = time.monotonic()
    options = Options(
        timing=timing,
        **{field.name: words[field.name] for field in fields(Options) if field.name in words},
    )
    new = shapes(words["nodes"], zones=words["zones"], control_planes=words["control_planes"])
    with SimNodes(access, new, options) as nodes:
        for name, wrong in json.loads(faults.read_text()).items() if faults else ():
            nodes.fault(name, **wrong)
        nodes.wait_ready(_READY_SECONDS)
        _say(sys.stdout, ready=len(nodes.machines), seconds=round(time.monotonic() - started, 3))
        ends.wait()
        boots = {name: count for name, count in nodes.boots().items() if count}
        _say(sys.stdout, boots=boots, problems=nodes.problems)


def _timing(words: Sequence[str]) -> Timing:
    known = {field.name for field in fields(Timing)}
    pairs = [word.partition("=") for word in words]
    if wrong := [name for name, _, _ in pairs if name not in known]:
        raise click.BadParameter(f"{', '.join(wrong)}: not one of {', '.join(sorted(known))}", param_hint="--timing")
    return Timing(**{name: float(value) for name, _, value in pairs})


def _say(out: TextIO, **words: object) -> None:
    print(json.dumps(words), file=out, flush=True)


@contextmanager
def running(plane: ControlPlane, *words: str) -> Iterator[Child]:
    """Run it beside a control plane, with further words of its command line; the nodes are Ready.

    What it says at the end is in :attr:`proa.vm.support.child.Child.said`.

    Raises:
        ProaError: ``TOOL`` when it ends by itself, ``TIMEOUT``.
    """
    kubeconfig = plane.user("proa-simnodes", [ADMINS]).write(plane.folder / "simulator.conf")
    argv = [sys.executable, "-m", "proa.vm.simulated.simulator", "--kubeconfig", str(kubeconfig), *words]
    child = Child("simulator", argv, plane.folder / "simulator.log")
    child.start()

    def ready() -> bool:
        child.check()
        return '{"ready":' in child.said

    try:
        until(ready, "simulated nodes to be Ready", _READY_SECONDS * max(1.0, calibration.known()))
        yield child
    finally:
        child.stop(_END_SECONDS)


if __name__ == "__main__":
    main()
