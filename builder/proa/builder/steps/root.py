"""Root: the packages' tree becomes a node's, and one EROFS image."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from proa.builder.config.settings import Config
from proa.builder.engine import cache, namespace
from proa.builder.engine.context import BuildContext
from proa.builder.inputs import fingerprint, localfiles
from proa.builder.node import accounts, software, system
from proa.builder.node.assemble import AssemblyJob, as_text
from proa.builder.steps.beforehand import HOOKED
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError, ProaErrors
from proa.core.runtime.events import Note
from proa.core.signing.keys import load_public

_ROOM: Final = 3
"""How often the size of the packages' tree is needed: the tree unpacked, the image, and what is added to both."""


class RootStep:
    """See the module."""

    name = "root"
    title = "Root image"
    needs = ("packages", "software", "modules")
    tools = ("mkfs.erofs", "tar")
    keep = True

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        """The configuration, every local file that it names, the agent, and the numbers of users."""
        return {
            "config": fingerprint.hidden(dataclasses.asdict(shaping(context.config))),
            "files": {name: localfiles.key(context.local(name)) for name in _local_files(context.config)},
            "keys": trusted(context),
            "own": fingerprint.tree(system.DATA),
            "agent": {name: fingerprint.file(path) for name, path in software.files().items()},
            "numbers": numbers(context).text(),
            "epoch": context.epoch,
        }

    def run(self, context: BuildContext, out: Path) -> None:
        """Make the image in a namespace.

        Raises:
            ProaError: what :mod:`proa.builder.node.assemble` says, ``DISK_FULL``.
        """
        packages = context.output("packages")
        cache.check_space(context.scratch, _ROOM * (packages / "base.tar").stat().st_size, "the root")
        job = AssemblyJob(
            config=dataclasses.asdict(shaping(context.config)),
            folder=str(context.folder.absolute()),
            base=str(packages / "base.tar"),
            hooked=json.loads((packages / HOOKED).read_text()),
            site=str(context.output("software") / "site"),
            agent={name: str(path) for name, path in software.files().items()},
            modules=str(context.output("modules")),
            keys=trusted(context),
            lock=numbers(context).text(),
            epoch=context.epoch,
            work=str(context.scratch),
            out=str(out),
        )
        path = context.scratch / "job.json"
        path.touch(0o600)
        path.write_text(as_text(job))
        command = namespace.python("proa.builder.node.assemble", path)
        done = process.run(
            (*namespace.room(context.scratch, show=_shown(context), change=(out,)), *command), check=False
        )
        said = path.with_suffix(".error")
        if said.exists():
            raise _from_document(json.loads(said.read_text()))
        if done.status != 0:
            raise process.failure(done)
        for origin, text in copied_once(json.loads((out / "root.json").read_text())["once"]):
            context.monitor.emit(Note(f"{origin} wrote {text}", "warning"))


def _shown(context: BuildContext) -> tuple[Path, ...]:
    """All that the job reads. Hooks see it too, and nothing else of this machine: no key, no home, no cache."""
    named = (context.local(name) for name in _local_files(context.config))
    return (*namespace.own_code(), *context.outputs.values(), *named)


def copied_once(found: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What to tell of files in /var that somebody brought: who did, and what becomes of them.

    Args:
        found: The path to the setting that brought it.
    """
    for origin in sorted(set(found.values())):
        names = sorted(name for name in found if found[name] == origin)
        more = f" and {len(names) - 1} more" if names[1:] else ""
        yield origin, f"{names[0]}{more}: a node copies it where it is missing, and no later release changes it there"


def _from_document(error: Mapping[str, Any]) -> ProaError:
    """What the process inside said, one error or several."""
    several = [_from_document(one) for one in error.get("errors", ())]
    if several:
        return ProaErrors(several)
    return ProaError(Code[error["code"]], error["message"], at=error["at"], hint=error["hint"])


def numbers(context: BuildContext) -> accounts.Numbers:
    """The numbers of users and groups of this release, and of earlier ones."""
    packages = context.output("packages")
    tree = accounts.read_tree((packages / "passwd").read_text(), (packages / "group").read_text())
    lock = accounts.read_lock(context.folder / accounts.LOCK)
    return accounts.assign(tree, context.config.user, lock).over(lock)


def trusted(context: BuildContext) -> list[str]:
    """The public keys that the node will believe (PEM): those of the configuration, else those of the keys folder.

    Raises:
        ProaError: ``KEY``.
    """
    named = tuple(load_public(context.local(name)) for name in context.config.trust.keys)
    own = context.keys.public if context.keys is not None else ()
    return [key.pem.decode() for key in named or own]


def shaping(config: Config) -> Config:
    """What of the configuration shapes the root; the rest is as if it were not set.

    The job is given no more than that, so that nothing can shape the root which is not in the key.
    """
    unset = Config(release=config.release)
    return dataclasses.replace(
        config,
        system=dataclasses.replace(
            config.system,
            packages=(),
            recommends=False,
            machine_sources=False,
            debs=(),
            preseed=(),
            documentation=False,
            translations=(),
        ),
        source=unset.source,
        kernel=dataclasses.replace(
            unset.kernel,
            drivers=config.kernel.drivers,
            exclude=config.kernel.exclude,
            compress=config.kernel.compress,
        ),
        boot=unset.boot,
        disk=unset.disk,
        health=dataclasses.replace(config.health, deadline=unset.health.deadline),
        build=unset.build,
    )


def _local_files(config: Config) -> list[str]:
    names = [file.source for file in config.file if file.source]
    names += [check.source for check in config.check if check.source]
    names += [name for user in config.user for name in user.ssh_key_files]
    return sorted({*names, *(hook.run for hook in config.hook if hook.at.startswith("tree-"))})


ROOT: Final = RootStep()
