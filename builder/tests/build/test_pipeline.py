"""The order of steps, kept results, and an output that appears only when all is done."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proa.builder.build import pipeline
from proa.builder.build.pipeline import BuildOrder, build, plan
from proa.builder.config.loading import load
from proa.builder.engine.cache import StepCache
from proa.builder.engine.context import BuildContext, BuildStep
from proa.builder.engine.keys import Keys
from proa.core.runtime.errors import Code, ProaError, ProaErrors
from proa.core.runtime.events import Note, Recorder, StepFinished

EPOCH = 1_700_000_000


@dataclass
class Fake:
    """A step that writes what it was given, and counts how often it ran."""

    name: str
    needs: tuple[str, ...] = ()
    keep: bool = True
    given: dict[str, object] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    runs: int = 0
    during: Callable[[BuildContext], None] = lambda context: None
    title: str = "A fake"

    def inputs(self, context: BuildContext) -> Mapping[str, object]:
        return dict(self.given)

    def run(self, context: BuildContext, out: Path) -> None:
        self.runs += 1
        below = {name: (context.output(name) / "out").read_text() for name in self.needs}
        (context.scratch / "temporary").touch()
        (out / "out").write_text(json.dumps([self.given, below, context.epoch]))
        self.during(context)


@pytest.fixture(autouse=True)
def _no_other_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(EPOCH))


def order_of(folder: Path, steps: tuple[BuildStep, ...], text: str = "") -> BuildOrder:
    path = folder / "proa.toml"
    path.write_text('[release]\nname = "node"\nversion = "1.0.0"\n' + text)
    return BuildOrder(load(path), folder / "out", None, StepCache(folder / "cache"), Recorder(), steps)


def runs(*steps: Fake) -> list[int]:
    return [step.runs for step in steps]


def test_every_step_is_behind_what_it_needs() -> None:
    seen: set[str] = set()
    for step in pipeline.STEPS:
        assert set(step.needs) <= seen
        assert step.name not in seen
        seen.add(step.name)
    assert {step for step, _ in pipeline.RESULTS.values()} <= seen


def test_a_second_build_keeps_everything(tmp_path: Path) -> None:
    one, two = Fake("one"), Fake("two", ("one",))
    report = build(order_of(tmp_path, (one, two)))
    assert (report.cache_hits, report.created) == (0, "2023-11-14T22:13:20Z")
    again = order_of(tmp_path, (one, two))
    assert build(again).cache_hits == 2
    assert runs(one, two) == [1, 1]
    assert isinstance(again.monitor, Recorder)
    assert [event.cached for event in again.monitor.events if isinstance(event, StepFinished)] == [True, True]
    assert json.loads((tmp_path / "out" / "build.json").read_text())["cache_hits"] == 2


def test_a_changed_input_makes_what_depends_on_it_again(tmp_path: Path) -> None:
    one, other, two = Fake("one"), Fake("other"), Fake("two", ("one",))
    build(order_of(tmp_path, (one, other, two)))
    one.given["x"] = 1
    build(order_of(tmp_path, (one, other, two)))
    assert runs(one, other, two) == [2, 1, 2]


def test_an_equal_output_of_changed_inputs_spares_the_rest(tmp_path: Path) -> None:
    class Same(Fake):
        def run(self, context: BuildContext, out: Path) -> None:
            self.runs += 1
            (out / "out").write_text("always the same")

    one, two = Same("one"), Fake("two", ("one",))
    build(order_of(tmp_path, (one, two)))
    one.given["comment"] = "new"
    build(order_of(tmp_path, (one, two)))
    assert runs(one, two) == [2, 1]


def test_a_step_that_is_not_kept_runs_every_time(tmp_path: Path) -> None:
    one, two = Fake("one", keep=False), Fake("two", ("one",))
    build(order_of(tmp_path, (one, two)))
    build(order_of(tmp_path, (one, two)))
    assert runs(one, two) == [2, 1]


def damage(folder: Path, step: str) -> None:
    """Alter a kept result as a bad disk does: nothing that stat(2) tells is another."""
    (place,) = (path for path in (folder / "cache/steps" / step).iterdir() if not path.name.startswith("."))
    (place / "output/out").write_text("damaged")
    status = (place / "output/out").lstat()
    seen = [status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    record = json.loads((place / "made.json").read_text())
    (place / "made.json").write_text(json.dumps(record | {"seen": {"out": seen}}))


def test_a_damaged_result_is_made_again_before_a_step_works_with_it(tmp_path: Path) -> None:
    one, passing, two = Fake("one"), Fake("passing", keep=False), Fake("two", ("one", "passing"))
    build(order_of(tmp_path, (one, passing, two)))
    damage(tmp_path, "one")
    two.given["x"] = 1
    build(order_of(tmp_path, (one, passing, two)))
    assert runs(one, passing, two) == [2, 3, 2]
    (place,) = (tmp_path / "cache/steps/one").glob("[!.]*/output/out")
    assert place.read_text() != "damaged"


def test_a_damaged_result_reaches_no_output(tmp_path: Path) -> None:
    class Bill(Fake):
        def run(self, context: BuildContext, out: Path) -> None:
            self.runs += 1
            for name in ("out", "sbom.spdx.json", "sbom.cdx.json"):
                (out / name).write_text("whole")

    bill = Bill("sbom")
    build(order_of(tmp_path, (bill,)))
    (place,) = (tmp_path / "cache/steps/sbom").glob("[!.]*")
    record = json.loads((place / "made.json").read_text())
    record["content"]["out"] = "- another hash"
    (place / "made.json").write_text(json.dumps(record))
    build(order_of(tmp_path, (bill,)))
    assert bill.runs == 2
    assert (tmp_path / "out/sbom.spdx.json").read_text() == "whole"


def test_a_failure_leaves_nothing_and_the_next_build_works(tmp_path: Path) -> None:
    def fail(context: BuildContext) -> None:
        raise ProaError(Code.HOOK, "no")

    one, two = Fake("one"), Fake("two", ("one",), during=fail)
    with pytest.raises(ProaError):
        build(order_of(tmp_path, (one, two)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "proa.toml"]
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []
    two.during = lambda context: None
    assert build(order_of(tmp_path, (one, two))).cache_hits == 1


def test_an_earlier_output_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    def interrupt(context: BuildContext) -> None:
        raise KeyboardInterrupt

    build(order_of(tmp_path, (Fake("one"),)))
    before = (tmp_path / "out" / "build.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        build(order_of(tmp_path, (Fake("two", during=interrupt),)))
    assert (tmp_path / "out" / "build.json").read_bytes() == before


def test_inputs_that_change_while_they_are_read_are_not_kept(tmp_path: Path) -> None:
    one = Fake("one")
    one.during = lambda context: one.given.update(x=one.runs)
    with pytest.raises(ProaError) as raised:
        build(order_of(tmp_path, (one,)))
    assert "changed while the step ran" in raised.value.message
    one.during = lambda context: None
    build(order_of(tmp_path, (one,)))
    assert one.runs == 2


@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "TMPDIR", "HOME"])
def test_b10_one_build_at_a_time_writes_an_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Whatever the environment says, and by whichever path the folder is named."""
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "link").symlink_to(tmp_path)

    def build_again(context: BuildContext) -> None:
        monkeypatch.setenv(variable, str(other))
        order = order_of(tmp_path, (Fake("inner"),))
        for out in (order.out, other / "link/out"):
            with pytest.raises(ProaError) as raised:
                build(dataclasses.replace(order, out=out))
            assert (raised.value.code, raised.value.at) == (Code.BUSY, str(out))

    build(order_of(tmp_path, (Fake("one", during=build_again),)))
    assert build(order_of(tmp_path, (Fake("one"),))).cache_hits == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "elsewhere", "out", "proa.toml"]


def test_b10_a_lock_that_a_killed_build_left_hinders_nobody(tmp_path: Path) -> None:
    (tmp_path / ".out.lock").touch()
    build(order_of(tmp_path, (Fake("one"),)))
    assert not (tmp_path / ".out.lock").exists()


def test_a_plan_says_what_is_kept_and_why_not(tmp_path: Path) -> None:
    steps = (Fake("one"), Fake("two", ("one",)), Fake("three", keep=False))
    assert [step.plan for step in plan(order_of(tmp_path, steps)).steps] == [
        "made: for the first time",
        "made",
        "made",
    ]
    build(order_of(tmp_path, steps))
    assert [step.plan for step in plan(order_of(tmp_path, steps)).steps] == ["kept", "kept", "made"]
    steps[0].given["x"] = 1
    plans = [step.plan for step in plan(order_of(tmp_path, steps)).steps]
    assert plans == ["made: inputs.x differs from last time", "made", "made"]
    assert runs(*steps) == [1, 1, 1]


def test_hooks_of_the_building_machine(tmp_path: Path) -> None:
    hook = tmp_path / "hook.sh"
    hook.write_text('#!/bin/sh\necho "$PROA_NAME $PROA_VERSION" >>"$PROA_OUT/said"\n')
    hook.chmod(0o755)
    text = "".join(f'[[hook]]\nat = "{point}"\nrun = "hook.sh"\n' for point in ("build-before", "build-after"))
    build(order_of(tmp_path, (Fake("one"),), text))
    assert (tmp_path / "said").read_text() == "node 1.0.0\n"
    assert (tmp_path / "out" / "said").read_text() == "node 1.0.0\n"


def test_a_hook_that_fails_ends_the_build(tmp_path: Path) -> None:
    hook = tmp_path / "hook.sh"
    hook.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    hook.chmod(0o755)
    with pytest.raises(ProaError) as raised:
        build(order_of(tmp_path, (Fake("one"),), '[[hook]]\nat = "build-after"\nrun = "hook.sh"\n'))
    assert (raised.value.code, "broken" in raised.value.message) == (Code.HOOK, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", ["yesterday", "\N{SUPERSCRIPT TWO}", "99999999999999", "-1"])
def test_a_time_that_is_none(tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", given)
    with pytest.raises(ProaError) as raised:
        build(order_of(tmp_path, ()))
    assert raised.value.code is Code.USAGE


def test_a_build_that_no_node_will_trust_says_so(tmp_path: Path) -> None:
    order = order_of(tmp_path, (Fake("one"),))
    build(order)
    assert isinstance(order.monitor, Recorder)
    assert [event.text for event in order.monitor.events if isinstance(event, Note)] == [
        "no trusted key: nodes with this image will refuse every release; pass --keys, or set trust.keys"
    ]


@pytest.mark.parametrize("name", ["filled", ".", "..", "cache", "file"])
def test_an_output_that_would_replace_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / "project"
    for path in (folder / "filled" / "precious", folder / "cache" / "precious"):
        path.parent.mkdir(parents=True)
        path.touch()
    (folder / "file").touch()
    monkeypatch.chdir(folder)
    one = Fake("one")
    order = dataclasses.replace(order_of(folder, (one,)), out=Path(name))
    for run in (build, plan):
        with pytest.raises(ProaError) as raised:
            run(order)
        assert (raised.value.code, one.runs) == (Code.FILE_EXISTS, 0)
    assert {path.name for path in folder.iterdir()} == {"filled", "cache", "file", "proa.toml"}
    assert (folder / "filled" / "precious").exists()
    assert (folder / "cache" / "precious").exists()


def test_keys_are_never_replaced_by_an_output(tmp_path: Path, secure_boot: Keys) -> None:
    order = dataclasses.replace(order_of(tmp_path, (Fake("one"),)), keys=secure_boot, out=secure_boot.folder)
    with pytest.raises(ProaError) as raised:
        build(order)
    assert raised.value.code is Code.FILE_EXISTS
    assert (secure_boot.folder / "release.key").is_file()


def test_an_empty_folder_and_an_earlier_output_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    build(order_of(tmp_path, (Fake("one"),)))
    build(order_of(tmp_path, (Fake("one"),)))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["build.json"]


def test_what_a_killed_build_left_beside_the_output_goes(tmp_path: Path) -> None:
    build(order_of(tmp_path, (Fake("one"),)))
    (tmp_path / ".out.k2j4x_9a" / "steps.abcdefgh").mkdir(parents=True)
    (tmp_path / ".out.old.abcdefgh").mkdir()
    (tmp_path / "out").rename(tmp_path / ".out.old.abcdefgh" / "it")  # killed between two renames
    (tmp_path / ".out.notours").mkdir()
    one = Fake("one", during=lambda context: (_ for _ in ()).throw(ProaError(Code.TOOL, "fails")), given={"x": 1})
    with pytest.raises(ProaError):
        build(order_of(tmp_path, (one,)))
    assert json.loads((tmp_path / "out" / "build.json").read_text())["name"] == "node"
    assert {path.name for path in tmp_path.iterdir()} == {"out", "cache", "proa.toml", ".out.notours"}


def test_more_signatures_than_trusted_keys_are_refused(tmp_path: Path, secure_boot: Keys) -> None:
    order = dataclasses.replace(order_of(tmp_path, (Fake("one"),), "[trust]\nthreshold = 2\n"), keys=secure_boot)
    with pytest.raises(ProaError) as raised:
        build(order)
    assert raised.value.code is Code.CONFIG_VALUE
    assert (raised.value.message, raised.value.at) == (
        "2 keys must sign, but only 1 are trusted",
        f"{tmp_path / 'proa.toml'}:5:1",
    )


def test_a_release_alone_needs_no_disk(tmp_path: Path) -> None:
    order = order_of(tmp_path, (), "[build]\nformats = []\n")
    assert [step.name for step in pipeline.steps_of(order.loaded.config)] == [
        step.name for step in pipeline.STEPS if step.name != "disk"
    ]


def test_b08_a_release_that_has_expired_is_not_built(tmp_path: Path) -> None:
    path = tmp_path / "proa.toml"
    order = order_of(tmp_path, (one := Fake("one"),))
    text = path.read_text().replace("[release]\n", '[release]\nexpires = "2023-11-14T22:13:20Z"\n')
    path.write_text(text)
    with pytest.raises(ProaError) as raised:
        build(dataclasses.replace(order, loaded=load(path)))
    assert (raised.value.code, raised.value.at, one.runs) == (Code.CONFIG_VALUE, f"{path}:2:1", 0)
    path.write_text(text.replace(":20Z", ":21Z"))
    build(dataclasses.replace(order, loaded=load(path)))


@pytest.mark.parametrize(
    ("at", "place"), [("units.enable[1]", "5:22"), ("units.enable", "5:1"), ("user[0].shell", ""), ("/dev/sda", "")]
)
def test_b08_an_error_of_a_step_gets_its_place_in_the_file(tmp_path: Path, at: str, place: str) -> None:
    def refuse(context: BuildContext) -> None:
        raise ProaErrors([ProaError(Code.CONFIG_VALUE, "no", at=at, hint="near")] * 2)

    with pytest.raises(ProaErrors) as raised:
        build(order_of(tmp_path, (Fake("one", during=refuse),), '[units]\nenable = ["a.mount", "b.mount"]\n'))
    expected = f"{tmp_path / 'proa.toml'}:{place}" if place else at
    assert [(one.at, one.hint) for one in raised.value.errors] == [(expected, "near")] * 2
