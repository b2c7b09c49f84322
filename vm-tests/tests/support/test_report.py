"""The report of a demo or a rehearsal, however that ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.vm.cluster.story import ProofReport, ProofStory
from proa.vm.node.rehearse import RehearsalReport
from proa.vm.support.report import DemoReport, Story


def story() -> Story:
    return Story(DemoReport, "A test")


def test_it_is_written_also_when_the_work_fails(tmp_path: Path) -> None:
    told: list[str] = []
    tale, facts = Story(RehearsalReport, "A test"), {"old": "1", "new": "2", "secure_boot": False, "breaks": []}
    with (
        pytest.raises(ProaError, match="the guest"),
        tale.written(tmp_path, {"node": "panic"}, told.append, lambda: facts),
        tale.step("boot"),
    ):
        raise ProaError(Code.TIMEOUT, "the guest")
    document = json.loads((tmp_path / "report.json").read_text())
    assert (document["ok"], document["old"], told) == (False, "1", [])
    assert (tmp_path / "console-node.log").read_text() == "panic"


def test_a_report_that_cannot_be_written_hides_no_failure(tmp_path: Path) -> None:
    folder, told = tmp_path / "report", list[str]()
    folder.touch()
    with pytest.raises(ProaError, match="the guest"), story().written(folder, {}, told.append):
        raise ProaError(Code.TIMEOUT, "the guest")
    assert len(told) == 1
    assert "the report could not be written" in told[0]


def test_a_report_that_cannot_be_written_is_a_failure_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    told: list[str] = []
    with pytest.raises(ProaError) as caught, story().written(tmp_path, {}, told.append):
        pass
    assert (caught.value.code, told) == (Code.FILE_MISSING, [])


def test_a_proof_shows_every_nodes_turn(tmp_path: Path) -> None:
    tale = ProofStory(ProofReport, "A proof")
    with tale.step("to <2>") as record:
        record.details["turns"] = {"node-1": {"stage": 30.0, "reboot": 60.0}, "node-2": {"stage": 10.0}}
    changes = [{"at": 1.5, "what": "a:1 <committed>"}]
    failed = [{"at": 2.5, "node": "node-1", "why": "<nobody>"}]
    probes = {"answers": 9, "failures": 1, "slowest": 0.1, "by_node": {}, "failed": failed}
    facts = {"nodes": 1, "memory": 1, "memory_of_kernel": {}, "memory_used": {}, "probes": probes}
    tale.write(tmp_path, {}, timeline={"node-1": changes}, **facts)
    page = (tmp_path / "report.html").read_text()
    assert "width:66.7%" in page
    assert 'title="reboot: 60 s"' in page
    assert "a:1 &lt;committed&gt;" in page
    assert "to &lt;2&gt;" in page
    assert "<td>2.5</td><td>node-1</td><td>&lt;nobody&gt;</td>" in page
    assert "<th>timeline</th>" not in page
    assert json.loads((tmp_path / "report.json").read_bytes())["timeline"] == {"node-1": changes}
