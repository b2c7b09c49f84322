"""Who plays in the proof: the nodes, the releases that they are brought to, and what must come of each."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from proa.core.runtime.errors import Code, ProaError
from proa.vm.cluster.machines import MEMORY
from proa.vm.node.expectation import OTHER_REASON


@dataclass(frozen=True)
class ProofRelease:
    """A release of the story.

    Attributes:
        name: What it is called in the report.
        out: The folder that ``proa-build image`` has made.
        version: Its version.
        says: A regular expression: what a node says of a trial of it that came back; empty if that is not known.
    """

    name: str
    out: Path
    version: str
    says: str = ""

    @classmethod
    def of(cls, name: str, out: Path, says: str = "") -> ProofRelease:
        """A build by its output folder.

        Raises:
            ProaError: ``FILE_MISSING`` when it is none.
        """
        try:
            version = str(json.loads((out / "build.json").read_bytes())["version"])
        except (OSError, ValueError, KeyError) as error:
            hint = "Name the output folder of proa-build image."
            raise ProaError(Code.FILE_MISSING, "the folder is not the output of a build", at=out, hint=hint) from error
        return cls(name, out, version, says)


@dataclass(frozen=True)
class Cast:
    """Who plays.

    Attributes:
        first: What the nodes boot at first.
        good: What they are brought to, back from, and to again.
        broken: What must not get beyond one node.
        keys: The keys folder; none without Secure Boot.
        names: The nodes.
        memory: MiB of each node.
        followers: Those of them that follow the rollout; all if it is empty.
        returns: Whether the cluster goes back to the first release, and forward again.
        retries: How often a node is tried again on which something failed.
        borne: On how many nodes a release may fail before the rollout halts.
        answers: Whether the service must answer every probe.
    """

    first: ProofRelease
    good: ProofRelease
    broken: Sequence[ProofRelease]
    keys: Path | None
    names: Sequence[str] = ("node-1", "node-2", "node-3")
    memory: int = MEMORY
    followers: Sequence[str] = ()
    returns: bool = True
    retries: int = 0
    borne: int = 0
    answers: bool = True

    @property
    def following(self) -> tuple[str, ...]:
        """The nodes that follow the rollout."""
        return tuple(self.followers or self.names)


def check_return(broken: ProofRelease, said: str) -> None:
    """Check that a broken release came back because of what is broken in it.

    Args:
        broken: The release.
        said: The node's last error: its code, then its message.

    Raises:
        ProaError: ``REHEARSAL``.
    """
    if not re.search(broken.says, said):
        raise ProaError(Code.REHEARSAL, f"{broken.name} {OTHER_REASON}: {said or 'none is given'}", at=broken.out)
