"""What happens in a tree before its packages are set up: answers to their questions, and programs of the user's."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Final

from proa.builder.config.settings import Config
from proa.builder.engine import debconf
from proa.builder.engine.context import BuildContext
from proa.builder.inputs import localfiles
from proa.core.runtime.errors import Code, ProaError

HOOKED: Final = "hooked.json"
"""The file that says which files the programs left."""
_POINT: Final = "packages-before"
_TAIL: Final = 20
"""Lines of what a program said that are told."""


def inputs(context: BuildContext) -> dict[str, object]:
    """What has to be in the key of the packages: the files by what they hold, in order."""
    return {
        kind: [[name, localfiles.key(context.local(name))] for name in names]
        for kind, names in (("answers", context.config.system.preseed), ("hooks", _hooks(context.config)))
    }


def prepare(context: BuildContext, out: Path, program: Path) -> list[str]:
    """Put the files where the room has them.

    Args:
        context: The step's.
        out: The step's output folder.
        program: The script that uses them.

    Returns:
        What mmdebstrap is told; nothing if there are none.
    """
    if not context.config.system.preseed and not _hooks(context.config):
        return []
    folder = _given(context)
    folder.mkdir()
    answers = [context.local(name).read_text() for name in context.config.system.preseed]
    (folder / "preseed").write_text("".join(f"{text}\n" for text in answers))
    for number, name in enumerate(_hooks(context.config)):
        shutil.copyfile(context.local(name), folder / f"hook-{number}")
    script = shlex.join(["sh", str(program)])
    return [f'--essential-hook={script} "$1" {shlex.join([str(folder), str(out)])}']


def failed_hook(context: BuildContext) -> ProaError | None:
    """The error of the user's program that ran last, if it is that which ended the work."""
    running = _given(context) / "running"
    if not running.exists():
        return None
    name = _hooks(context.config)[int(running.read_text())]
    said = (_given(context) / "said").read_text(errors="replace").strip().splitlines()
    tail = "\n    ".join(said[-_TAIL:]) or "(no output)"
    return ProaError(Code.HOOK, f"{name} failed:\n    {tail}", at=str(context.local(name)))


def check_answers(context: BuildContext, out: Path) -> None:
    """Every answer must be one that a package of the tree asks for.

    Raises:
        ProaErrors: ``CONFIG_VALUE``.
    """
    templates = out / "templates"
    text = templates.read_text() if templates.exists() else ""
    templates.unlink(missing_ok=True)
    debconf.check({name: context.local(name) for name in context.config.system.preseed}, text)


def write_hooked(context: BuildContext, out: Path) -> None:
    """The files that the user's programs left, by path, each with who did."""
    found: dict[str, str] = {}
    for number, name in enumerate(_hooks(context.config)):
        listed = out / f"hook-{number}"
        found |= dict.fromkeys(listed.read_text(errors="surrogateescape").splitlines(), f"hook {name}")
        listed.unlink()
    (out / HOOKED).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def _given(context: BuildContext) -> Path:
    return context.scratch / "before"


def _hooks(config: Config) -> list[str]:
    return [hook.run for hook in config.hook if hook.at == _POINT]
