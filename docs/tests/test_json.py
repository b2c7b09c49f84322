"""What the commands really print is what their schemas say: no key missing, none too many."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from click.testing import CliRunner

from proa.agent.cli.main import cli as agent_command
from proa.agent.testing import synthetic
from proa.builder.build import pipeline
from proa.builder.build.pipeline import BuildOrder
from proa.builder.cli.main import cli as build_command
from proa.builder.config.loading import load
from proa.builder.engine.cache import StepCache
from proa.builder.engine.context import BuildContext
from proa.builder.steps.fit import FIT
from proa.builder.steps.release import RELEASE
from proa.builder.steps.verity import VERITY
from proa.core.runtime.errors import Code, ProaError, ProaErrors
from proa.core.runtime.events import SILENT
from proa.core.runtime.process import run
from proa.core.schema.json_schema import Schema, closed
from proa.core.schema.model import document
from proa.core.signing import trust
from proa.core.signing.keys import Algorithm, PrivateKey
from proa.partition.cli.main import disk_command
from proa.vm.cluster.story import ProofReport
from proa.vm.machine.accel import TCG, AccelVerdict, Probe
from proa.vm.node.rehearse import RehearsalPlan, RehearsalReport
from proa.vm.support.report import DemoReport, Story
from upkeep.summary import Case, Result, summary

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
from making import schemas  # noqa: E402 -- docs is no package that is installed

MIB = 1 << 20
SCHEMAS: Mapping[str, Schema] = schemas.every_schema()


def validate(told: dict[str, Any], name: str = "") -> dict[str, Any]:
    """The document, which must be what its schema says, and nothing more."""
    assert told["schema"] == (name or told["schema"])
    jsonschema.Draft202012Validator(closed(dict(SCHEMAS[told["schema"]]))).validate(told)
    return told


def say(command: click.Command, *words: object, status: int = 0) -> dict[str, Any]:
    """What a command prints with ``--json``."""
    result = CliRunner().invoke(
        command, [*(str(word) for word in words), "--json"], auto_envvar_prefix="PROA", standalone_mode=False
    )
    assert result.exception is None, result.exception
    assert (result.return_value or 0) == status
    return validate(json.loads(result.stdout))


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return Algorithm.ED25519.generate()


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, key: PrivateKey) -> Path:
    """A signed release of noise, as an OCI layout folder."""
    folder = tmp_path_factory.mktemp("release")
    root, boot, uki = folder / "root", folder / "boot", folder / "uki"
    synthetic.make_noise(root, MIB, 1)
    synthetic.make_noise(uki, 100_000, 2)
    synthetic.make_boot_image(boot, uki, MIB)
    work = folder / "work"
    work.mkdir()
    synthetic.make_release(synthetic.Recipe(root, boot, uki, level=1), folder / "oci", [key], work)
    return folder / "oci"


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("code", [Code.CONFIG, Code.TIMEOUT, Code.VERITY])
def test_errors(code: Code) -> None:
    validate(ProaError(code, "so", at="there").document())
    validate(ProaErrors([ProaError(code), ProaError(Code.USAGE)]).document())


def test_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "proa.toml"
    path.write_text('[release]\nname = "Node"\nversoin = "1"\n')
    assert len(say(build_command, "check", "-c", path, status=2)["errors"]) > 1
    path.write_text('[release]\nname = "node"\nversion = "1.0.0"\n[[file]]\npath = "/etc/motd"\ncontent = "hello"\n')
    assert say(build_command, "check", "-c", path)["errors"] == []
    say(build_command, "summary", "-c", path)


class Fake:
    """A step that leaves what the report of a build reads."""

    needs = ()
    tools = ()
    keep = True
    title = "A fake"

    def __init__(self, name: str, file: str, document: dict[str, Any], release: Path) -> None:
        self.name, self.file, self.document, self.release = name, file, document, release

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        return {}

    def run(self, context: BuildContext, out: Path) -> None:
        (out / self.file).write_text(json.dumps(self.document))
        shutil.copytree(self.release, out / "release")


def test_a_build(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    path = tmp_path / "proa.toml"
    path.write_text('[release]\nname = "node"\nversion = "1.0.0"\n')
    blobs = {name: {"digest": "sha256:" + "0" * 64, "size": 1} for name in ("root", "map", "tree", "boot", "sbom")}
    sizes = {"root": {"size": 1, "tree_size": 1}, "boot": {"size": 1}}
    steps = (
        Fake(VERITY.name, "verity.json", {"root_hash": "0" * 64}, release),
        Fake(FIT.name, "fit.json", {"headroom": {"boot": 1, "root": 1}}, release),
        Fake(RELEASE.name, "release.json", {"blobs": blobs} | sizes, release),
    )
    order = BuildOrder(load(path), tmp_path / "out", None, StepCache(tmp_path / "cache"), SILENT, steps)
    validate(document(pipeline.plan(order)), "proa.build-plan/v1")
    validate(document(pipeline.build(order)), "proa.build/v1")
    validate(json.loads((tmp_path / "out" / "build.json").read_text()), "proa.build/v1")


def test_a_release(release: Path, tmp_path: Path) -> None:
    (tmp_path / "release").symlink_to(release)
    say(build_command, "push", tmp_path, f"oci:{tmp_path / 'copy'}:1")
    say(build_command, "push", "--dry-run", tmp_path, f"oci:{tmp_path / 'copy'}:1")
    said = say(build_command, "inspect", f"oci:{tmp_path / 'copy'}")
    alone = {name: value for name, value in said.items() if name not in ("proa", "reference", "digest", "packages")}
    validate(alone, "proa.release/v1")


def test_disk_and_agent(release: Path, key: PrivateKey, tmp_path: Path) -> None:
    disk, root = tmp_path / "disk.raw", tmp_path / "root"
    sizes = ["--uki-size", "2M", "--root-size", "4M", "--persist-size", "16M"]
    say(disk_command, "plan", *sizes)
    say(disk_command, "create", disk, *sizes, "--progress", "none")
    say(disk_command, "grow", disk)
    trust.save(root / "usr/lib/proa/trust", trust.Trust((key.public,), compatible="test"))
    validate(json.loads((root / "usr/lib/proa/trust/trust.json").read_text()), "proa.trust/v1")
    where = ["--root", root, "--disk", disk]
    say(agent_command, "status", *where)
    say(agent_command, "install", f"oci:{release}", "--dry-run", *where)
    assert say(agent_command, "install", f"oci:{release}", "--progress", "none", *where)["schema"] == "proa.install/v1"
    say(agent_command, "scrub", "b", "--progress", "none", *where)
    say(agent_command, "activate", "--dry-run", *where)
    say(agent_command, "activate", *where)
    assert say(agent_command, "status", *where)["state"] == "armed"
    say(agent_command, "deactivate", *where)
    assert say(disk_command, "show", disk)["slots"]["b"]["holds"] == "filled"
    say(disk_command, "reset", "--yes", disk)


def test_what_the_initrd_leaves() -> None:
    script = (ROOT / "builder/proa/builder/initrd/proa-slot.sh").read_text()
    function = script[script.index("write_boot_json() {") :].split("\n}\n")[0] + "\n}\n"
    facts = f"slot=a disk=/dev/vda root=/dev/vda5 root_hash={'0' * 64} trial=true left=2 first_boot=false\n"
    kept = "kept() { case $1 in persist_check) echo clean ;; identity_lost) echo false ;; esac; }\n"
    validate(json.loads(run(["sh", "-c", kept + function + facts + "write_boot_json"]).stdout), "proa.boot/v1")


def test_tiers_of_tests() -> None:
    cases = [Case("a/test_x.py::test_y", 1.5, "passed"), Case("a/test_x.py::test_z", 0.5, "failed")]
    validate(summary([Result("unit", False, 3.0, 2.5, cases), Result("vm", True, 1.0, 1.0, [])], 3.5))


def test_virtual_machines() -> None:
    verdict = AccelVerdict(TCG, (Probe("kvm", False, 0.0, "no device"), Probe("tcg", True, 0.5, "")))
    validate(document(verdict.report(1.5)))
    story = Story(DemoReport, "A demo")
    with story.step("one") as step:
        step.details["slots"] = "a: 1 good"
    with pytest.raises(ProaError), story.step("two"):
        raise ProaError(Code.TIMEOUT)
    validate(story.document())
    story.kind = RehearsalReport
    validate(story.document(old="old", new="new", secure_boot=True, breaks=["panic"]))
    story.kind = ProofReport
    failed = [{"at": 2.5, "node": "node-1", "why": "refused"}]
    probes = {"answers": 9, "failures": 1, "slowest": 0.1, "by_node": {"node-1": 9}, "failed": failed}
    memory = {"memory": 1024, "memory_of_kernel": {"node-1": 970}, "memory_used": {"node-1": 450}}
    timeline = {"node-1": [{"at": 1.5, "what": "a:1.0.0 committed Idle"}]}
    validate(story.document(nodes=1, **memory, probes=probes, timeline=timeline))
    validate(document(RehearsalPlan("old", "new", ("panic",))))
