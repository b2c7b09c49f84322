"""Settings on a node: applied whole, tried, committed, taken back; by files of a real folder and a fake systemd."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proa.agent.node.paths import Paths
from proa.agent.node.view import Context
from proa.agent.settings.engine import NOTHING_SET, Engine
from proa.agent.settings.report import Phase
from proa.agent.testing.systemctl import Systemctl
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Recorder
from proa.core.settings import allow_list
from proa.core.settings.document import EMPTY, Document

ALLOWED = {
    "sysctl": ["vm.swappiness=0..60", "vm.max_map_count", "net.ipv4.tcp_rmem"],
    "kubelet": ["maxPods=10..250"],
    "time": ["servers"],
    "files": ["/etc/motd"],
}
CALM = Document({"sysctl": {"vm.swappiness": 10}})
EAGER = Document({"sysctl": {"vm.swappiness": 20, "vm.max_map_count": 262144}, "time": {"servers": ["ntp.example"]}})
MANY = Document({"kubelet": {"maxPods": 200}, "files": {"/etc/motd": "welcome\n"}})


@pytest.fixture
def engine(tmp_path: Path, systemctl: Systemctl) -> Engine:
    """A node whose release allows a few things."""
    root = tmp_path / "root"
    for name, value in (
        ("vm/swappiness", "60"),
        ("vm/max_map_count", "65530"),
        ("net/ipv4/tcp_rmem", "4096\t131072\t6291456"),
        ("kernel/random/boot_id", "boot-1"),
    ):
        path = root / "proc/sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")
    for folder in ("usr/lib/proa", "run/proa/lower/etc", "etc", "var/lib/proa"):
        (root / folder).mkdir(parents=True)
    (root / "run/proa/lower/etc/motd").write_text("the release's\n")
    (root / "etc/motd").write_text("the release's\n")
    (root / "usr/lib/proa/settings.json").write_text(allow_list.of_entries(ALLOWED).to_json())
    systemctl.answer("is-active", "active")
    return Engine(Context(Paths(root), Recorder(), VirtualClock()))


def kernel(engine: Engine, name: str = "vm.swappiness") -> str:
    return engine.effect.kernel.read(name)


def clock(engine: Engine) -> VirtualClock:
    assert isinstance(engine.context.clock, VirtualClock)
    return engine.context.clock


def reboot(engine: Engine) -> None:
    """The next boot: /run is empty, and systemd-sysctl has read what settings are in effect."""
    root = engine.context.paths.root
    (root / "proc/sys/kernel/random/boot_id").write_text("boot-2\n")
    for file in engine.context.paths.run.glob("*.json"):
        file.unlink()


def test_a_node_without_settings_says_so(engine: Engine) -> None:
    found = engine.report()
    assert (found.generation, found.phase, found.hash, found.drift) == (0, Phase.COMMITTED, NOTHING_SET, ())


def test_a_document_takes_effect_and_is_committed(engine: Engine) -> None:
    tried = engine.apply(EAGER)
    assert (tried.phase, tried.trial_hash, tried.hash) == (Phase.TRIAL, EAGER.digest, NOTHING_SET)
    assert (kernel(engine), kernel(engine, "vm.max_map_count"), tried.drift) == ("20", "262144", ())
    assert tried.left == 600
    root = engine.context.paths.root
    assert (root / "etc/sysctl.d/99-zz-proa.conf").read_text() == "vm.max_map_count = 262144\nvm.swappiness = 20\n"
    assert (root / "etc/systemd/timesyncd.conf.d/50-proa.conf").read_text() == "[Time]\nNTP=ntp.example\n"
    done = engine.commit()
    assert (done.phase, done.hash, done.generation) == (Phase.COMMITTED, EAGER.digest, 1)
    clock(engine).sleep(10_000)
    assert engine.settle() is False
    assert kernel(engine) == "20"


def test_what_is_not_committed_in_time_returns_by_itself(engine: Engine) -> None:
    engine.apply(CALM, commit=True)
    engine.apply(EAGER, within=60)
    clock(engine).sleep(59)
    assert engine.settle() is False
    clock(engine).sleep(2)
    assert engine.settle() is True
    found = engine.report()
    assert (found.phase, found.hash, found.failed_hash) == (Phase.REVERTED, CALM.digest, EAGER.digest)
    assert "not committed in time" in found.message
    assert (kernel(engine), kernel(engine, "vm.max_map_count"), found.drift) == ("10", "65530", ())
    assert not (engine.context.paths.root / "etc/systemd/timesyncd.conf.d/50-proa.conf").is_symlink()


def test_a_reboot_before_the_commit_returns(engine: Engine) -> None:
    engine.apply(CALM, commit=True)
    engine.apply(EAGER)
    reboot(engine)
    assert engine.settle() is True
    assert engine.report().hash == CALM.digest
    assert kernel(engine) == "10"


def test_committed_settings_stay_over_a_reboot(engine: Engine) -> None:
    engine.apply(CALM, commit=True)
    reboot(engine)
    assert engine.settle() is False
    assert engine.report().hash == CALM.digest


def test_a_key_taken_out_gets_the_value_that_it_had_before(engine: Engine) -> None:
    engine.apply(EAGER, commit=True)
    engine.apply(CALM, commit=True)
    assert kernel(engine, "vm.max_map_count") == "65530"
    engine.apply(EMPTY, commit=True)
    assert (kernel(engine), engine.report().drift) == ("60", ())
    assert not (engine.context.paths.root / "etc/sysctl.d/99-zz-proa.conf").is_symlink()


def test_reverting_a_committed_document_returns_to_the_one_before(engine: Engine) -> None:
    engine.apply(CALM, commit=True)
    engine.apply(EAGER, commit=True)
    assert engine.revert().hash == CALM.digest
    assert kernel(engine) == "10"
    assert engine.revert().hash == NOTHING_SET
    with pytest.raises(ProaError) as caught:
        engine.revert()
    assert caught.value.code is Code.NO_SETTINGS_TRIAL


def test_all_that_is_refused_is_told_and_nothing_is_applied(engine: Engine) -> None:
    bad = Document({"sysctl": {"vm.swappiness": 99, "vm.max_map_count": 70000}, "kubelet": {"maxPodz": 5}})
    for dry_run in (True, False):
        with pytest.raises(ProaError) as caught:
            engine.apply(bad, dry_run=dry_run)
        assert caught.value.code is Code.SETTINGS_REFUSED
        assert "vm.swappiness: 99 is not allowed; allowed: 0 to 60" in caught.value.message
        assert "maxPodz" in caught.value.message
    assert (kernel(engine, "vm.max_map_count"), engine.report().generation) == ("65530", 0)


def test_a_release_without_a_list_allows_nothing(engine: Engine) -> None:
    (engine.context.paths.usr / "settings.json").unlink()
    with pytest.raises(ProaError, match="the release does not allow it"):
        engine.apply(CALM)
    (engine.context.paths.usr / "settings.json").write_text("{")
    with pytest.raises(ProaError) as caught:
        engine.apply(CALM)
    assert caught.value.code is Code.SETTINGS_REFUSED


def test_an_older_document_is_refused(engine: Engine) -> None:
    engine.apply(dataclasses.replace(CALM, revision=5), commit=True)
    with pytest.raises(ProaError) as caught:
        engine.apply(dataclasses.replace(EAGER, revision=4))
    assert caught.value.code is Code.SETTINGS_OLDER


def test_a_dry_run_tells_what_would_be_done(engine: Engine) -> None:
    found = engine.apply(MANY, dry_run=True)
    assert found.dry_run
    assert found.actions == (
        "kubelet.maxPods = 200",
        "restart kubelet.service",
        'files./etc/motd = "welcome\\n"',
    )
    assert engine.report().generation == 0


def test_a_value_that_the_kernel_takes_otherwise_is_no_success(engine: Engine) -> None:
    """A regular file takes it as it is; a kernel without the parameter does not."""
    (engine.context.paths.root / "proc/sys/vm/max_map_count").unlink()
    with pytest.raises(ProaError) as caught:
        engine.apply(EAGER)
    assert caught.value.code is Code.SETTINGS_FAILED
    assert "vm.max_map_count" in caught.value.message
    found = engine.report()
    assert (found.phase, found.hash, found.failed_hash) == (Phase.FAILED, NOTHING_SET, EAGER.digest)
    assert kernel(engine) == "60"


def test_a_daemon_that_does_not_come_up_returns_with_its_last_lines(
    engine: Engine, systemctl: Systemctl, tmp_path: Path
) -> None:
    journal = tmp_path / "bin/journalctl"
    journal.write_text("#!/bin/sh\necho 'failed to load kubelet config'\n")
    journal.chmod(0o755)
    engine.apply(CALM, commit=True)
    systemctl.answer("restart", "", 1)
    with pytest.raises(ProaError) as caught:
        engine.apply(dataclasses.replace(MANY, models={**CALM.models, **MANY.models}))
    assert caught.value.code is Code.SETTINGS_FAILED
    assert "kubelet.service does not start" in caught.value.message
    assert "failed to load kubelet config" in caught.value.message
    found = engine.report()
    assert (found.phase, found.hash) == (Phase.FAILED, CALM.digest)
    assert "failed to load kubelet config" in found.message
    assert (engine.context.paths.root / "etc/motd").read_text() == "the release's\n"


def test_only_daemons_whose_settings_change_are_restarted(engine: Engine, systemctl: Systemctl) -> None:
    engine.apply(MANY, commit=True)
    assert "restart -- kubelet.service" in systemctl.calls
    before = len(systemctl.calls)
    engine.apply(dataclasses.replace(MANY, models={**MANY.models, **CALM.models}), commit=True)
    assert [one for one in systemctl.calls[before:] if one.startswith("restart")] == []


def test_a_daemon_that_is_not_running_is_not_started(engine: Engine, systemctl: Systemctl) -> None:
    systemctl.answer("is-active", "inactive", 3)
    engine.apply(MANY, commit=True)
    assert [one for one in systemctl.calls if one.startswith("restart")] == []


def test_a_file_becomes_the_releases_again(engine: Engine) -> None:
    motd = engine.context.paths.root / "etc/motd"
    engine.apply(MANY, commit=True)
    assert motd.read_text() == "welcome\n"
    engine.apply(EMPTY, commit=True)
    assert motd.read_text() == "the release's\n"


def test_drift_is_told_and_applying_the_same_again_mends_it(engine: Engine) -> None:
    document = Document({**EAGER.models, **MANY.models})
    engine.apply(document, commit=True)
    root = engine.context.paths.root
    (root / "proc/sys/vm/swappiness").write_text("33\n")
    (root / "etc/motd").write_text("by hand\n")
    (root / "etc/proa/settings/current/kubelet/50-proa.conf").write_text("{}")
    (root / "etc/systemd/timesyncd.conf.d/50-proa.conf").unlink()
    told = engine.report().drift
    assert [one.split(":")[0] for one in told] == [
        "sysctl.vm.swappiness",
        "proa/settings/current/kubelet/50-proa.conf",
        "/etc/systemd/timesyncd.conf.d/50-proa.conf",
        "files./etc/motd",
    ]
    assert engine.apply(document, commit=True).drift == ()


def test_commits_of_another_document_are_refused(engine: Engine) -> None:
    engine.apply(CALM)
    for wanted in (EAGER.digest, "0" * 64):
        with pytest.raises(ProaError) as caught:
            engine.commit(wanted)
        assert caught.value.code is Code.NO_SETTINGS_TRIAL
    engine.commit(CALM.digest)
    with pytest.raises(ProaError):
        engine.commit()


def test_old_generations_are_removed(engine: Engine) -> None:
    for number in range(12):
        engine.apply(Document({"sysctl": {"vm.swappiness": number}}), commit=True)
    assert len(engine.store.numbers) <= 5


def cuts(engine: Engine, document: Document) -> Iterator[tuple[int, bool]]:
    """The same apply, killed before its first, second, ... change of the file system; whether it was."""
    changes = {"os.rename", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.rmtree"}
    kept = engine.context.paths.root.with_name("kept")
    shutil.copytree(engine.context.paths.root, kept, symlinks=True)
    for number in range(1, 500):
        shutil.rmtree(engine.context.paths.root)
        shutil.copytree(kept, engine.context.paths.root, symlinks=True)
        child = os.fork()
        if child == 0:
            left = [number]

            def hook(event: str, given: tuple[Any, ...], left: list[int] = left) -> None:
                writes = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)
                if event in changes or writes:
                    left[0] -= 1
                    if left[0] == 0:
                        os._exit(9)

            sys.addaudithook(hook)
            engine.apply(document)
            os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        yield number, killed
        if not killed:
            return
    raise AssertionError("it never came to its end")


def test_whenever_it_is_cut_off_one_whole_generation_is_left(engine: Engine) -> None:
    """The agent alone is killed, or the machine starts again, in turns."""
    engine.apply(CALM, commit=True)
    document, count = Document({**EAGER.models, **MANY.models}), 0
    for count, killed in cuts(engine, document):
        booted = count % 2 == 0
        if booted:
            reboot(engine)
        engine.settle()
        found = engine.report()
        assert found.hash == CALM.digest, count
        assert found.phase is not Phase.TRIAL or not (killed and booted)
        in_effect = document if found.phase is Phase.TRIAL else CALM
        assert found.drift == ()
        assert found.document == in_effect.canonical()
        assert kernel(engine) == str(in_effect.models["sysctl"]["vm.swappiness"])
        assert engine.apply(document, commit=True).hash == document.digest
    assert count > 20


def test_a_parameter_that_is_set_no_more_after_a_reboot_is_what_it_was_without_settings(engine: Engine) -> None:
    engine.apply(CALM, commit=True)
    reboot(engine)
    engine.apply(EMPTY, commit=True)
    assert kernel(engine) == "60"


def test_a_parameter_that_resets_another_one_gives_it_back(engine: Engine) -> None:
    """The kernel takes no 0 for vm.dirty_bytes: it is 0 as soon as the ratio is set."""
    for name, value in (("vm/dirty_bytes", "0"), ("vm/dirty_ratio", "20")):
        (engine.context.paths.root / "proc/sys" / name).write_text(value + "\n")
    allowed = allow_list.of_entries({"sysctl": ["vm.dirty_bytes", "vm.dirty_ratio"]}).to_json()
    (engine.context.paths.usr / "settings.json").write_text(allowed)
    engine.apply(Document({"sysctl": {"vm.dirty_bytes": 1 << 27}}), commit=True)
    (engine.context.paths.root / "proc/sys/vm/dirty_ratio").write_text("0\n")
    engine.apply(EMPTY, commit=True)
    assert kernel(engine, "vm.dirty_ratio") == "20"
    assert kernel(engine, "vm.dirty_bytes") == str(1 << 27), "nobody writes 0 to it"


def test_mirrors_take_the_place_of_the_releases_and_give_it_back(engine: Engine) -> None:
    root = engine.context.paths.root
    place = "etc/containerd/certs.d/docker.io/hosts.toml"
    for folder in (root, root / "run/proa/lower"):
        (folder / place).parent.mkdir(parents=True)
        (folder / place).write_text("the release's")
    entries = {"registries": ["docker.io=mirror.example", "quay.io=mirror.example"]}
    (engine.context.paths.usr / "settings.json").write_text(allow_list.of_entries(entries).to_json())
    both = {"docker.io": ["https://mirror.example"], "quay.io": ["https://mirror.example"]}
    engine.apply(Document({"registries": both}), commit=True)
    assert '[host."https://mirror.example"]' in (root / place).read_text()
    assert engine.report().drift == ()
    engine.apply(Document({"registries": {"quay.io": ["https://mirror.example"]}}), commit=True)
    assert (root / place).read_text() == "the release's"
    other = root / "etc/containerd/certs.d/quay.io/hosts.toml"
    other.unlink()
    assert engine.report().drift == ("/etc/containerd/certs.d/quay.io/hosts.toml: no link to the settings",)
    engine.apply(EMPTY, commit=True)
    assert not other.is_symlink()
