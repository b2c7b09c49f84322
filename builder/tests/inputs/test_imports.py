"""What a program imports, read from its source."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proa.builder.inputs import imports
from proa.core.runtime.errors import Code, ProaError

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules of a package ``proa.sample``: ``write(main="import this")``."""
    folder = tmp_path / "proa" / "sample"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    def write(**modules: str) -> None:
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        imports.module.cache_clear()

    yield write
    imports.module.cache_clear()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock of a place that has click, and neither pytest nor PyYAML."""
    path = tmp_path / "some.lock"
    path.write_text("click==8.5.1 \\\n    --hash=sha256:00\nOdd_Name.x==1\n# pytest==1\n")
    return path


def shipped(lock: Path, *entries: str) -> set[str]:
    """Names of what is found, without the folder of the package."""
    found = imports.files([f"proa.sample.{name}" for name in entries], lock)
    assert all(path.is_file() and str(path).endswith(name) for name, path in found.items())
    return {name.removeprefix("proa/sample/") for name in found}


def test_imports_everywhere_in_a_module_are_followed_and_sorted_into_early_and_late(write: Write) -> None:
    write(
        one="""
import json, proa.sample.two
from typing import TYPE_CHECKING
import typing
from . import three
from .four import name
if TYPE_CHECKING:
    import proa.sample.types
else:
    import proa.sample.five
if typing.TYPE_CHECKING:
    import proa.sample.types
try:
    import proa.sample.six
finally:
    pass
class Some:
    import proa.sample.seven
    def method(self):
        from proa.sample import eight
        async def inner():
            import proa.sample.nine
""",
        **dict.fromkeys(("two", "three", "four", "five", "six", "seven", "eight", "nine", "types"), ""),
    )
    found = imports.module("proa.sample.one")
    assert found is not None
    ours = {f"proa.sample.{name}" for name in ("two", "three", "four", "five", "six", "seven")}
    assert {name for name in found.early if imports.module(name)} == {"proa.sample", *ours}
    assert {name for name in found.late if imports.module(name)} == {
        "proa.sample",
        "proa.sample.eight",
        "proa.sample.nine",
    }
    assert "json" in found.early
    assert "proa.sample.types" not in imports.reached("proa.sample.one")


def test_what_is_imported_by_what_is_imported_comes_along(write: Write, lock: Path) -> None:
    write(
        main="def run():\n    from proa.sample.near import it",
        near="import proa.sample.far\nimport click",
        far="import proa.sample.main  # and back",
        other="",
    )
    assert shipped(lock, "main") == {"__init__.py", "main.py", "near.py", "far.py"}
    assert shipped(lock, "other", "far") == {"__init__.py", "main.py", "near.py", "far.py", "other.py"}


def test_what_cannot_be_imported_there_is_left_out(write: Write, lock: Path) -> None:
    """With whoever imports it at once, and what only they need; whoever imports it late stays."""
    write(
        main="def run():\n    import proa.sample.middle\ndef other():\n    import pytest",
        middle="import proa.sample.low\nimport proa.sample.helper",
        low="import pytest",
        helper="",
    )
    assert shipped(lock, "main") == {"__init__.py", "main.py"}
    assert shipped(lock, "main", "helper") == {"__init__.py", "main.py", "helper.py"}
    lock.write_text("pytest==1\n")
    assert shipped(lock, "main") == {"__init__.py", "main.py", "middle.py", "low.py", "helper.py"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import proa.sample.low", "proa.sample.main imports pytest, which is not in some.lock"),
        ("import pytest", "proa.sample.main imports pytest, which is not in some.lock"),
        ("import no_such_distribution.part", "no_such_distribution is not installed"),
    ],
)
def test_an_entry_that_could_not_run_there_is_refused(write: Write, lock: Path, text: str, said: str) -> None:
    write(main=text, low="import pytest")
    with pytest.raises(ProaError) as caught:
        imports.files(["proa.sample.main"], lock)
    assert (caught.value.code, caught.value.message) == (Code.INTERNAL, said)


def test_an_entry_and_a_folder_that_are_not_there(write: Write, lock: Path) -> None:
    for ask in (lambda: imports.files(["proa.sample.nothing"], lock), lambda: imports.folder("proa.nothing")):
        with pytest.raises(ProaError) as caught:
            ask()
        assert caught.value.code is Code.INTERNAL
    assert imports.folder("proa.sample").name == "sample"


def test_names_of_distributions_compare_in_their_canonical_form(lock: Path) -> None:
    assert imports.locked(lock) == {"click", "odd-name-x"}
    assert imports.distributions("click.core") == ("click",)
    assert imports.distributions("json") == imports.distributions("proa.core") == ()


@pytest.mark.parametrize(
    "text",
    [
        "def read(name):\n    return open(__file__ + name + '.json')",
        "from importlib import resources\ndef read(name):\n    return resources.files(__package__) / f'{name}.json'",
    ],
)
def test_data_comes_along_with_a_module_that_asks_where_it_lies(
    write: Write, lock: Path, tmp_path: Path, text: str
) -> None:
    folder = tmp_path / "proa" / "sample"
    (folder / "api.json").touch()
    (folder / "folder").mkdir()
    write(main=text, other="'api.json'  # not __file__", third="import proa.sample.main")
    assert shipped(lock, "other") == {"__init__.py", "other.py"}
    assert shipped(lock, "third") == {"__init__.py", "third.py", "main.py", "api.json"}


def test_a_comment_is_no_other_code_and_a_docstring_is(write: Write) -> None:
    seen = []
    for text in ('"""One."""\nX = 1', '"""One."""\n\n# Said.\nX = 1  # why', '"""Two."""\nX = 1', '"""One."""\nX = 2'):
        write(main=text)
        found = imports.module("proa.sample.main")
        assert found is not None
        seen.append(found.code)
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3


def test_what_a_source_says_is_remembered_for_the_same_reader(write: Write, tmp_path: Path) -> None:
    memory = tmp_path / "sources.json"
    write(main="import this\n\ndef late() -> None:\n    import proa.sample.other\n", other="HERE = __file__\n")
    with imports.remembering(memory):
        before = imports.reached("proa.sample.main")
    kept = memory.read_bytes()
    imports.module.cache_clear()
    with imports.remembering(memory):
        assert imports.reached("proa.sample.main") == before
    assert memory.read_bytes() == kept
    write(other="import json\n")
    with imports.remembering(memory):
        assert "json" in imports.reached("proa.sample.main")["proa.sample.other"].imports
    assert memory.read_bytes() != kept


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"reader": "another", "found": {"x": ["", [], [], false]}}', '{"found": 1}']
)
def test_a_memory_that_is_damaged_or_of_another_reader_is_empty(write: Write, tmp_path: Path, text: str) -> None:
    memory = tmp_path / "sources.json"
    memory.write_text(text)
    write(main="import this\n# another source each time, as far as this process knows: " + repr(text) + "\n")
    with imports.remembering(memory):
        assert "this" in imports.reached("proa.sample.main")["proa.sample.main"].imports
    assert json.loads(memory.read_text())["reader"] != "another"
