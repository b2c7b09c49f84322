"""Users and groups of the release and of the node are both there, entry by entry (n04)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from proa.agent.node.accounts import DATABASES, NAMES, merge
from proa.agent.node.paths import Paths
from proa.agent.testing.node import Node
from proa.agent.trial.merging import load_clashes, merge_accounts, remember_release
from proa.agent.verbs.status import status
from proa.core.runtime.process import run
from proa.partition.boot.bootstate import Slot

OLD = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nsvc:x:900:900::/:/bin/false\ngone:x:901:901::/:/bin/false\n",
    "group": "root:x:0:\nadm:x:4:\nsvc:x:900:\ngone:x:901:\n",
    "shadow": "root:*:1::::::\nsvc:!:1::::::\ngone:!:1::::::\n",
    "gshadow": "root:*::\nadm:*::\nsvc:!::\ngone:!::\n",
    "subuid": "",
    "subgid": "",
}
NEW = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nsvc:x:910:910::/srv:/bin/false\nnew:x:902:902::/:/bin/false\n",
    "group": "root:x:0:\nadm:x:4:new\nsvc:x:910:\nnew:x:902:\n",
    "shadow": "root:*:1::::::\nsvc:!:1::::::\nnew:!:1::::::\n",
    "gshadow": "root:*::\nadm:*::new\nsvc:!::\nnew:!::\n",
    "subuid": "new:900000:65536\n",
    "subgid": "new:900000:65536\n",
}


def node_of(**added: str) -> Mapping[str, str]:
    """The old release's databases, with lines added."""
    return {name: OLD[name] + added.get(name, "") for name in NAMES}


ALICE = node_of(
    passwd="alice:x:1000:1000::/home/alice:/bin/bash\n",
    group="alice:x:1000:\n",
    shadow="alice:$y$hash:2::::::\n",
    gshadow="alice:!::\n",
    subuid="alice:100000:65536\n",
    subgid="alice:100000:65536\n",
)


@pytest.mark.parametrize("base", [OLD, None])
def test_n04_users_of_the_release_and_of_the_node_are_there(base: Mapping[str, str] | None) -> None:
    texts = merge(NEW, base, ALICE).texts
    for name in NAMES:
        assert set(NEW[name].splitlines()) <= set(texts[name].splitlines()), name
        assert "alice" in texts[name], name
    assert "alice:$y$hash" in texts["shadow"]


@pytest.mark.parametrize("odd", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r"])
def test_n04_only_a_line_feed_ends_a_line(odd: str) -> None:
    """A person's name may hold what ends a line for Python: chfn(1) takes it."""
    line = f"alice:x:1000:1000:A{odd}lice:/home/alice:/bin/bash"
    texts = merge(NEW, OLD, {**ALICE, "passwd": OLD["passwd"] + line + "\n"}).texts
    assert line in texts["passwd"].split("\n")
    assert merge(NEW, NEW, texts).texts == texts


def test_n04_of_two_lines_of_one_name_the_first_counts() -> None:
    """As for the C library: a second line of root's, added by a tool that went wrong, never became root's."""
    twice = node_of(passwd="root:x:0:0:other:/:/bin/false\n", shadow="root:$y$stolen:3::::::\n")
    texts = merge(NEW, OLD, twice).texts
    assert "root:x:0:0:root:/root:/bin/bash" in texts["passwd"].split("\n")
    assert "stolen" not in texts["shadow"]


def test_n04_what_the_release_dropped_goes_and_what_the_node_has_stays() -> None:
    texts = merge(NEW, OLD, ALICE).texts
    assert all("gone" not in text for text in texts.values())


def test_n04_numbers_are_the_releases() -> None:
    texts = merge(NEW, OLD, ALICE).texts
    assert "svc:x:910:910::/srv:/bin/false" in texts["passwd"]
    assert "svc:x:910:" in texts["group"]


def test_n04_what_the_node_changed_in_an_entry_stays() -> None:
    node = dict(ALICE)
    node["passwd"] = node["passwd"].replace("root:/root:/bin/bash", "root:/root:/bin/zsh")
    node["shadow"] = node["shadow"].replace("root:*:1", "root:$y$root:20000")
    node["group"] = node["group"].replace("adm:x:4:", "adm:x:4:alice")
    texts = merge(NEW, OLD, node).texts
    assert "root:x:0:0:root:/root:/bin/zsh" in texts["passwd"]
    assert "root:$y$root:20000" in texts["shadow"]
    assert "adm:x:4:new,alice" in texts["group"]


def test_n04_a_member_that_the_node_took_out_stays_out() -> None:
    old = OLD | {"group": OLD["group"].replace("adm:x:4:", "adm:x:4:svc,gone")}
    new = NEW | {"group": NEW["group"].replace("adm:x:4:new", "adm:x:4:svc,new")}
    node = dict(old) | {"group": old["group"].replace("svc,gone", "gone")}
    assert "adm:x:4:new\n" in merge(new, old, node).texts["group"]


def test_n04_members_are_those_of_both_where_no_base_is_known() -> None:
    node = dict(ALICE) | {"group": ALICE["group"].replace("adm:x:4:", "adm:x:4:alice")}
    assert "adm:x:4:new,alice\n" in merge(NEW, None, node).texts["group"]


def test_n04_a_name_and_a_number_that_both_claim_are_named() -> None:
    node = node_of(
        passwd="new:x:1001:1001::/home/new:/bin/bash\nbob:x:902:902::/home/bob:/bin/bash\n",
        group="new:x:1001:\nbob:x:902:\n",
        shadow="new:$y$mine:2::::::\nbob:$y$bob:2::::::\n",
    )
    merged = merge(NEW, OLD, node)
    assert "new:x:902:902" in merged.texts["passwd"]
    assert "bob:x:902:902" in merged.texts["passwd"], "nobody is locked out"
    assert [clash for clash in merged.clashes if "'new' is 1001" in clash]
    assert [clash for clash in merged.clashes if "902 is 'bob'" in clash]


@pytest.mark.parametrize("text", ["", "\n\n", "root\n", "a:b\n:::\n", "+::::::\n", "x:y:z:\n" * 100])
def test_n04_a_database_that_is_none_never_hides_the_releases(text: str) -> None:
    merged = merge(NEW, OLD, dict.fromkeys(NAMES, text))
    for name in NAMES:
        assert set(NEW[name].splitlines()) <= set(merged.texts[name].splitlines())


def test_n04_a_merge_of_a_merge_changes_nothing() -> None:
    once = merge(NEW, OLD, ALICE).texts
    assert merge(NEW, NEW, once).texts == once
    assert merge(OLD, OLD, merge(OLD, NEW, once).texts).texts["passwd"] == ALICE["passwd"], "and back"


def test_n04_every_database_is_described() -> None:
    assert tuple(one.name for one in DATABASES) == ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")


class TestNode:
    """The same on the files of a node."""

    def lay(self, paths: Paths, lower: Mapping[str, str], node: Mapping[str, str]) -> Path:
        upper = paths.etc_upper(Slot.A)
        for folder, texts in ((paths.lower_etc, lower), (upper, node), (paths.root / "etc", node)):
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in texts.items():
                (folder / name).write_text(text)
                (folder / name).chmod(0o640 if "shadow" in name else 0o644)
        return upper

    def test_n04_etc_is_brought_in_line_and_its_base_goes_with_it(self, tmp_path: Path) -> None:
        paths = Paths(tmp_path)
        remember_release(paths, self.lay(paths, OLD, ALICE))
        upper = self.lay(paths, NEW, ALICE)
        merge_accounts(paths, upper)
        etc = tmp_path / "etc"
        assert "new:x:902" in (etc / "passwd").read_text()
        assert "gone" not in (etc / "passwd").read_text()
        assert "alice" in (etc / "shadow").read_text()
        assert (etc / "shadow").stat().st_mode & 0o777 == 0o640
        assert (paths.accounts_base / "passwd").read_text() == NEW["passwd"]
        assert paths.accounts_base.stat().st_mode & 0o777 == 0o700
        assert (paths.accounts_base / "shadow").stat().st_mode & 0o777 == 0o600

    def test_n04_again_writes_nothing(self, tmp_path: Path) -> None:
        paths = Paths(tmp_path)
        upper = self.lay(paths, NEW, NEW)
        merge_accounts(paths, upper)
        before = {name: (tmp_path / "etc" / name).stat().st_ino for name in NAMES}
        merge_accounts(paths, upper)
        assert {name: (tmp_path / "etc" / name).stat().st_ino for name in NAMES} == before

    def test_n04_what_the_node_never_changed_is_left_to_the_release(self, tmp_path: Path) -> None:
        paths = Paths(tmp_path)
        upper = self.lay(paths, NEW, {"group": ALICE["group"]})
        for name in NAMES:
            (tmp_path / "etc" / name).write_text(
                (tmp_path / "etc" / name).read_text() if name == "group" else NEW[name]
            )
        before = (tmp_path / "etc/passwd").stat().st_ino
        merge_accounts(paths, upper)
        assert (tmp_path / "etc/passwd").stat().st_ino == before
        assert "alice" in (tmp_path / "etc/group").read_text()

    def test_n04_a_database_that_was_deleted_is_the_releases_again(self, tmp_path: Path) -> None:
        paths = Paths(tmp_path)
        upper = self.lay(paths, NEW, {"group": ALICE["group"]})
        merge_accounts(paths, upper)
        assert (tmp_path / "etc/passwd").read_text() == NEW["passwd"]

    def test_n04_a_clash_stands_in_the_status(self, node: Node) -> None:
        upper = self.lay(node.paths, NEW, node_of(passwd="bob:x:902:902::/home/bob:/bin/bash\n"))
        merge_accounts(node.paths, upper)
        assert load_clashes(node.paths)
        assert any("'bob'" in warning for warning in status(node.context).warnings)


@pytest.mark.contract
class TestOverlay:
    """A real overlay, the real useradd, and shadow's own judges of the result."""

    def overlay(self, paths: Paths, lower: Path) -> None:
        upper, etc = paths.etc_upper(Slot.A), paths.root / "etc"
        for folder in (upper, upper.with_name("work"), etc, paths.lower_etc):
            folder.mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={lower},upperdir={upper},workdir={upper.with_name('work')}"
        run(["mount", "-t", "overlay", "etc", etc, "-o", f"{options},index=off,metacopy=off,xino=off"])
        run(["mount", "--bind", lower, paths.lower_etc])

    def release(self, folder: Path, texts: Mapping[str, str]) -> Path:
        folder.mkdir()
        for name, text in texts.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o640 if "shadow" in name else 0o644)
        (folder / "login.defs").write_text("UID_MIN 1000\nGID_MIN 1000\n")
        return folder

    def test_n04_a_user_of_the_admin_and_a_user_of_the_next_release(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.mktemp("node")
        paths = Paths(folder / "root")
        old, new = self.release(folder / "old", OLD), self.release(folder / "new", NEW)
        etc = paths.root / "etc"
        try:
            self.overlay(paths, old)
            run(["useradd", "--prefix", paths.root, "--user-group", "--no-create-home", "carol"])
            assert "carol" in (paths.etc_upper(Slot.A) / "passwd").read_text(), "it was copied up"
            remember_release(paths, paths.etc_upper(Slot.A))
        finally:
            run(["umount", etc, paths.lower_etc])
        try:
            self.overlay(paths, new)
            assert "new:" not in (etc / "passwd").read_text(), "the node's file hides the release's"
            assert merge_accounts(paths, paths.etc_upper(Slot.A)).clashes == ()
            for name in ("new", "carol"):
                for database in ("passwd", "group", "shadow", "gshadow"):
                    assert f"{name}:" in (etc / database).read_text(), (name, database)
            assert "gone" not in (etc / "passwd").read_text()
            for judge, files in (("pwck", ("passwd", "shadow")), ("grpck", ("group", "gshadow"))):
                told = run([judge, "--read-only", *(etc / file for file in files)], check=False)
                for fault in (b"no matching", b"invalid", b"duplicate"):  # it looks for members on this machine
                    assert fault not in told.stdout + told.stderr, told.text
        finally:
            run(["umount", etc, paths.lower_etc])
