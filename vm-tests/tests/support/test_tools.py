import stat
import sys
from pathlib import Path
from typing import cast

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Recorder, StepFinished
from proa.vm.support.tools import KUBERNETES, TOOLS, GoTool, cache_folder, go_tool

FAKE_GO = """#!/bin/sh
echo "$* GOFLAGS=$GOFLAGS GOTOOLCHAIN=$GOTOOLCHAIN GOPROXY=$GOPROXY" >>"{log}"
case "$1" in
version) echo "go version go1.99" ;;
install) echo program >"$GOBIN/cosign" ;;
build) echo program >"$3"; [ -f main.go ] || exit 1 ;;
esac
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a fake ``go``, the only one there is, was called with."""
    (tmp_path / "bin").mkdir()
    go = tmp_path / "bin/go"
    go.write_text(FAKE_GO.format(log=tmp_path / "log"))
    go.chmod(go.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PROA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GOPROXY", "https://proxy.test")
    monkeypatch.setenv("GOFLAGS", "-buildvcs=false")
    return tmp_path / "log"


def test_a_tool_is_built_once_from_its_pinned_module(log: Path) -> None:
    events = Recorder()
    path = go_tool("cosign", events)
    assert path.read_text() == "program\n"
    assert go_tool("cosign", events) == path
    calls = [line for line in log.read_text().splitlines() if not line.startswith("version")]
    version = TOOLS["cosign"].version
    assert calls == [
        f"install github.com/sigstore/cosign/v3/cmd/cosign@{version} "
        "GOFLAGS=-buildvcs=false -trimpath GOTOOLCHAIN=local GOPROXY=https://proxy.test"
    ]
    assert [type(event) for event in events.events].count(StepFinished) == 1


def test_a_tool_of_our_own_is_built_from_its_source(log: Path) -> None:
    assert go_tool("referrers").read_text() == "program\n"
    assert "\nbuild -o " in log.read_text()


def test_a_program_is_told_its_version(log: Path) -> None:
    assert go_tool("controlplane").read_text() == "program\n"
    variable = "k8s.io/component-base/version.git"
    flags = f"-s -w -X {variable}Version={KUBERNETES} -X {variable}Major=1 -X {variable}Minor=37"
    assert f"-ldflags {flags} . GOFLAGS=" in log.read_text()
    source = TOOLS["controlplane"].source
    assert source is not None
    assert f"k8s.io/kubernetes {KUBERNETES}\n" in (source / "go.mod").read_text()


def test_without_the_source_it_says_where_to_work(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast("dict[str, GoTool]", TOOLS), "controlplane", GoTool("nowhere"))
    with pytest.raises(ProaError) as caught:
        go_tool("controlplane")
    assert caught.value.code is Code.TOOL_MISSING
    assert "checkout" in caught.value.hint


def test_another_go_builds_another_program(log: Path, tmp_path: Path) -> None:
    first = go_tool("cosign")
    go = tmp_path / "bin/go"
    go.write_text(go.read_text().replace("go1.99", "go2.0"))
    assert go_tool("cosign") != first


def test_a_failed_build_leaves_nothing_behind(log: Path, tmp_path: Path) -> None:
    go = tmp_path / "bin/go"
    go.write_text(go.read_text().replace("install)", "install) exit 3;"))
    with pytest.raises(ProaError) as caught:
        go_tool("cosign")
    assert caught.value.code is Code.TOOL
    assert [path.name for path in (tmp_path / "cache/tools").glob("*/*")] == [".lock"]


def test_without_go_it_says_what_to_do(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin/go").unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ProaError) as caught:
        go_tool("cosign")
    assert caught.value.code is Code.TOOL_MISSING


def test_where_things_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("PROA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert cache_folder() == tmp_path / ".cache/proa"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/proa")
    monkeypatch.setenv("PROA_CACHE", "/own")
    assert cache_folder() == Path("/own")
