"""``proa-vm cluster``: the proof for one's own images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click

from proa.core.runtime.cli import dry_run_option, json_option
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import check_writable
from proa.core.runtime.output import say
from proa.vm.cluster.cast import Cast, ProofRelease
from proa.vm.cluster.machines import MEMORY
from proa.vm.cluster.proof import ClusterProof
from proa.vm.cluster.run import tell
from proa.vm.machine.firmware import check_keys
from proa.vm.node.beforehand import check_acceptance

_PATH: Final = click.Path(path_type=Path)
_MOST: Final = 9


@click.command("cluster", epilog="Example: proa-vm cluster out/1.0.0 out/2.0.0 --broken out/3.0.0 --keys keys")
@click.argument("first", type=_PATH)
@click.argument("good", type=_PATH)
@click.option("--broken", multiple=True, type=_PATH, help="A build that no node commits; may be repeated.")
@click.option("--keys", type=_PATH, help="The folder of keys; enables Secure Boot with them.")
@click.option("--nodes", type=click.IntRange(2, _MOST), default=3, show_default=True, help="Number of nodes.")
@click.option(
    "--memory", type=click.IntRange(512), default=MEMORY, show_default=True, help=("Memory of each node in MiB.")
)
@click.option(
    "--report",
    type=_PATH,
    default=Path("proof"),
    show_default=True,
    help="A new folder for report.json, report.html, consoles, and the cluster's files.",
)
@dry_run_option
@json_option
def cluster_command(
    first: Path,
    good: Path,
    broken: tuple[Path, ...],
    keys: Path | None,
    nodes: int,
    memory: int,
    report: Path,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run a cluster of nodes from the build FIRST; roll it to GOOD, back and forward; halt at broken builds.

    The builds are output folders of proa-build image, made from the profile kubernetes-node. Control plane and registry
    run on this machine, from a checkout of Proa's repository. Exits with 0 only if everything went as promised.
    """
    names = tuple(f"node-{number}" for number in range(1, nodes + 1))
    cast = Cast(
        ProofRelease.of("first", first),
        ProofRelease.of("good", good),
        tuple(ProofRelease.of(f"broken-{number}", out) for number, out in enumerate(broken, 1)),
        keys,
        names,
        memory,
    )
    if keys is not None:
        check_keys(keys)
    if not (first / "disk.raw").exists():
        raise ProaError(Code.FILE_MISSING, "the first build has no disk image", at=first / "disk.raw")
    if report.exists() and not (report.is_dir() and not any(report.iterdir())):
        raise ProaError(
            Code.FILE_EXISTS, "the folder of the report is not empty", at=report, hint=("Choose a new folder.")
        )
    check_writable(report)
    for build in (good, *broken):
        check_acceptance(first / "disk.raw", build / "release")
    if dry_run:
        story = ", ".join(one.version for one in (cast.first, cast.good, cast.first, cast.good, *cast.broken))
        say(f"would boot {nodes} nodes of {memory} MiB and take them through {story}")
        return
    proof = ClusterProof(report.resolve(), cast)
    tell(proof)
    if as_json:
        say(json.dumps(proof.document(), indent=2))
