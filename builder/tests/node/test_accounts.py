"""Users and groups keep their numbers from release to release."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proa.builder.config.image_settings import User
from proa.builder.engine import namespace
from proa.builder.node import accounts
from proa.builder.node.accounts import Numbers, assign, read_lock, read_lock_text, read_tree
from proa.builder.node.tree import Tree
from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
sshd:x:100:65534::/run/sshd:/usr/sbin/nologin
systemd-network:x:998:998:systemd Network Management:/:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUP = "root:x:0:\ndaemon:x:1:\nsudo:x:27:\nsystemd-network:x:998:\nsystemd-journal:x:999:\nnogroup:x:65534:\n"
TREE = read_tree(PASSWD, GROUP)
NO_LOCK = Numbers()


def test_the_first_release_keeps_what_the_packages_gave() -> None:
    numbers = assign(TREE, [User("admin"), User("deploy", uid=2000)], NO_LOCK)
    assert numbers.users["sshd"] == (100, 65534)
    assert numbers.users["admin"] == (1000, 1000)
    assert numbers.users["deploy"] == (2000, 2000)
    assert numbers.groups["deploy"] == 2000


def test_the_lock_survives_its_file(tmp_path: Path) -> None:
    numbers = assign(TREE, [User("admin")], NO_LOCK)
    (tmp_path / accounts.LOCK).write_text(numbers.text())
    assert read_lock(tmp_path / accounts.LOCK) == numbers
    assert read_lock(tmp_path / "none") == NO_LOCK
    assert assign(TREE, [User("admin")], numbers) == numbers


def test_a_broken_lock_has_a_place() -> None:
    with pytest.raises(ProaError) as raised:
        read_lock_text("group a 1\nuser b\n", "x.lock")
    assert (raised.value.code, raised.value.at) == (Code.USERS_CHANGED, "x.lock:2:1")


def test_numbers_that_packages_gave_otherwise_come_from_the_lock() -> None:
    lock = Numbers({"sshd": (104, 65534), "systemd-network": (997, 997)}, {"systemd-network": 997})
    numbers = assign(TREE, [], lock)
    assert numbers.users["sshd"] == (104, 65534)
    assert numbers.users["systemd-network"] == (997, 997)


def test_a_new_name_never_gets_a_number_of_an_old_one() -> None:
    lock = Numbers({"gone": (100, 998), "old-admin": (1000, 1000)}, {"gone": 998, "old-admin": 1000})
    numbers = assign(TREE, [User("admin")], lock)
    assert numbers.users["sshd"][0] not in (100, 1000)
    assert numbers.groups["systemd-network"] != 998
    assert numbers.users["systemd-network"][1] == numbers.groups["systemd-network"]
    assert numbers.users["admin"] == (1001, 1001)
    assert numbers.over(lock).users["gone"] == (100, 998)


def test_a_changed_number_fails_with_the_names() -> None:
    lock = Numbers({"admin": (1000, 1000), "daemon": (5, 1)}, {"admin": 1000, "sudo": 30})
    with pytest.raises(ProaError) as raised:
        assign(TREE, [User("admin", uid=1234)], lock)
    assert raised.value.code is Code.USERS_CHANGED
    assert raised.value.message == (
        "user admin was 1000 and would be 1234; group sudo was 30 and is now 27; user daemon was 5 and is now 1"
    )


def test_what_a_hook_changed_is_found() -> None:
    numbers = assign(TREE, [], NO_LOCK)
    final = Numbers({**numbers.users, "hooked": (500, 500)}, dict(numbers.groups))
    assert accounts.check(final, numbers, NO_LOCK) == final
    with pytest.raises(ProaError) as raised:
        accounts.check(final, numbers, Numbers({"hooked": (501, 500)}))
    assert raised.value.message == "user hooked was 501 and is now 500"


@pytest.mark.parametrize(
    ("uid", "told"),
    [
        (1, "user bob would be 1, which belongs to daemon; group bob would be 1, which belongs to daemon"),
        (27, "group bob would be 27, which belongs to sudo"),
        (
            998,
            "user bob would be 998, which belongs to systemd-network; "
            "group bob would be 998, which belongs to systemd-network",
        ),
        (500, "user bob would be 500, which belongs to gone"),
    ],
)
def test_a_number_that_is_somebody_elses_is_refused(uid: int, told: str) -> None:
    with pytest.raises(ProaError) as raised:
        assign(TREE, [User("bob", uid=uid)], Numbers({"gone": (500, 0)}))
    assert (raised.value.code, raised.value.message) == (Code.USERS_CHANGED, told)


def test_a_hooks_account_may_not_take_a_number_of_an_old_one() -> None:
    numbers = assign(TREE, [], NO_LOCK)
    final = Numbers({**numbers.users, "hooked": (500, 0)}, dict(numbers.groups))
    with pytest.raises(ProaError) as raised:
        accounts.check(final, numbers, Numbers({"gone": (500, 0)}))
    assert raised.value.message == "user hooked would be 500, which belongs to gone"


@pytest.mark.parametrize("number", [99, 101])
def test_a_hook_may_renumber_nobody(number: int) -> None:
    numbers = assign(TREE, [], NO_LOCK)
    final = Numbers({**numbers.users, "sshd": (number, 65534)}, dict(numbers.groups))
    with pytest.raises(ProaError) as raised:
        accounts.check(final, numbers, NO_LOCK)
    assert raised.value.message == f"user sshd was 100 and is now {number}"


def test_another_owner_takes_neither_bits_nor_capabilities_away(tree: Tree) -> None:
    """As root of a user namespace where the tests do not run as root."""
    program = tree.root / "program"
    program.write_text("x")
    script = f"""
import os
from pathlib import Path
from proa.builder.node import accounts
from proa.builder.node.accounts import read_tree
from proa.builder.node.tree import Tree
path = Path({str(program)!r})
os.chown(path, 0, 998)
path.chmod(0o4755)
os.setxattr(path, "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
tree = Tree(Path({str(tree.root)!r}))
numbers = read_tree(tree.read("/etc/passwd"), tree.read("/etc/group"))
accounts.renumber(tree, accounts.Numbers(dict(numbers.users), {{**numbers.groups, "systemd-network": 997}}))
found = path.stat()
print(found.st_gid, oct(found.st_mode), os.getxattr(path, "security.capability").hex())
"""
    done = process.run((*namespace.enter(network=False), sys.executable, "-c", script))
    assert done.text.split() == ["997", "0o104755", "0100000200200000000000000000000000000000"]
    process.run(namespace.remove(program))


NAMES = st.sampled_from([f"n{number}" for number in range(12)])
SYSTEM = st.dictionaries(NAMES, st.integers(100, 115), max_size=12).filter(lambda d: len(set(d.values())) == len(d))


@given(SYSTEM, SYSTEM)
def test_locked_names_keep_their_numbers_and_no_two_share_one(own: dict[str, int], locked: dict[str, int]) -> None:
    tree = Numbers({name: (uid, 0) for name, uid in own.items()}, {"root": 0, **own})
    lock = Numbers({name: (uid, 0) for name, uid in locked.items()}, {"root": 0, **locked})
    numbers = assign(tree, [], lock).over(lock)
    assert {name: numbers.users[name][0] for name in locked} == locked
    assert {name: numbers.groups[name] for name in locked} == locked
    assert len({uid for uid, _ in numbers.users.values()}) == len(numbers.users)
    assert len(set(numbers.groups.values())) == len(numbers.groups)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    found = Tree(tmp_path, owners=False)
    (tmp_path / "etc" / "ssh").mkdir(parents=True)
    (tmp_path / "usr" / "lib" / "tmpfiles.d").mkdir(parents=True)
    for name, text in (("passwd", PASSWD), ("group", GROUP), ("gshadow", "root:*::\nsudo:*::\n")):
        (tmp_path / "etc" / name).write_text(text)
    (tmp_path / "etc" / "shadow").write_text("root:*:20000:0:99999:7:::\n")
    return found


def test_owners_are_looked_up_in_the_tree(tree: Tree) -> None:
    assert accounts.owner(tree, "sshd:sudo") == (100, 27)
    assert accounts.owner(tree, "5:6") == (5, 6)
    with pytest.raises(ProaError) as raised:
        accounts.owner(tree, "root:nobody-knows")
    assert "no group 'nobody-knows'" in raised.value.message


def test_users_are_added_without_a_password(tree: Tree) -> None:
    users = [User("admin", groups=("sudo",)), User("root", shell="/bin/sh")]  # noqa: S604 -- no process
    accounts.add(tree, users, assign(TREE, users, NO_LOCK), {})
    assert "admin:x:1000:1000::/home/admin:/bin/bash\n" in tree.read("/etc/passwd")
    assert "root:x:0:0:root:/root:/bin/sh\n" in tree.read("/etc/passwd")
    assert "admin:*:::::::\n" in tree.read("/etc/shadow")
    assert "sudo:x:27:admin\n" in tree.read("/etc/group")
    assert "sudo:*::admin\n" in tree.read("/etc/gshadow")
    assert tree.read("/usr/lib/tmpfiles.d/proa-users.conf") == "d /home/admin 0700 1000 1000 -\n"
    accounts.forget_days(tree)
    assert tree.read("/etc/shadow").startswith("root:*::0:")


def test_a_group_that_is_not_there(tree: Tree) -> None:
    users = [User("admin", groups=("docker",))]
    with pytest.raises(ProaError) as raised:
        accounts.add(tree, users, assign(TREE, users, NO_LOCK), {})
    assert "'docker', which no package creates" in raised.value.message
