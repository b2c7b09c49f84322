from __future__ import annotations

import stat
from pathlib import Path

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.vm.support.promtool import promtool

FAKES = {
    "apt-get": '#!/bin/sh\necho "$*" >>"$HOME/log"\n[ ! -e "$HOME/away" ] && echo deb >prometheus_2.42_amd64.deb\n',
    "dpkg-deb": '#!/bin/sh\nmkdir -p "$3/usr/bin" && echo program >"$3/usr/bin/promtool"\n',
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without the program, with an apt of its own."""
    (tmp_path / "bin").mkdir()
    for name, text in FAKES.items():
        fake = tmp_path / "bin" / name
        fake.write_text(text)
        fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    for name in ("sh", "mkdir"):
        (tmp_path / "bin" / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PROA_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_it_is_taken_out_of_its_package_once_and_nothing_is_installed(home: Path) -> None:
    assert promtool().read_text() == "program\n"
    assert promtool() == home / "cache/tools/promtool/promtool"
    assert (home / "log").read_text() == "download -q prometheus\n"


def test_the_machines_own_is_as_good(home: Path) -> None:
    own = home / "bin/promtool"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert promtool() == own
    assert not (home / "log").exists()


def test_an_apt_that_does_not_have_it_is_told(home: Path) -> None:
    (home / "away").touch()
    with pytest.raises(ProaError) as raised:
        promtool()
    assert raised.value.code is Code.MIRROR
    assert "apt-get update" in raised.value.hint
    assert not (home / "cache/tools/promtool/promtool").exists()
