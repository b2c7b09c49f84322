"""The reference page of the boot state, made from the tables it describes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from proa.partition.boot import envblock
from proa.partition.boot.bootstate import (
    FIELDS,
    REFUSED,
    ROUNDS,
    ROUNDS_MAX,
    SEQ_MAX,
    TRANSITIONS,
    TRIES_MAX,
    Change,
    Slot,
    Transition,
    arm,
    encode,
    initial,
)
from proa.partition.boot.decisions import RULES, Boots, Otherwise, Rule
from proa.partition.boot.grubscript import PAUSE, PREFIX, UKI_NUMBERS, UKI_PATH
from proa.partition.boot.statefile import ENV_FILES, ENV_OFFSETS, STATE_SIZE


def reference() -> str:
    """The page in Markdown."""
    return "\n".join([*_format(), *_decision(), *_changes(), *_console()]) + "\n"


def _format() -> Iterator[str]:
    example = encode(arm(initial(), Slot.B)).rstrip(b"#").decode()
    yield from [
        "# Boot state",
        "",
        "GRUB decides which slot boots, from a state of six variables and nothing else.",
        "",
        "## Where it is",
        "",
        f"The partition `STATE` ({STATE_SIZE >> 10} KiB) is a FAT file system with two copies of the "
        "state. It is never mounted: GRUB reads and writes the files through its own FAT driver, and "
        "the agent and the initrd read and write the bytes.",
        "",
        *_table(
            ["Copy", "File", "Bytes from the start of the partition", "Length"],
            [
                [str(number), f"`{name}`", f"{offset}", f"{envblock.SIZE}"]
                for number, (name, offset) in enumerate(zip(ENV_FILES, ENV_OFFSETS, strict=True), 1)
            ],
        ),
        "## Format of a copy",
        "",
        "Each copy is a GRUB environment block, filled up with `#`. All variables are in the first 512 bytes.",
        "",
        "```text",
        *example.splitlines(),
        "```",
        "",
        *_table(
            ["Variable", "Values", "Meaning"],
            [[f"`{field.name}`", _values(field.letters), field.meaning] for field in FIELDS],
        ),
        f"In addition, GRUB may leave `{REFUSED}`: the value of `LEFT` at the last attempt whose "
        "kernel image could not start. It decides nothing; the good slot's agent reads it to explain "
        "why the trial returned.",
        "",
        f"`{ROUNDS}` next to them counts, up to {ROUNDS_MAX}, how many times in a row no slot came up. GRUB and the "
        "initrd increment it, and the agent removes it once a slot runs. When the count is full and no slot comes up, "
        "the machine stops, and its message stays on the console.",
        "",
        "A copy is valid when every variable has an allowed value and `END` equals `SEQ`. If a "
        "variable is assigned twice, its last value applies. Of two valid copies, the one with the "
        "higher `SEQ` is in effect; at equal `SEQ`, the one with the lower `LEFT`, because GRUB can "
        "count attempts down but cannot count `SEQ` up; at equal `LEFT`, copy 1.",
        "",
    ]


def _values(letters: str) -> str:
    return ", ".join(f"`{letter}`" for letter in letters) or f"1 to {SEQ_MAX}"


def _decision() -> Iterator[str]:
    rows = [[f"`{rule.name}`", *_needs(rule), _boots(rule), _otherwise(rule), rule.why] for rule in RULES]
    yield from [
        "## What boots",
        "",
        "The first matching row decides. A slot is *on trial* when `TRY` names the slot that is not `GOOD`.",
        "",
        *_table(
            ["Rule", "A valid copy", "On trial", "`LEFT`", "Boots", "If its kernel image cannot be loaded", "Why"], rows
        ),
        "To count `LEFT` down, GRUB writes it into the copy in effect, reads it back, and boots the "
        "trial only if the write succeeded. Otherwise it reads the table as if `LEFT` were 0.",
        "",
    ]


def _needs(rule: Rule) -> list[str]:
    tries = {None: "any", True: "above 0", False: "0"}[rule.tries] if rule.valid else "-"
    return [_yes_no(rule.valid), _yes_no(rule.on_trial) if rule.valid else "-", tries]


def _boots(rule: Rule) -> str:
    slot = "the default built into GRUB" if rule.boots is Boots.DEFAULT else f"`{rule.boots.value}`"
    return f"{slot}, after counting `LEFT` down" if rule.spends else slot


def _otherwise(rule: Rule) -> str:
    wait = f"a prominent message, {PAUSE} seconds, and a reboot"
    return {
        Otherwise.REBOOT: "a reboot; the attempt is used up",
        Otherwise.OTHER_IF_ALT: f"with `ALT=y` the other slot; otherwise, or if that fails too, {wait}",
        Otherwise.OTHER: f"the other slot; if that fails too, {wait}",
    }[rule.otherwise]


def _changes() -> Iterator[str]:
    rows = [[f"`{row.name}`", row.who, _needed(row), *_becomes(row), row.why] for row in TRANSITIONS]
    yield from [
        "## How it changes",
        "",
        "Each change increments `SEQ` and is written to both copies: first to the one not in effect, "
        "which is flushed and read back past the cache before the other one is touched. At any moment"
        f" either the old state or the new one is in effect. A trial has 1 to {TRIES_MAX} attempts. "
        f"`SEQ` {SEQ_MAX} is followed by 1.",
        "",
        *_table(["Change", "By", "Needs", "`GOOD`", "`TRY`", "`LEFT`", "`ALT`", "When"], rows),
        "A rollback is `retire` while a slot is on trial, and `swap` otherwise. In addition, GRUB "
        "counts `LEFT` down in one copy. A committed boot writes nothing.",
        "",
    ]


def _needed(row: Transition) -> str:
    trial = {None: "", True: "a slot on trial", False: "no slot on trial"}[row.on_trial]
    pending = {None: "", True: "a trial with attempts left", False: "no trial with attempts left"}[row.pending]
    alt = {None: "", True: "`ALT=y`", False: "`ALT=n`"}[row.alt]
    refusal = f"; else `{row.refused.name}`" if row.refused else ""
    return " and ".join(part for part in (trial, pending, alt) if part) + refusal or "-"


def _becomes(row: Transition) -> list[str]:
    words = {Change.OTHER: "the other slot", Change.NONE: "`n`", Change.YES: "`y`", Change.NO: "`n`"}
    return [words.get(change, change.value) for change in (row.good, row.trial, row.left, row.alt_becomes)]


def _console() -> Iterator[str]:
    places = " and ".join(f"{number} (slot `{slot.value}`)" for slot, number in UKI_NUMBERS.items())
    yield from [
        "## What GRUB says",
        "",
        f"Every line of GRUB's script on the console begins with `{PREFIX}`. The script loads the "
        f"kernel images from `{UKI_PATH}` in the partitions {places}.",
        "",
        *_table(
            ["Line", "When"],
            [
                [
                    "`state copy=N seq=... good=... try=... left=... alt=...`",
                    "the state in effect; `copy=0`: no copy is valid",
                ],
                ["`boot slot=... trial=y\\|n left=... copy=N rule=... fallback=...`", "the decision, after any write"],
                ["`write-failed copy=N`", "an attempt could not be counted down, so the trial does not boot"],
                ["`load slot=... from=...`", "the kernel image is being loaded"],
                ["`cannot-load slot=...`", "the kernel image could not be loaded or started"],
                ["`reboot: the try is used up`", "a trial's kernel image could not be loaded"],
                ["`NOTHING CAN BE BOOTED FROM THIS DISK ...`", "before the pause and the reboot"],
                ["`STOPPED: NOTHING CAN BE BOOTED FROM THIS DISK`", "after the last round; it stays on the console"],
                ["`repair it and switch the machine off and on`", "the same"],
                ["`no-disk cmdpath=...`", "GRUB was not started from a partition"],
            ],
        ),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def _yes_no(value: bool | None) -> str:
    return {None: "any", True: "yes", False: "no"}[value]
