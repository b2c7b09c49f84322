"""Small output folders of builds, for tests: real as far as `proa-vm` looks at them before it boots one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proa.agent.testing import synthetic
from proa.agent.testing.synthetic import Recipe
from proa.core.signing import trust
from proa.core.signing.keys import PrivateKey
from proa.core.testing.erofs import make_root
from proa.partition.disk.layout import LayoutRequest, Sizes, plan
from proa.partition.disk.table import write_table

_MIB = 1 << 20


def make_build(
    out: Path, key: PrivateKey, version: str = "1.0.0", trusted: Sequence[PrivateKey] | None = None, **release: Any
) -> Path:
    """An output folder: ``disk.raw`` with a table and a root, ``release``, ``build.json``.

    Args:
        out: The folder, which is made.
        key: Who signs the release.
        version: Of the release.
        trusted: Whom the root believes; the signer unless told otherwise.
        release: Further fields of the release's recipe.
    """
    work = out / "work"
    folder = work / "tree" / str(trust.FOLDER).lstrip("/")
    folder.mkdir(parents=True)
    believed = [key] if trusted is None else list(trusted)
    trust.save(folder, trust.Trust(tuple(one.public for one in believed), compatible="test"))
    root = make_root(work / "tree", work / "root")
    (work / "uki").write_bytes(b"\1" * 4096)
    synthetic.make_boot_image(work / "boot", work / "uki")
    recipe = Recipe(root, work / "boot", work / "uki", version=version, **release)
    synthetic.make_release(recipe, out / "release", [key], work)
    layout = plan(LayoutRequest("test", Sizes(uki=2 * _MIB, root=2 * _MIB, persist=16 * _MIB)))
    write_table(out / "disk.raw", layout)
    with (out / "disk.raw").open("r+b") as disk:
        disk.seek(layout["ROOT-A"].start)
        disk.write(root.read_bytes())
    (out / "build.json").write_text(json.dumps({"version": version}))
    return out
