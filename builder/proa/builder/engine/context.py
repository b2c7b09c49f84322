"""What a step of the build is, and what it is given.

A step reads the configuration and the output folders of the steps that it needs, and writes files into one new
folder. Its key is the hash of all that goes into it: its name, the source of its module and of everything of
Proa that this imports, the programs that it calls, what :meth:`Step.inputs` returns, and the content of the
outputs that it needs. A result that is kept under that key is never made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from proa.builder.config.architecture import ARCHITECTURES, Architecture
from proa.builder.config.settings import Config
from proa.builder.engine.keys import Keys
from proa.builder.engine.resolve import Supply
from proa.core.runtime.events import Monitor


@dataclass(frozen=True)
class BuildContext:
    """What every step is given.

    Attributes:
        config: The checked configuration.
        folder: The folder of proa.toml; local paths in the configuration start here.
        keys: The folder of private keys, or None for an unsigned build.
        epoch: The time of the build in seconds since 1970: ``SOURCE_DATE_EPOCH``, or the date of the newest
            package. No other clock may reach an output.
        scratch: A folder for temporary files, new for every step and taken away after it.
        cache: The folder of the build cache; a step keeps downloads below ``cache / <its name>``.
        monitor: Where progress goes.
        supply: How packages may be come by.
        outputs: Step name to the folder with its output, for the steps that ``needs`` names.
    """

    config: Config
    folder: Path
    keys: Keys | None
    epoch: int
    scratch: Path
    cache: Path
    monitor: Monitor
    outputs: Mapping[str, Path]
    supply: Supply = field(default_factory=Supply)

    @property
    def architecture(self) -> Architecture:
        """The facts about the target's architecture."""
        return ARCHITECTURES[self.config.release.architecture]

    def output(self, step: str) -> Path:
        """The output folder of a needed step; read only."""
        return self.outputs[step]

    def local(self, path: str) -> Path:
        """A path of the configuration as a path of this machine."""
        return self.folder / path


class BuildStep(Protocol):
    """One step. Steps are singletons: module-level objects of their file below ``proa.builder.steps``."""

    @property
    def name(self) -> str:
        """The step's name: in keys, in build.json and for ``Context.output``."""
        ...

    @property
    def title(self) -> str:
        """What a person reads while it runs."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the steps whose output it reads."""
        ...

    @property
    def tools(self) -> tuple[str, ...]:
        """Programs of the building machine that shape the output; their bytes go into the key."""
        ...

    @property
    def keep(self) -> bool:
        """Whether the result goes into the cache. If not, files of the output may be moved away."""
        ...

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """Everything else that shapes the output, as JSON values: settings, digests of local files.

        ``context.outputs`` is empty and ``context.scratch`` is not to be used here.
        """
        ...

    def run(self, context: BuildContext, out: Path) -> None:
        """Make the output: files in ``out``, which is new and empty.

        Raises:
            ProaError: What went wrong; the output is then thrown away.
        """
        ...


@dataclass(frozen=True)
class Made:
    """What became of a step.

    Attributes:
        step: Its name.
        key: The hash of its inputs.
        digest: The hash of its output.
        cached: Whether the output was kept from an earlier build.
        seconds: How long it took.
    """

    step: str
    key: str
    digest: str
    cached: bool
    seconds: float
