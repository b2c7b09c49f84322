"""``proa-vm doctor`` on machines of all kinds: files of a folder, and programs that are there or not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.vm.cli.doctor import GIB, Diagnosis, Host, Verdict, diagnose, text
from proa.vm.machine.accel import KVM, TCG, AccelVerdict, Probe

FAST = AccelVerdict(KVM, (Probe("kvm", True, 0.1, ""),))
MISSING = AccelVerdict(TCG, (Probe("kvm", False, 0.0, "/dev/kvm cannot be opened"), Probe("tcg", True, 0.1, "")))
BROKEN = AccelVerdict(TCG, (Probe("kvm", False, 8.0, "the guest did not run within 8 s"), Probe("tcg", True, 0.1, "")))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A machine on which everything is well, for a user who is not root."""
    files = {
        "usr/share/OVMF/OVMF_CODE_4M.secboot.fd": "",
        "usr/share/OVMF/OVMF_VARS_4M.fd": "",
        "etc/subuid": "me:100000:65536\n",
        "etc/subgid": "me:100000:65536\n",
        "proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {8 << 20} kB\n",
        "dev/kvm": "",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return Host(tmp_path, 1000, "me", lambda name: f"/usr/bin/{name}", lambda _: 50 * GIB, lambda: FAST)


def problems(found: Diagnosis) -> dict[str, str]:
    return {one.name: f"{one.message} | {one.hint}" for one in found.findings if one.verdict is not Verdict.OK}


def test_p14_a_machine_on_which_all_is_well(host: Host) -> None:
    found = diagnose(host)
    assert (problems(found), found.is_well, found.accel) == ({}, True, "kvm")
    assert "make demo should take a few minutes" in text(found)
    assert text(found).endswith("This machine can build and boot images.")


@pytest.mark.parametrize(
    ("verdict", "device", "hint"),
    [
        (MISSING, True, "usermod --append --groups kvm me"),
        (MISSING, False, "Switch virtualization on"),
        (BROKEN, True, "nested virtualization"),
    ],
)
def test_p14_without_kvm_it_says_why_things_take_long(
    host: Host, verdict: AccelVerdict, device: bool, hint: str
) -> None:
    if not device:
        (host.root / "dev/kvm").unlink()
    found = diagnose(dataclasses.replace(host, verdict=lambda: verdict))
    assert hint in problems(found)["acceleration"]
    assert found.is_well, "it only takes longer"
    assert "8 to 12 minutes" in text(found)


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("etc/subuid", "somebody:100000:65536\n", "usermod --add-subuids"),
        ("etc/subgid", "", "usermod --add-subuids"),
        ("proc/sys/kernel/unprivileged_userns_clone", "0\n", "sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1\n",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ],
)
def test_p14_what_keeps_a_user_from_building(host: Host, name: str, content: str, hint: str) -> None:
    path = host.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    found = diagnose(host)
    assert hint in problems(found)["user"]
    assert not found.is_well
    assert "user" not in problems(diagnose(dataclasses.replace(host, uid=0, user="root")))


def failing() -> AccelVerdict:
    raise ProaError(Code.NO_FIRMWARE, "qemu-system-x86_64 is not installed")


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"which": lambda name: None if name == "mcopy" else name}, "programs", "apt-get install mtools"),
        ({"space": lambda _: GIB}, "space", "1.0 GiB free"),
        ({"verdict": failing}, "acceleration", "qemu-system-x86_64 is not installed"),
    ],
)
def test_p14_what_is_missing_is_named_with_what_to_do(
    host: Host, changes: dict[str, Any], name: str, words: str
) -> None:
    found = diagnose(dataclasses.replace(host, **changes))
    assert words in problems(found)[name]
    assert not found.is_well
    assert text(found).endswith("Something is missing.")


def test_p14_too_little_memory_and_no_firmware(host: Host) -> None:
    (host.root / "proc/meminfo").write_text("MemAvailable: 1000000 kB\n")
    (host.root / "usr/share/OVMF/OVMF_VARS_4M.fd").unlink()
    assert set(problems(diagnose(host))) == {"memory", "firmware"}
