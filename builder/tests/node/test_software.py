"""What a node gets of Proa: enough to run whatever a node runs, and no more."""

from __future__ import annotations

import ast
import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement

from proa.agent.cli.main import cli as agent
from proa.builder.inputs import imports
from proa.builder.node import software, system
from proa.builder.node.software import COMMANDS, LOCK, SITE
from proa.builder.node.tree import Tree
from proa.builder.testing.bare import EVERYTHING, PYTHON, Bare
from proa.core.runtime import process
from proa.core.runtime.events import SILENT
from proa.partition.cli.main import disk_command as disk
from proa.partition.disk import creating, layout

MIB: Final = 1 << 20
DEBIAN: Final = {"python_version": "3.11", "python_full_version": "3.11.2", "extra": ""}
VERBS: Final = {"proa-agent": ["", *agent.commands], "proa-disk": ["", *disk.commands]}


def report(bare: Bare, *words: str | Path) -> dict[str, Any]:
    """What a command reports."""
    done = bare.run([*words, "--json"])
    assert done.status == 0, done.stderr
    document: dict[str, Any] = json.loads(done.text)
    return document


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Bare:
    return Bare(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk image without a release."""
    path = tmp_path_factory.mktemp("disk") / "disk.raw"
    planned = layout.plan(layout.LayoutRequest("test", layout.Sizes(uki=48 * MIB, root=16 * MIB, persist=16 * MIB)))
    creating.create(path, planned, "test", {}, SILENT)
    return path


def modules() -> set[str]:
    """Names of the modules that a node gets."""
    names = (name.removeprefix(f"{SITE}/") for name in software.files() if name.endswith(".py"))
    return {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names}


def test_all_that_a_node_gets_can_be_imported_and_every_verb_has_its_help(bare: Bare) -> None:
    verbs = {COMMANDS[name]: names for name, names in VERBS.items()}
    done = process.run([*PYTHON, "-c", EVERYTHING, bare.site, json.dumps(verbs)])
    assert done.text.count("Usage: ") == sum(map(len, VERBS.values()))


def test_the_commands_work_on_a_disk_image(bare: Bare, image: Path, tmp_path: Path) -> None:
    status = report(bare, "proa-agent", "status", "--root", tmp_path, "--disk", image)
    assert (status["schema"], status["good"]) == ("proa.status/v1", "a")
    shown = report(bare, "proa-disk", "show", image)
    assert [one["name"] for one in shown["partitions"]] == list(layout.NAMES)
    assert report(bare, "proa-disk", "plan")["schema"] == "proa.disk/v1"
    assert report(bare, "proa-disk", "grow", "--dry-run", image)["schema"] == "proa.disk/v1"
    assert report(bare, "proa-disk", "reset", "--dry-run", image)["reset"] == "PERSIST"


def test_a_node_makes_no_disks(bare: Bare) -> None:
    """pyparted is in no lock of a node: the module that writes partition tables and what needs it stay away."""
    done = bare.run(["proa-disk", "create", bare.folder / "disk.raw"])
    assert b"error[TOOL_MISSING]" in done.stderr
    assert not modules() & {"proa.partition.disk.table", "proa.partition.disk.creating"}


def test_nothing_of_other_places_comes_along() -> None:
    found = modules()
    assert {"proa.agent.daemon.serve", "proa.agent.install.install", "proa.core.oci.remote"} <= found
    strangers = re.compile(r"proa\.(builder|scheduler|vm)\b|.*\.(testing|upload|target|grubscript)\b")
    assert {name for name in found if strangers.match(name)} == set()
    rest = {name for name in software.files() if not name.endswith(".py")}
    assert {name for name in rest if not name.startswith(SITE)} == {
        "/usr/lib/proa/health.d/10-persist",
        *(
            f"/usr/lib/systemd/system/proa-{name}"
            for name in ("accounts.service", "agent.service", "deadline.service", "deadline.timer")
        ),
    }


def test_what_a_unit_starts_by_its_path_is_there() -> None:
    started = re.findall(r"\S+\.py\b", Path(software.files()["/usr/lib/systemd/system/proa-agent.service"]).read_text())
    assert started
    assert set(started) <= software.files().keys()


def test_no_other_script_of_a_node_needs_python() -> None:
    """Else what it runs would have to be an entry as well."""
    folders = (system.DATA, system.DATA.parents[1] / "initrd")
    scripts = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert len(scripts) > 15
    assert [path for path in scripts if re.search(r"python3 |/usr/lib/proa/python/proa", path.read_text())] == []


def test_no_module_of_a_node_is_imported_by_a_name_that_is_put_together() -> None:
    """Such an import could not be read from the source."""
    for path in software.files().values():
        if path.suffix == ".py":
            called = {node.id for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Name)}
            assert not called & {"import_module", "__import__", "importlib"}, path


def test_the_lock_is_what_the_modules_of_a_node_import_and_what_that_requires() -> None:
    needed: set[str] = set()
    files = imports.reached(*modules()).values()
    waiting = {
        name for one in files if one.name in modules() for other in one.imports for name in imports.distributions(other)
    }
    while waiting:
        name = waiting.pop()
        needed.add(re.sub(r"[-_.]+", "-", name).lower())
        wanted = map(Requirement, metadata.requires(name) or ())
        chosen = {one.name for one in wanted if one.marker is None or one.marker.evaluate(DEBIAN)}
        waiting |= {one for one in chosen if re.sub(r"[-_.]+", "-", one).lower() not in needed}
    assert imports.locked(LOCK) == needed


def test_the_lock_has_what_the_agent_needs() -> None:
    """The lock is made from pyproject.toml; a dependency that was added there must be locked too."""
    locked = set(re.findall(r"^([a-z0-9.-]+)==", LOCK.read_text(), re.MULTILINE))
    wanted = {
        re.split(r"[^a-z0-9.-]", line.lower())[0]
        for line in metadata.requires("proa") or ()
        if "extra ==" not in line or "extra == 'agent'" in line or 'extra == "agent"' in line
    }
    assert {"click", "pyudev"} <= wanted
    assert wanted <= locked
    assert not locked & {"pyparted", "pytest", "pefile"}
    assert LOCK.read_text().count("--hash=sha256:") > len(locked)


def test_the_agents_files_have_the_same_modes_whatever_the_umask_was(tmp_path: Path) -> None:
    tree, site = Tree(tmp_path / "tree", owners=False), tmp_path / "site"
    tree.root.mkdir()
    (site / "package").mkdir(parents=True)
    (site / "package" / "module.so").touch(0o700)
    (site / "package").chmod(0o700)
    site.chmod(0o700)
    software.add(tree, site, software.files())
    paths = [tree.path(software.SITE), *(path for _, path in tree.files(software.SITE))]
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o755}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o644}
    assert {tree.path(f"/usr/bin/{name}").stat().st_mode & 0o777 for name in ("proa-agent", "proa-disk")} == {0o755}
