"""At boot: the users and groups of the release and of the node become one, whatever the node's /etc hides."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from proa.agent.node.accounts import NAMES, Merged, merge
from proa.agent.node.paths import Paths
from proa.core.runtime import files
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.json_text import load_json
from proa.core.schema.model import Document, document, field, parse


@dataclass(frozen=True)
class Clashes(Document, schema="proa.accounts/v1"):
    """`/run/proa/accounts.json`: what the release and the node both claim of users and groups."""

    clashes: tuple[str, ...] = field("Each in a sentence.")


def load_clashes(paths: Paths) -> tuple[str, ...]:
    """What this boot's merge could not bring together."""
    try:
        return parse(Clashes, load_json(paths.clashes.read_bytes(), Code.CONFIG_SYNTAX)).clashes
    except (OSError, ProaError):
        return ()


def merge_accounts(paths: Paths, upper: Path) -> Merged:
    """Bring /etc in line with the release; running it again changes nothing.

    Args:
        paths: The node's places.
        upper: What the node has over the release's /etc.

    Raises:
        ProaError: ``DEVICE`` or ``DISK_FULL``.
    """
    release, node = _texts(paths.lower_etc), _texts(upper)
    base = _texts(paths.accounts_base) if paths.accounts_base.is_dir() else None
    merged = merge(release, base, node)
    for name, text in merged.texts.items():
        if (name in node or not (paths.root / "etc" / name).is_file()) and _differs(paths, name, text):
            _write(paths, name, text)
    remember_release(paths, upper)
    told = (json.dumps(document(Clashes(merged.clashes)), indent=1) + "\n").encode()
    files.replace(paths.clashes, told, 0o600)
    return merged


def remember_release(paths: Paths, upper: Path) -> None:
    """Keep the release's databases beside the node's, which were copied from them: the base of the next merge.

    Raises:
        ProaError: ``DEVICE`` or ``DISK_FULL``.
    """
    release = _texts(paths.lower_etc)
    if not release or not _texts(upper):
        return
    with files.os_errors(paths.accounts_base):
        paths.accounts_base.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in release.items():
        if _text(paths.accounts_base / name) != text:
            files.replace(paths.accounts_base / name, text.encode("utf-8", "surrogateescape"), 0o600)


def _texts(folder: Path) -> Mapping[str, str]:
    return {name: text for name in NAMES if (text := _text(folder / name)) is not None}


def _text(path: Path) -> str | None:
    if not path.is_file() or path.is_symlink():
        return None
    with files.os_errors(path):
        return path.read_bytes().decode("utf-8", "surrogateescape")


def _differs(paths: Paths, name: str, text: str) -> bool:
    now = paths.root / "etc" / name
    return not now.is_file() or _text(now) != text or _owner(now) != _owner(_model(paths, name))


def _model(paths: Paths, name: str) -> Path:
    """Whose owner and mode a database has: the release's, where it has one."""
    lower = paths.lower_etc / name
    return lower if lower.is_file() else paths.root / "etc" / name


def _owner(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid, status.st_mode & 0o7777


def _write(paths: Paths, name: str, text: str) -> None:
    user, group, mode = _owner(_model(paths, name))
    path = paths.root / "etc" / name
    files.replace(path, text.encode("utf-8", "surrogateescape"), mode)
    with files.os_errors(path):
        os.chown(path, user, group)
