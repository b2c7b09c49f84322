"""Real kernel parameters, by the real command, in a network namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from proa.core.settings import allow_list

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root"),
]
ALLOWED = {
    "sysctl": ["net.ipv4.tcp_rmem", "net.ipv4.tcp_fin_timeout", "net.ipv4.ip_local_port_range", "net.core.somaxconn"]
}


class Namespace:
    """A node whose /proc is this kernel's, seen from a network namespace that lives as long as the test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("usr/lib/proa", "etc", "run/proa", "var/lib/proa", "proc"):
            (root / name).mkdir(parents=True)
        (root / "usr/lib/proa/settings.json").write_text(allow_list.of_entries(ALLOWED).to_json())
        words = ["unshare", "--net", "--mount", "--propagation=private", "sh", "-c"]
        script = f"mount --rbind /proc {root}/proc && echo up && exec cat"
        self._holder = subprocess.Popen([*words, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "up\n"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", f"--target={self._holder.pid}", "--net", "--mount"]
        return subprocess.run([*enter, *words], capture_output=True, text=True, check=False)

    def settings(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "proa.agent.cli.main", "settings", verb, *words, "--root", str(self.root)]
        return self.run(*command)

    def kernel(self, name: str) -> str:
        return " ".join(self.run("sysctl", "-n", name).stdout.split())

    def close(self) -> None:
        self._holder.communicate(timeout=60)


def document(folder: Path, **values: object) -> str:
    path = folder / "document.json"
    path.write_text(json.dumps({"sysctl": {f"net.{key.replace('__', '.')}": value for key, value in values.items()}}))
    return str(path)


def test_parameters_take_effect_and_return(tmp_path: Path) -> None:
    node = Namespace(tmp_path / "root")
    try:
        names = ("net.ipv4.tcp_rmem", "net.ipv4.tcp_fin_timeout", "net.ipv4.ip_local_port_range")
        before = {name: node.kernel(name) for name in names}
        wanted = document(
            tmp_path,
            ipv4__tcp_rmem=[4096, 65536, 1048576],
            ipv4__tcp_fin_timeout=17,
            ipv4__ip_local_port_range=[20000, 30000],
        )
        tried = node.settings("apply", wanted, "--json")
        assert tried.returncode == 0, tried.stderr
        assert json.loads(tried.stdout)["phase"] == "Trial"
        assert [node.kernel(name) for name in names] == ["4096 65536 1048576", "17", "20000 30000"]
        outside = subprocess.run(
            ["sysctl", "-n", "net.ipv4.tcp_fin_timeout"], capture_output=True, text=True, check=True
        )
        assert outside.stdout.strip() != "17", "the machine of the test is left alone"
        assert node.settings("commit").returncode == 0
        assert node.run("sysctl", "-w", "net.ipv4.tcp_fin_timeout=40").returncode == 0
        shown = json.loads(node.settings("show", "--json").stdout)
        assert shown["drift"] == ["sysctl.net.ipv4.tcp_fin_timeout: 40, not 17"]
        assert node.settings("revert").returncode == 0
        assert {name: node.kernel(name) for name in names} == before
    finally:
        node.close()


def test_what_the_kernel_refuses_is_no_success_and_returns(tmp_path: Path) -> None:
    """A first port above the last passes no check of this kernel; ours refuses it as not ascending."""
    node = Namespace(tmp_path / "root")
    try:
        before = node.kernel("net.ipv4.ip_local_port_range")
        refused = node.settings("apply", document(tmp_path, ipv4__ip_local_port_range=[30000, 20000]))
        assert (refused.returncode, "SETTINGS_REFUSED" in refused.stderr) == (3, True)
        gone = document(tmp_path, core__somaxconn=4096, ipv4__tcp_fin_timeout=17)
        assert node.run("mount", "-t", "tmpfs", "tmpfs", f"{node.root}/proc/sys/net/core").returncode == 0
        failed = node.settings("apply", gone, "--json")
        assert failed.returncode == 1
        assert "somaxconn" in json.loads(failed.stdout)["message"]
        shown = json.loads(node.settings("show", "--json").stdout)
        assert (shown["phase"], shown["generation"]) == ("Failed", 0)
        assert node.kernel("net.ipv4.tcp_fin_timeout") != "17"
        assert node.kernel("net.ipv4.ip_local_port_range") == before
    finally:
        node.close()
