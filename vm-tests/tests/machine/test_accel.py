"""Acceleration is found by booting; speed is measured once."""

from __future__ import annotations

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.vm.machine import accel, calibration
from proa.vm.machine.accel import KVM, PROOF, ROM_SIZE, TCG, AccelCache


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def fake_qemu(folder: Path, kvm: str, tcg: str) -> None:
    program = folder / "qemu-system-x86_64"
    program.write_text(f'#!/bin/sh\ncase "$*" in *"-accel kvm"*) {kvm};; *) {tcg};; esac\n')
    program.chmod(0o755)


WORKS = f"exit {PROOF * 2 + 1}"


def test_the_rom_reports_in_the_sixteen_bytes_below_four_gibibytes() -> None:
    image = accel.rom()
    assert len(image) == ROM_SIZE
    assert image[-16:].startswith(bytes([0xB0, PROOF, 0xE6, accel.EXIT_PORT, 0xF4]))


def test_kvm_is_taken_when_its_guest_reports(programs: Path) -> None:
    fake_qemu(programs, WORKS, "exit 99")
    verdict = accel.find(Path(os.devnull))
    assert verdict.accel is KVM
    assert [probe.works for probe in verdict.probes] == [True]


def test_a_kvm_that_fails_is_not_taken_and_its_last_word_is_kept(programs: Path) -> None:
    fake_qemu(programs, "echo no such virtue >&2; exit 1", WORKS)
    verdict = accel.find(Path(os.devnull))
    assert verdict.accel is TCG
    assert [(probe.name, probe.works, probe.why) for probe in verdict.probes] == [
        ("kvm", False, "no such virtue"),
        ("tcg", True, ""),
    ]
    assert verdict.report(1.0).accel == "tcg"


def test_a_kvm_that_says_nothing_and_ends_well_ran_no_guest(programs: Path) -> None:
    fake_qemu(programs, "exit 0", WORKS)
    assert accel.find(Path(os.devnull)).probes[0].why == "QEMU exited with status 0"


def test_a_kvm_that_hangs_is_given_up(programs: Path) -> None:
    fake_qemu(programs, "exec sleep 100", WORKS)
    found = accel.probe(KVM, 0.1)
    assert not found.works
    assert "did not run within" in found.why


def test_a_device_that_cannot_be_opened_is_not_tried(programs: Path, tmp_path: Path) -> None:
    fake_qemu(programs, "touch tried; exit 1", WORKS)
    verdict = accel.find(tmp_path / "kvm")
    assert verdict.accel is TCG
    assert "cannot be opened" in verdict.probes[0].why


def test_no_emulation_either_is_an_error(programs: Path, tmp_path: Path) -> None:
    fake_qemu(programs, "exit 1", "echo broken >&2; exit 1")
    with pytest.raises(ProaError, match="broken") as caught:
        accel.find(tmp_path / "kvm")
    assert caught.value.code is Code.TOOL


def test_no_qemu_is_an_error_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/sbin")
    with pytest.raises(ProaError) as caught:
        accel.find()
    assert caught.value.code is Code.NO_FIRMWARE


def test_what_was_measured_is_kept_until_qemu_changes(programs: Path, tmp_path: Path) -> None:
    fake_qemu(programs, "exit 1", WORKS)
    cache = AccelCache("thing", tmp_path / "kept")
    assert cache.load() is None
    cache.save({"factor": 2.0})
    assert cache.load() == {"factor": 2.0}
    fake_qemu(programs, "exit 1", "exit 123")
    assert cache.load() is None


@pytest.mark.parametrize("content", ["", "[]", "{", '{"key": "other", "value": {}}'])
def test_a_damaged_or_foreign_cache_is_as_none(programs: Path, tmp_path: Path, content: str) -> None:
    fake_qemu(programs, "exit 1", WORKS)
    (tmp_path / "vm-thing.json").write_text(content)
    assert AccelCache("thing", tmp_path).load() is None


def test_a_cache_that_cannot_be_written_is_no_error(programs: Path, tmp_path: Path) -> None:
    fake_qemu(programs, "exit 1", WORKS)
    (tmp_path / "file").touch()
    cache = AccelCache("thing", tmp_path / "file")
    cache.save({"factor": 2.0})
    assert cache.load() is None
    assert cache.once(lambda: {"factor": 3.0}) == {"factor": 3.0}


def test_all_who_ask_at_once_are_given_one_measurement(programs: Path, tmp_path: Path) -> None:
    """Two of them made two images of one recipe."""
    fake_qemu(programs, "exit 1", WORKS)
    numbers, other = itertools.count(1), threading.Barrier(2)

    def measure() -> dict[str, float]:
        with suppress(threading.BrokenBarrierError):
            other.wait(0.2)  # for another one that measures
        return {"factor": float(next(numbers))}

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(AccelCache("thing", tmp_path).once, measure) for _ in range(2)]
    assert [one.result() for one in asked] == [{"factor": 1.0}] * 2


@pytest.mark.parametrize("text", ["0", "-1", "fast", "nan", "inf"])
def test_a_speed_that_is_no_factor_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(calibration.VARIABLE, text)
    calibration.factor.cache_clear()
    with pytest.raises(ProaError) as caught:
        calibration.factor()
    assert caught.value.code is Code.USAGE


def test_a_given_speed_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(calibration.VARIABLE, "3.5")
    calibration.factor.cache_clear()
    assert (calibration.factor(), calibration.now()) == (3.5, 3.5)
    calibration.factor.cache_clear()


@pytest.mark.parametrize(
    ("seconds", "factor", "stretched"),
    [(240, 1.0, 240), (240, 0.2, 240), (240, 1.01, 270), (240, 2.5, 600), (60, 1.0, 60), (1, 1.0, 30)],
)
def test_a_deadline_inside_a_guest_grows_with_the_slowness_of_the_machine(
    seconds: float, factor: float, stretched: int
) -> None:
    assert calibration.stretched(seconds, factor) == stretched


@pytest.mark.vm
def test_something_works_here() -> None:
    verdict = accel.find()
    assert verdict.probes[-1].works
    assert accel.probe(TCG).works
