"""The boot state for the initrd: shell functions made from the tables of :mod:`proa.partition.boot.bootstate`.

The initrd has a shell, ``dd`` and ``od``, but neither Python nor GRUB. Its functions read the two copies as GRUB does,
and know two changes: to arm the other slot once when the good one cannot be opened, and to count such a round.
"""

from __future__ import annotations

from pathlib import Path

from proa.core.runtime.files import ALIGNMENT
from proa.partition.boot import envblock
from proa.partition.boot.bootstate import (
    FIELDS,
    NO_TRIAL,
    ROUNDS,
    ROUNDS_MAX,
    SEQ_MAX,
    TRANSITIONS,
    Change,
    Field,
    Slot,
    Transition,
)
from proa.partition.boot.statefile import ENV_OFFSETS

_TEMPLATE = Path(__file__).parent / "proa-state.sh.in"
_ROUNDS = Field(ROUNDS, "".join(str(number) for number in range(1, ROUNDS_MAX + 1)), "see bootstate")
_KEPT = [field.name for field in FIELDS if field.name != "END"]


def script() -> str:
    """The functions ``proa_state_read``, ``_trial``, ``_heal`` and ``_round``, and their helpers."""
    text = _TEMPLATE.read_text()
    for name, value in _values().items():
        text = text.replace(f"@{name}@", value)
    return text


def _values() -> dict[str, str]:
    heal = next(transition for transition in TRANSITIONS if transition.name == "heal")
    return {
        "SIGNATURE": envblock.SIGNATURE.decode().strip(),
        "SIGNATURE_HEX": envblock.SIGNATURE.hex(" "),
        "SIZE": str(envblock.SIZE),
        "UNIT": str(ALIGNMENT),
        "OFFSET1": str(ENV_OFFSETS[0]),
        "OFFSET2": str(ENV_OFFSETS[1]),
        "SEQ_MAX": str(SEQ_MAX),
        "TOO_LONG": "?" * (len(str(SEQ_MAX)) + 1),
        "NO_TRIAL": NO_TRIAL,
        "BODY": "\\n".join(f"{field.name}=%s" for field in FIELDS),
        "ARGUMENTS": " ".join(f'"${"SEQ" if field.name == "END" else field.name}"' for field in FIELDS),
        "CLEAR": " ".join(f"{name}=''" for name in _KEPT),
        "COMPLETE": "".join(f' && [ -n "${name}" ]' for name in _KEPT if name != "SEQ"),
        "ASSIGN": "\n".join(_assign(field) for field in (*FIELDS, _ROUNDS)),
        "ROUNDS": ROUNDS,
        "ROUNDS_MAX": str(ROUNDS_MAX),
        "OTHER": "\n".join(f"        {slot.value}) echo {slot.other.value} ;;" for slot in Slot),
        "HEAL": "\n".join(f"    {line}" for line in _heal(heal)),
    }


def _assign(field: Field) -> str:
    pairs = " ".join(f"{letter.encode().hex()}={letter}" for letter in field.letters)
    reader = f"proa_state_letter {pairs}" if field.letters else "proa_state_number"
    return f'        " {field.name.encode().hex(" ")}") {reader} && {field.name}=$proa_result ;;'


def _heal(row: Transition) -> list[str]:
    """What the row of the table needs, and what it sets."""
    values = {Change.OTHER: "$(proa_state_other)", Change.NONE: NO_TRIAL, Change.ZERO: "0", Change.ONE: "1"}
    values |= {Change.YES: "y", Change.NO: "n"}
    changes = {"TRY": row.trial, "LEFT": row.left, "ALT": row.alt_becomes, "GOOD": row.good}
    needs = []
    if row.on_trial is not None:
        needs.append("proa_state_on_trial || return 1" if row.on_trial else "! proa_state_on_trial || return 1")
    if row.pending is not None:
        needs.append("proa_state_pending || return 1" if row.pending else "! proa_state_pending || return 1")
    if row.alt is not None:
        needs.append(f'[ "$ALT" = {"y" if row.alt else "n"} ] || return 1')
    sets = [f"{name}={values[change]}" for name, change in changes.items() if change is not Change.KEEP]
    return [*needs, " ".join(sets)]
