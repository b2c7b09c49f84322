"""``make proof``: builds the releases and tells the story; one fault of :mod:`proa.vm.cluster.faults` if it is named.

The report is ``build/proof/report.json`` (``proa.proof/v1``) and ``report.html``; that of another story than the plain
one is in a folder of its name below.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import click

from proa.core.runtime.cli import run_command
from proa.core.runtime.renderers import monitor
from proa.vm.cluster import images as proofimages
from proa.vm.cluster.cast import Cast, ProofRelease
from proa.vm.cluster.faults import FAULTS
from proa.vm.cluster.machines import MEMORY
from proa.vm.cluster.proof import CLUSTER, ClusterProof, say, table
from proa.vm.machine import accel

FOLDER: Final = Path("build/proof")
NAMES: Final = ("node-1", "node-2", "node-3")


@click.command()
@click.option("--short", is_flag=True, help="The story of CI: two nodes, one of which is upgraded; no rollback.")
@click.option(
    "--fault", type=click.Choice(sorted(FAULTS)), help="What happens meanwhile; the broken releases are left out."
)
@click.option("--memory", default=MEMORY, show_default=True, help="Memory of each node in MiB.")
def cli(short: bool, fault: str | None, memory: int) -> None:
    """Run the proof: a cluster of real nodes in QEMU rolls to a release, back and forward, and undoes two bad ones."""
    story = fault or ("short" if short else "")
    folder = FOLDER.resolve() / story
    shutil.rmtree(folder / CLUSTER, ignore_errors=True)
    wanted = ["v1", "v2", *([] if fault else ["mute"] if short else ["mute", "panic"])]
    say(f"Emulation or virtualisation: {accel.choose().accel.name}. Files are in {folder}/.")
    images = FOLDER.resolve() / "images"
    built = proofimages.build(images, wanted, monitor=monitor("auto"), tell=lambda name: say(f"        build {name}"))
    releases = {name: ProofRelease.of(name, out, proofimages.RECIPES[name].says) for name, out in built.items()}
    broken = tuple(releases[name] for name in wanted[2:])
    names, followers = (NAMES[:2], NAMES[:1]) if short else (NAMES, ())
    returns, retries = not short and not fault, 2 if fault else 0
    keys = images / "keys"
    chosen = FAULTS[fault] if fault else None
    borne, answers = (chosen.borne, chosen.answers) if chosen else (0, True)
    cast = Cast(
        releases["v1"], releases["v2"], broken, keys, names, memory, followers, returns, retries, borne, answers
    )
    tell(ClusterProof(folder, cast, chosen.happens) if chosen else ClusterProof(folder, cast))


def tell(proof: ClusterProof) -> None:
    """Run it; the table and where the report is are printed however it ends.

    Raises:
        ProaError: What went wrong.
    """
    try:
        proof.run()
    finally:
        say("\n" + table(proof.story))
        say(f"\nreport: {proof.folder / 'report.json'}, {proof.folder / 'report.html'}")


if __name__ == "__main__":
    run_command(cli, "proof")
