"""Pairs of copies, valid and damaged, on which every reader of the boot state must agree.

The Python model, real GRUB and the initrd's shell are asked about each of them (partition/tests, vm-tests/tests).
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from proa.partition.boot import envblock
from proa.partition.boot.bootstate import FIELDS, SEQ_MAX, TRIES_MAX, BootState, Slot, encode

_SEQ = 41
_TRIAL = BootState(_SEQ, Slot.A, Slot.B, 3, alt=False)
_GOOD = BootState(_SEQ, Slot.B, None, 0, alt=True)
_FUZZED = 300


@dataclass(frozen=True)
class Case:
    """What stands in the two files; None: there is no such file."""

    name: str
    copy1: bytes | None
    copy2: bytes | None


def all_cases() -> list[Case]:
    """Every valid state, their relations, and the damaged ones."""
    return [*valid_cases(), *damaged_cases(), *fuzzed_cases()]


def states(seq: int = _SEQ) -> Iterator[BootState]:
    """Every state that a copy can hold, at one SEQ."""
    for good, trial, left, alt in itertools.product(Slot, [*Slot, None], range(TRIES_MAX + 1), [True, False]):
        yield BootState(seq, good, trial, left, alt)


def valid_cases() -> Iterator[Case]:
    """Each state alone in either copy and in both, and beside each kind of other copy."""
    for number, state in enumerate(states()):
        block, name = encode(state), f"state-{number}"
        yield Case(f"{name}-both", block, block)
        yield Case(f"{name}-copy1", block, None)
        yield Case(f"{name}-copy2", bytes(envblock.SIZE), block)
        for seq, left in itertools.product((_SEQ - 1, _SEQ, _SEQ + 1), range(TRIES_MAX + 1)):
            differs = seq != _SEQ or left != state.left  # what else the copies say, so that the choice is seen
            good, alt = (state.good.other, not state.alt) if differs else (state.good, state.alt)
            other = dataclasses.replace(state, seq=seq, left=left, good=good, alt=alt)
            yield Case(f"{name}-beside-{seq}-{left}", block, encode(other))
    for first, second in itertools.permutations((1, 2, 9, 10, 99, 100, 2**24 + 1, SEQ_MAX - 1, SEQ_MAX), 2):
        pair = (encode(dataclasses.replace(_TRIAL, seq=first)), encode(dataclasses.replace(_GOOD, seq=second)))
        yield Case(f"seq-{first}-{second}", *pair)


def damaged_cases() -> Iterator[Case]:
    """Each damage alone to two kinds of state, and to one in either copy beside an older, whole one."""
    older = encode(dataclasses.replace(_TRIAL, seq=_SEQ - 1, good=_TRIAL.good.other, alt=True))
    for name, damaged in DAMAGES.items():
        yield Case(f"good-{name}-alone", damaged(encode(_GOOD)), None)
        yield Case(f"trial-{name}-alone", damaged(encode(_TRIAL)), None)
        yield Case(f"trial-{name}-copy1", damaged(encode(_TRIAL)), older)
        yield Case(f"trial-{name}-copy2", older, damaged(encode(_TRIAL)))


def fuzzed_cases(count: int = _FUZZED, seed: int = 1) -> Iterator[Case]:
    """Copies with a few random changes each, made of bytes that mean something to the parser; always the same ones."""
    chance = random.Random(seed)
    tokens = [
        b"\\",
        b"\n",
        b"#",
        b"=",
        b"\0",
        b" ",
        b"\xff",
        b"\\\n",
        b"#\n",
        b"\nLEFT=1\n",
        b"\nGOOD=b\n",
        b"END=41\n",
    ]
    tokens += [f"{field.name}=".encode() for field in FIELDS]
    for number in range(count):
        data = bytearray(encode(chance.choice([_TRIAL, _GOOD])))
        for _ in range(chance.randint(1, 4)):
            at, token = chance.randrange(len(envblock.SIGNATURE), 80), chance.choice(tokens)
            keep = chance.choice([0, len(token)])  # written over, or pushed in between
            data[at : at + len(token) - keep] = token
        block = bytes(data[: envblock.SIZE])
        yield Case(f"fuzz-{number}", *chance.choice([(block, None), (block, encode(_GOOD)), (encode(_TRIAL), block)]))


def _swap(old: str, new: str) -> Callable[[bytes], bytes]:
    """A line (or part of one) written differently; the padding makes up for the length."""

    def damage(block: bytes) -> bytes:
        body = block.rstrip(b"#").replace(old.encode("latin-1"), new.encode("latin-1"))
        return body.ljust(len(block), b"#")[: max(len(block), len(body))]

    return damage


def _value(name: str, value: str) -> Callable[[bytes], bytes]:
    """Another value for a variable, whatever it was; SEQ and END together."""
    names = ("SEQ", "END") if name == "SEQ" else (name,)

    def damage(block: bytes) -> bytes:
        lines = block.rstrip(b"#").split(b"\n")
        changed = [
            f"{name}={value}".encode("latin-1") if line.split(b"=")[0].decode() in names else line
            for line in lines
            for name in [line.split(b"=")[0].decode()]
        ]
        return b"\n".join(changed).ljust(len(block), b"#")

    return damage


def _without(name: str) -> Callable[[bytes], bytes]:
    def damage(block: bytes) -> bytes:
        lines = block.rstrip(b"#").splitlines(keepends=True)
        return b"".join(line for line in lines if not line.startswith(name.encode() + b"=")).ljust(len(block), b"#")

    return damage


def _tail(tail: bytes) -> Callable[[bytes], bytes]:
    """Other bytes at the very end."""
    return lambda block: block[: len(block) - len(tail)] + tail


def _body(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """The variables rewritten as a whole."""
    head = envblock.SIGNATURE
    return lambda block: (head + change(block[len(head) :].rstrip(b"#"))).ljust(len(block), b"#")


_HALF = envblock.SIZE // 2

DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    # size
    "no-file": lambda block: None,
    "empty": lambda block: b"",
    "one-byte": lambda block: block[:1],
    "signature-only": lambda block: block[:25],
    "signature-and-one": lambda block: block[:26],
    "first-line-cut": lambda block: block[:28],
    "cut-in-end": lambda block: block.rstrip(b"#")[:-1],
    "cut-after-end": lambda block: block.rstrip(b"#"),
    "cut-511": lambda block: block[:511],
    "first-half": lambda block: block[:_HALF],
    "cut-513": lambda block: block[:513],
    "one-short": lambda block: block[:-1],
    "one-long": lambda block: block + b"#",
    "long-garbage": lambda block: block + b"x",
    "double": lambda block: block + b"#" * len(block),
    # whole sectors
    "zeroed": lambda block: bytes(len(block)),
    "ones": lambda block: b"\xff" * len(block),
    "first-zeroed": lambda block: bytes(_HALF) + block[_HALF:],
    "first-ones": lambda block: b"\xff" * _HALF + block[_HALF:],
    "first-padding": lambda block: b"#" * _HALF + block[_HALF:],
    "second-zeroed": lambda block: block[:_HALF] + bytes(_HALF),
    "second-ones": lambda block: block[:_HALF] + b"\xff" * _HALF,
    "second-newlines": lambda block: block[:_HALF] + b"\n" * _HALF,
    "second-is-first": lambda block: block[:_HALF] * 2,
    "halves-swapped": lambda block: block[_HALF:] + block[:_HALF],
    "shifted": lambda block: b"\0" + block[:-1],
    # signature
    "signature-bit": lambda block: bytes([block[0] ^ 1]) + block[1:],
    "signature-last-bit": lambda block: block[:24] + bytes([block[24] ^ 1]) + block[25:],
    "signature-case": lambda block: block.replace(b"GRUB", b"Grub"),
    "signature-crlf": lambda block: block.replace(b"Block\n", b"Block\r\n")[: len(block)],
    "signature-twice": _body(lambda body: envblock.SIGNATURE + body),
    # variables missing or unequal
    **{f"no-{field.name}": _without(field.name) for field in FIELDS},
    "end-lower": _swap(f"END={_SEQ}", f"END={_SEQ - 1}"),
    "end-higher": _swap(f"END={_SEQ}", f"END={_SEQ + 1}"),
    "end-prefix": _swap(f"END={_SEQ}", "END=4"),
    "end-empty": _swap(f"END={_SEQ}", "END="),
    "no-variables": _body(lambda body: b""),
    # values
    **{f"SEQ={value}": _value("SEQ", value) for value in (
        "", "0", "-1", "+5", "010", "0x10", "1e3", "12a", "a", " 7", "7 ", "1000000000", "4294967338", "9" * 20, "4 1",
    )},
    **{f"GOOD={value}": _value("GOOD", value) for value in (
        "", "c", "A", "ab", "aa", "n", "a ", " a", "\xe1", "[ab]", "*", "(", "!", "=", "-z", "$TRY", "${TRY}", '"a"',
        "'a'", "a;reboot", "a\\\n", "\\a", "\\\\a", "a\\", "a\0b", "\0a", "a\r", "a=b", "a#",
    )},
    **{f"TRY={value}": _value("TRY", value) for value in ("", "c", "A", "y", "nn", "\\b", "b\0", "B", "0", "*")},
    **{f"LEFT={value}": _value("LEFT", value) for value in (
        "", "4", "-1", "03", "10", " 3", "3 ", "a", "0x3", "\\3", "\\1", "3\0", "9" * 12, "3\\\n",
    )},
    **{f"ALT={value}": _value("ALT", value) for value in ("", "Y", "1", "yes", "a", "\\y", "y\0n")},
    # what a command of GRUB's could take for an option
    **{f"{field.name}={option}": _value(field.name, option) for field in FIELDS for option in (
        "--help", "-h", "-u", "-s", "--set=1:proa_rule", "--",
    )},
    # lines
    "left-twice": _swap("\nLEFT=", "\nLEFT=3\nLEFT="),
    "left-again": _body(lambda body: body + b"LEFT=1\n"),
    "left-first-wrong": _body(lambda body: b"LEFT=9\n" + body),
    "good-again": _body(lambda body: body + b"GOOD=a\n"),
    "seq-again": _body(lambda body: body + b"SEQ=7\n"),
    "both-seq-again": _body(lambda body: body + b"SEQ=7\nEND=7\n"),
    "all-twice": _body(lambda body: body + body),
    "reversed": _body(lambda body: b"".join(reversed(body.splitlines(keepends=True)))),
    "more-before": _body(lambda body: b"root=(hd9)\nprefix=(hd9)/x\nproa_slot=b\nproa_copy=2\ncmdpath=x\n" + body),
    "more-after": _body(lambda body: body + b"root=(hd9)\nproa_slot=b\nproa_tries=y\n"),
    "comment-first": _body(lambda body: b"# nothing\n" + body),
    "comment-hides": _body(lambda body: b"# nothing \\\n" + body),
    "comment-inside": _swap("\nTRY=", "\n#TRY=a\nTRY="),
    "commented-out": _swap("\nTRY=", "\n#TRY="),
    "empty-line": _swap("\nTRY=", "\n\nTRY="),
    "empty-line-first": _body(lambda body: b"\n" + body),
    "no-equals": _swap("\nTRY=", "\nTRY"),
    "two-equals": _swap("\nTRY=", "\nTRY=="),
    "empty-name": _swap("\nTRY=", "\n=x\nTRY="),
    "space-before": _swap("\nTRY=", "\n TRY="),
    "space-after": _swap("\nTRY=", "\nTRY ="),
    "lower-case": _swap("\nTRY=", "\ntry="),
    "longer-name": _swap("\nTRY=", "\nTRYS="),
    "nul-in-name": _swap("\nTRY=", "\nTRY\0x="),
    "nul-in-left-name": _swap("\nLEFT=", "\nLEFT\0x="),
    "nul-line": _swap("\nTRY=", "\n\0\nTRY="),
    "backslash-in-name": _swap("\nTRY=", "\nT\\RY="),
    "newline-hidden": _swap("\nTRY=", "\\\nTRY="),
    "crlf": _body(lambda body: body.replace(b"\n", b"\r\n")),
    "lines-joined": _body(lambda body: body.replace(b"\n", b" ")),
    # padding
    "padding-nul": lambda block: block.replace(b"#", b"\0").replace(b"\0", b"#", 1),
    "padding-spaces": lambda block: block.rstrip(b"#").ljust(len(block)),
    "padding-not-after-newline": lambda block: block.rstrip(b"#")[:-1].ljust(len(block), b"#"),
    "padding-hidden": lambda block: (block.rstrip(b"#") + b"\\").ljust(len(block), b"#"),
    "tail-newline": _tail(b"\n"),
    "tail-backslash": _tail(b"\\"),
    "tail-letter": _tail(b"x"),
    "tail-nul": _tail(b"\0"),
    "tail-good": _tail(b"\nGOOD=b\n"),
    "tail-left": _tail(b"\nLEFT=1\n"),
    "tail-left-cut": _tail(b"\nLEFT=1"),
    "tail-left-padded": _tail(b"\nLEFT=1\n##"),
    "tail-left-hidden": _tail(b"\\\nLEFT=1\n"),
    "full": _body(lambda body: body + b"X=" + b"y" * (envblock.SIZE - len(envblock.SIGNATURE) - len(body) - 3) + b"\n"),
    "room-for-three": _body(lambda body: body + b"X=" + b"y" * (envblock.SIZE - len(envblock.SIGNATURE) - len(body) - 6)
                            + b"\n"),
    "full-without-left": lambda block: DAMAGES["full"](_swap("\nLEFT=", "\nLEFT\0=")(block)),
}  # fmt: skip
"""Ways in which a copy can be damaged: each takes a whole block and gives what is found instead."""
