"""``proa-agent settings``: without a daemon and through one, the same words and documents."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from proa.agent.api.client import Client
from proa.agent.cli.main import cli
from proa.agent.daemon.daemon import Daemon
from proa.agent.testing.node import Node
from proa.agent.testing.systemctl import Systemctl
from proa.core.runtime.errors import Code, ProaError
from proa.core.settings import allow_list

CALM = '[sysctl]\n"vm.swappiness" = 10\n'


@pytest.fixture
def parameter(node: Node) -> Path:
    """A kernel parameter of a node whose release allows it."""
    allowed = allow_list.of_entries({"sysctl": ["vm.swappiness=0..60"]}).to_json()
    node.paths.usr.mkdir(parents=True, exist_ok=True)
    (node.paths.usr / "settings.json").write_text(allowed)
    return node.write("proc/sys/vm/swappiness", "60\n")


@pytest.fixture(params=["direct", "daemon"])
def way(request: pytest.FixtureRequest, node: Node, systemctl: Systemctl) -> Iterator[str]:
    """Whether a daemon serves the node."""
    systemctl.answer("is-active", "active")
    if request.param == "direct":
        yield "direct"
        return
    daemon = Daemon(node.context, allowed=frozenset({os.getuid()}))
    thread = threading.Thread(target=daemon.run)
    thread.start()
    client = Client(node.paths.socket)
    while not client.is_running:
        assert thread.is_alive()
    yield "daemon"
    daemon.context.cancel.ask()
    thread.join(300)


def run(node: Node, *words: str, code: Code | None = None) -> Result:
    done = CliRunner().invoke(cli, ["--root", str(node.root), "settings", *words])
    if code is None:
        assert done.exception is None, done.exception
    else:
        assert isinstance(done.exception, ProaError)
        assert done.exception.code is code
    return done


def told(node: Node, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(node, *words, "--json").output)
    return found


@pytest.mark.usefixtures("way")
def test_a_document_is_tried_committed_and_reverted(node: Node, parameter: Path, tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(CALM)
    assert "would:\n  sysctl.vm.swappiness = 10" in run(node, "apply", str(file), "--dry-run").output
    assert parameter.read_text() == "60\n"
    text = run(node, "apply", str(file), "--commit-within", "5m").output
    assert text.startswith("trial: generation 1")
    assert "commit it, or it returns by itself" in text
    assert parameter.read_text() == "10"
    assert "would:\n  commit the settings" in run(node, "commit", "--dry-run").output
    assert told(node, "commit")["phase"] == "Committed"
    assert 'in effect: {"sysctl":{"vm.swappiness":10}}' in run(node, "show").output
    assert "would:\n  return to the settings before" in run(node, "revert", "--dry-run").output
    assert told(node, "revert")["generation"] == 0
    assert parameter.read_text() == "60"
    found = told(node, "apply", str(file), "--commit")
    assert (found["schema"], found["phase"], found["actions"]) == (
        "proa.settings/v1",
        "Committed",
        ["sysctl.vm.swappiness = 10"],
    )


@pytest.mark.usefixtures("way")
def test_a_trial_that_is_reverted_says_so_and_drift_is_shown(node: Node, parameter: Path, tmp_path: Path) -> None:
    file = tmp_path / "node.json"
    file.write_text('{"sysctl": {"vm.swappiness": 10}, "revision": 3}')
    run(node, "apply", str(file))
    assert "was reverted. Reverted: an order reverted it" in run(node, "revert").output
    assert "revision 3" in run(node, "apply", str(file), "--commit").output
    parameter.write_text("33\n")
    assert "drift: sysctl.vm.swappiness: 33, not 10" in run(node, "show").output
    (node.paths.usr / "settings.json").unlink()
    assert "not allowed by this release: sysctl.vm.swappiness" in run(node, "show").output


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("[sysctl]\n'vm.swappiness' = 99\n", Code.SETTINGS_REFUSED),
        ("[sysctl]\n'kernel.core_pattern' = '|/x'\n", Code.SETTINGS_REFUSED),
        ("[sysctl\n", Code.SETTINGS_INVALID),
    ],
)
@pytest.mark.usefixtures("way")
def test_what_is_refused_changes_nothing(node: Node, parameter: Path, tmp_path: Path, content: str, code: Code) -> None:
    file = tmp_path / "node.toml"
    file.write_text(content)
    run(node, "apply", str(file), code=code)
    assert parameter.read_text() == "60\n"


@pytest.mark.usefixtures("parameter")
def test_options_and_verbs_without_effect_are_refused(node: Node, tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(CALM)
    run(node, "apply", str(file), "--commit", "--commit-within", "5m", code=Code.USAGE)
    run(node, "apply", str(tmp_path / "gone"), code=Code.FILE_MISSING)
    run(node, "commit", code=Code.NO_SETTINGS_TRIAL)
    run(node, "revert", code=Code.NO_SETTINGS_TRIAL)
    run(node, "commit", "--dry-run", code=Code.NO_SETTINGS_TRIAL)
