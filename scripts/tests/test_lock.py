"""One lock for both Pythons: what only one of them needs is marked."""

from __future__ import annotations

import pytest

from proa.core.runtime.errors import ProaError
from upkeep import lock
from upkeep.lines import ROOT

HASH = "    --hash=sha256:" + "0" * 64


def pin(name: str, marker: str = "") -> str:
    return f"{name}{marker} \\\n{HASH} \\\n{HASH}\n"


SAID = "\n# The following packages are considered to be unsafe in a requirements file:\n"


def test_what_pip_compile_says_beside_the_pins_is_left_out() -> None:
    text = "# WARNING: no hash\nproa @ file:///somewhere\n" + pin("a==1") + SAID + pin("pip==26.3")
    assert lock.pins(text) == {"a": pin("a==1"), "pip": pin("pip==26.3")}


def test_what_one_python_needs_is_marked() -> None:
    older = lock.pins(pin("b==1") + pin("tomli==2") + pin("a==1"))
    newer = lock.pins(pin("b==1") + pin("crypt-r==3") + pin("a==1"))
    marked = [pin("crypt-r==3", ' ; python_version >= "3.13"'), pin("tomli==2", ' ; python_version < "3.13"')]
    assert lock.merge(older, newer) == pin("a==1") + pin("b==1") + "".join(marked)


def test_a_marker_is_replaced_and_not_added_to() -> None:
    marked = pin("crypt-r==3", ' ; python_version >= "3.13"')
    assert lock.merge({}, lock.pins(marked)) == marked


def test_two_versions_are_refused() -> None:
    with pytest.raises(ProaError, match=r"different versions of a, c$"):
        lock.merge(lock.pins(pin("a==1") + pin("c==1")), lock.pins(pin("a==2") + pin("c==2")))


def test_the_lock_of_the_repository_has_nothing_but_pins() -> None:
    text = (ROOT / lock.LOCK).read_text()
    found = lock.pins(text)
    assert "".join(found[name] for name in sorted(found)) == text
