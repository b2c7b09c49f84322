"""What forges and editors read: CI runs one script, forms are what the forges take, both forges have the same."""

from __future__ import annotations

import configparser
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types
from check_jsonschema import main as check_jsonschema  # type: ignore[import-untyped]  # it has no types
from click.testing import CliRunner

from upkeep.lines import ROOT

WORKFLOW = ROOT / ".github/workflows/ci.yml"
PIPELINE = ROOT / ".gitlab-ci.yml"
FORMS = ROOT / ".github/ISSUE_TEMPLATE"
SCHEMAS = {
    ".github/workflows/ci.yml": ("vendor.github-workflows",),
    ".gitlab-ci.yml": ("vendor.gitlab-ci", "--data-transform", "gitlab-ci"),
    ".github/ISSUE_TEMPLATE/bug.yml": ("vendor.github-issue-forms",),
    ".github/ISSUE_TEMPLATE/feature.yml": ("vendor.github-issue-forms",),
    ".github/ISSUE_TEMPLATE/config.yml": ("vendor.github-issue-config",),
}
"""The schemas that the forges' files must meet, as check-jsonschema ships them."""
PREPARE = "apt-get update -q && apt-get install -y -q --no-install-recommends git make ca-certificates"
LIMIT = 90
"""Minutes that all tests may take."""
RESULTS = {"build/test/summary.json", "build/test/*.xml"}
CACHED = {"proa", "pip"}
"""Folders of the cache that a run of the tests leaves to the next one."""
KEYS = {"requirements/dev.lock", "vm-tests/controlplane/go.sum"}
"""Files that decide what is in them."""


def judge(path: Path, schema: tuple[str, ...]) -> int:
    """What check-jsonschema says of a file, as its exit status."""
    return CliRunner().invoke(check_jsonschema, ["--builtin-schema", *schema, str(path)]).exit_code


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_forges_take_it(name: str) -> None:
    assert judge(ROOT / name, SCHEMAS[name]) == 0


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_judge_refuses_what_they_would_not_take(name: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.yml"
    path.write_text((ROOT / name).read_text() + "\nno-such-key: 1\n")
    assert judge(path, SCHEMAS[name]) == 1


def test_every_file_of_the_forges_is_judged() -> None:
    found = {str(path.relative_to(ROOT)) for path in (ROOT / ".github").rglob("*.yml")}
    assert found | {".gitlab-ci.yml"} == set(SCHEMAS)


def test_github_runs_the_script_and_nothing_else() -> None:
    (job,) = load(WORKFLOW)["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [PREPARE, ".ci/run"]
    actions = [step["uses"].split("@")[0] for step in job["steps"] if "uses" in step]
    assert actions == ["actions/checkout", "actions/cache", "actions/upload-artifact"]
    assert job["container"]["image"] == "debian:12"
    assert job["timeout-minutes"] == LIMIT


def test_gitlab_runs_the_script_and_nothing_else() -> None:
    pipeline = load(PIPELINE)
    assert set(pipeline) == {"workflow", "ci"}
    job = pipeline["ci"]
    assert (job["before_script"], job["script"]) == ([PREPARE], [".ci/run"])
    assert "after_script" not in job
    assert job["image"] == "debian:12"
    assert job["timeout"] == f"{LIMIT} minutes"


def test_both_fetch_the_history_that_the_last_release_is_taken_from() -> None:
    (job,) = load(WORKFLOW)["jobs"].values()
    checkout = next(step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout"))
    assert checkout["with"]["fetch-depth"] == 0
    assert load(PIPELINE)["ci"]["variables"]["GIT_DEPTH"] == "0"


def test_both_keep_the_same_results() -> None:
    steps = load(WORKFLOW)["jobs"]["ci"]["steps"]
    upload = next(step for step in steps if step.get("uses", "").startswith("actions/upload-artifact"))
    assert upload["if"] == "always()"
    assert set(upload["with"]["path"].split()) == RESULTS
    artifacts = load(PIPELINE)["ci"]["artifacts"]
    assert artifacts["when"] == "always"
    assert set(artifacts["paths"]) == RESULTS
    assert artifacts["reports"]["junit"] in RESULTS


def test_both_cache_the_same_by_the_same_files() -> None:
    job = load(WORKFLOW)["jobs"]["ci"]
    cache = next(step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/cache"))
    assert set(cache["path"].split()) == {f"{job['env']['XDG_CACHE_HOME']}/{name}" for name in CACHED}
    assert set(re.findall(r"'([^']+)'", cache["key"])) == KEYS
    twin = load(PIPELINE)["ci"]
    assert twin["variables"]["XDG_CACHE_HOME"] == "$CI_PROJECT_DIR/.cache"
    assert set(twin["cache"]["paths"]) == {f".cache/{name}" for name in CACHED}
    assert set(twin["cache"]["key"]["files"]) == KEYS
    assert all((ROOT / name).is_file() for name in KEYS)


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_both_ask_the_same(name: str) -> None:
    asked = [one["attributes"]["label"] for one in load(FORMS / f"{name}.yml")["body"] if one["type"] != "markdown"]
    twin = (ROOT / f".gitlab/issue_templates/{name.capitalize()}.md").read_text()
    assert re.findall(r"^## (.+)$", twin, re.MULTILINE) == asked


def test_both_have_the_same_template_for_changes() -> None:
    twin = ROOT / ".gitlab/merge_request_templates/Default.md"
    assert (ROOT / ".github/pull_request_template.md").read_text() == twin.read_text()


def test_the_bug_report_asks_for_every_command() -> None:
    part = next(one for one in load(FORMS / "bug.yml")["body"] if one.get("id") == "part")
    words = {word for option in part["attributes"]["options"] for word in option.split()}
    commands = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"])
    assert commands <= words


def test_hooks_are_programs_of_the_environment() -> None:
    (local,) = load(ROOT / ".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    for hook in local["hooks"]:
        program, *words = hook["entry"].split()
        assert hook["language"] == "system"
        assert program.startswith(".venv/bin/")
        assert os.access(Path(sys.executable).parent / Path(program).name, os.X_OK), program
        assert all((ROOT / word).is_file() for word in words if word.endswith(".py")), hook["entry"]


def test_editors_wrap_lines_where_ruff_does() -> None:
    parser = configparser.ConfigParser()
    parser.read_string("[top]\n" + (ROOT / ".editorconfig").read_text())
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
    assert parser["*.{py,md}"]["max_line_length"] == str(ruff["line-length"])
    assert parser["*.py"]["indent_size"] == "4"
    assert parser["{Makefile,*.go,go.mod}"]["indent_style"] == "tab"
