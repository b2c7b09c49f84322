"""GRUB's script, made from the tables of :mod:`proa.partition.boot.bootstate`.

It becomes ``grub.cfg`` in the memdisk inside the signed GRUB. The decision stands only in :data:`decisions.RULES`;
this module says how GRUB's language (2.06) reads the two copies, spends a try and loads a kernel image. Every line that
the script prints begins with :data:`PREFIX`, so that tests and reports can read the console. It prints on the
firmware's console and opens no serial port itself: firmware that has its console on the port (OVMF, most servers) would
mix every line with its own copy (seen).
"""

from __future__ import annotations

from collections.abc import Iterator

from proa.partition.boot.bootstate import FIELDS, REFUSED, ROUNDS, ROUNDS_MAX, TRIES_MAX, Slot
from proa.partition.boot.decisions import RULES, Boots, Otherwise, Rule
from proa.partition.boot.statefile import ENV_FILES

PREFIX = "proa-grub:"
"""How every line on the console begins."""

MODULES = (
    "boot",
    "chain",
    "echo",
    "fat",
    "loadenv",
    "minicmd",
    "normal",
    "part_gpt",
    "reboot",
    "regexp",
    "sleep",
    "test",
    "true",
)
"""The modules that must be inside GRUB's image: under Secure Boot nothing else can be loaded."""

UKI_PATH = "/EFI/proa/uki.efi"
"""The kernel image in the file system of ``UKI-A`` or ``UKI-B``."""

STATE_NUMBER = 2
"""The number of the partition ``STATE``; numbers are fixed, so nothing is searched for."""

UKI_NUMBERS = {Slot.A: 3, Slot.B: 4}
"""The numbers of the partitions with the kernel images."""

PAUSE = 30
"""Seconds between saying that nothing can be booted and the reboot."""

REPEAT = 60
"""Seconds between two times that a machine which has stopped says so: someone who looks later sees it too."""

_OTHERS = [slot.value + slot.other.value for slot in Slot]  # GOOD and TRY side by side where a trial stands


def script(default: Slot, *, pause: int = PAUSE, repeat: int = REPEAT) -> str:
    """The whole ``grub.cfg``.

    Args:
        default: The slot that boots when neither copy is valid.
        pause: Seconds before the reboot when nothing could be booted.
        repeat: Seconds between two messages of a machine that has stopped.
    """
    return "\n".join(
        [*_head(), decision_script(), *_loader(), *_note_refusal(), *_round(), *_main(default, pause, repeat), ""]
    )


def decision_script() -> str:
    """The functions that decide, without a disk of their own.

    ``proa_decide FILE1 FILE2 DEFAULT`` reads the two copies, writes a try down if one is spent, and sets
    ``proa_copy`` (1, 2, or 0 for none valid), ``proa_rule``, ``proa_slot``, ``proa_trial`` (y or n), ``proa_left``
    and ``proa_fallback`` (a slot, or empty).
    """
    return "\n".join([*_read(), *_keep(), *_spend(), *_pick(), *_rules(), *_decide()])


def _function(name: str, body: list[str]) -> Iterator[str]:
    yield f"function {name} {{"
    yield from ("  " + line for line in body)
    yield "}"


def _read() -> Iterator[str]:
    """Reads one copy; only the names listed are taken, so that the file can set nothing else.

    The ``--`` is needed: ``regexp`` would take a value of ``--help`` for its own option and succeed (seen).
    """
    names = [field.name for field in FIELDS]
    body = ["set proa_valid=n", *(f"unset {name}" for name in names)]
    body.append(f'if load_env --skip-sig --file "$1" {" ".join(names)}; then')
    indent = "  "
    for field in FIELDS:
        body.append(f"""{indent}if regexp -- '^{field.pattern}$' "${field.name}"; then""")
        indent += "  "
    body.append(f'{indent}if [ "$SEQ" = "$END" ]; then set proa_valid=y; fi')
    for _ in FIELDS:
        indent = indent[2:]
        body.append(f"{indent}fi")
    return _function("proa_read", [*body, "fi"])


def _keep() -> Iterator[str]:
    """Keeps what was read as what counts so far; ``$1`` is the copy's number, ``$2`` its file."""
    values = [f'set proa_{field.name.lower()}="${field.name}"' for field in FIELDS if field.name != "END"]
    return _function("proa_keep", ['set proa_copy="$1"', 'set proa_file="$2"', *values])


def _pick() -> Iterator[str]:
    """Copy 2 counts if it is the only valid one, or has the higher SEQ, or the lower LEFT at equal SEQ."""
    return _function(
        "proa_pick",
        [
            "set proa_copy=0",
            'proa_read "$1"',
            'if [ "$proa_valid" = y ]; then proa_keep 1 "$1"; fi',
            'proa_read "$2"',
            'if [ "$proa_valid" = y ]; then',
            '  if [ "$proa_copy" = 0 ]; then proa_keep 2 "$2"',
            '  elif [ "$SEQ" -gt "$proa_seq" ]; then proa_keep 2 "$2"',
            '  elif [ "$SEQ" -eq "$proa_seq" -a "$LEFT" -lt "$proa_left" ]; then proa_keep 2 "$2"',
            "  fi",
            "fi",
        ],
    )


def _spend() -> Iterator[str]:
    """Counts LEFT down in the copy that counts, and reads it back: ``proa_spent`` is y only if it is there."""
    body = ["set proa_spent=n", "unset LEFT"]
    for left in range(1, TRIES_MAX + 1):
        body.append(f'{"if" if left == 1 else "elif"} [ "$proa_left" = {left} ]; then set LEFT={left - 1}')
    names = [field.name.lower() for field in FIELDS if field.name not in ("LEFT", "END")]
    kept = " ".join(f"$proa_{name}" for name in names)
    found = " ".join(f"${name.upper()}" for name in names)
    body += [
        "fi",
        'set proa_want="$LEFT"',
        'if save_env --file "$proa_file" LEFT; then',
        '  proa_read "$proa_file"',
        f'  if [ "$proa_valid" = y -a "{found} $LEFT" = "{kept} $proa_want" ]; then',
        "    set proa_spent=y",
        '    set proa_left="$LEFT"',
        "  fi",
        "fi",
        f'if [ "$proa_spent" = n ]; then echo "{PREFIX} write-failed copy=$proa_copy"; fi',
    ]
    return _function("proa_spend", body)


def _rules() -> Iterator[str]:
    """The decision table, row by row; a row that cannot spend its try lets the next ones decide as if LEFT were 0."""
    body = []
    for rule in RULES:
        body += [f"# {rule.name}: {rule.why}", f'if [ -z "$proa_rule"{_condition(rule)} ]; then']
        take = [f"set proa_rule={rule.name}", *_outcome(rule)]
        if rule.spends:
            body += ["  proa_spend", '  if [ "$proa_spent" = y ]; then']
            body += ["    " + line for line in take]
            body += ["  else set proa_tries=n", "  fi"]
        else:
            body += ["  " + line for line in take]
        body.append("fi")
    return _function("proa_rules", body)


def _condition(rule: Rule) -> str:
    tests = {"proa_known": rule.valid, "proa_on_trial": rule.on_trial, "proa_tries": rule.tries}
    return "".join(f' -a "${name}" = {_yn(want)}' for name, want in tests.items() if want is not None)


def _outcome(rule: Rule) -> list[str]:
    slot = {Boots.TRIAL: "$proa_try", Boots.GOOD: "$proa_good", Boots.DEFAULT: "$proa_default"}[rule.boots]
    fallback = {
        Otherwise.REBOOT: [],
        Otherwise.OTHER_IF_ALT: ['if [ "$proa_alt" = y ]; then proa_other "$proa_slot"; fi'],
        Otherwise.OTHER: ['proa_other "$proa_slot"'],
    }[rule.otherwise]
    return [f'set proa_slot="{slot}"', f"set proa_trial={_yn(rule.boots is Boots.TRIAL)}", *fallback]


def _decide() -> Iterator[str]:
    """``proa_decide FILE1 FILE2 DEFAULT``, and the helper that names the other slot."""
    first, second = Slot
    swap = [f'if [ "$1" = {first.value} ]; then set proa_fallback={second.value}']
    yield from _function("proa_other", [*swap, f"else set proa_fallback={first.value}", "fi"])
    trial = " -o ".join(f'"$proa_good$proa_try" = {pair}' for pair in _OTHERS)
    cleared = [f"set proa_{name}=" for name in ("rule", "fallback", "seq", "good", "try", "left", "alt")]
    yield from _function(
        "proa_decide",
        [
            *cleared,
            *(f"set proa_{name}=n" for name in ("known", "on_trial", "tries")),
            'set proa_default="$3"',
            'proa_pick "$1" "$2"',
            'if [ "$proa_copy" != 0 ]; then',
            "  set proa_known=y",
            f"  if [ {trial} ]; then set proa_on_trial=y; fi",
            '  if [ "$proa_left" != 0 ]; then set proa_tries=y; fi',
            f'  echo "{PREFIX} state copy=$proa_copy seq=$proa_seq good=$proa_good try=$proa_try left=$proa_left'
            ' alt=$proa_alt"',
            "else",
            f'  echo "{PREFIX} state copy=0"',
            "fi",
            "proa_rules",
            f'echo "{PREFIX} boot slot=$proa_slot trial=$proa_trial left=$proa_left copy=$proa_copy rule=$proa_rule'
            ' fallback=$proa_fallback"',
        ],
    )


def _head() -> list[str]:
    return [
        "# Made by proa.partition.boot.grubscript; do not edit.",
        "set pager=0",
        "set timeout=0",
    ]


def _loader() -> Iterator[str]:
    """``proa_load SLOT`` starts the slot's kernel image; it comes back only if that is not possible."""
    body = []
    for slot, number in UKI_NUMBERS.items():
        body += [f'if [ "$1" = {slot.value} ]; then set root="$proa_disk,gpt{number}"; fi']
    body += [
        f'echo "{PREFIX} load slot=$1 from=($root){UKI_PATH}"',
        f'if chainloader "($root){UKI_PATH}"; then boot; fi',
        f'echo "{PREFIX} cannot-load slot=$1"',
    ]
    return _function("proa_load", body)


def _note_refusal() -> Iterator[str]:
    """``proa_note_refusal`` writes down that this try never started, so that the good slot can tell why it ended."""
    note = f'save_env --file "$proa_file" {REFUSED}'
    failed = f'echo "{PREFIX} write-failed copy=$proa_copy"'
    return _function("proa_note_refusal", [f'set {REFUSED}="$proa_left"', f"if {note}; then true; else {failed}; fi"])


def _round() -> Iterator[str]:
    """``proa_round`` counts a round in which nothing could be booted; ``proa_again`` is y if there may be another.

    What cannot be counted cannot end, so it is not begun.
    """
    body = ["set proa_again=n", f"unset {ROUNDS}", 'if [ -n "$proa_copy" -a "$proa_copy" != 0 ]; then']
    body.append(f'  if load_env --skip-sig --file "$proa_file" {ROUNDS}; then true; fi')
    body.append(f'  set proa_rounds="${ROUNDS}"')
    for number in range(1, ROUNDS_MAX):
        body.append(
            f'  {"if" if number == 1 else "elif"} [ "$proa_rounds" = {number} ]; then set {ROUNDS}={number + 1}'
        )
    body += [
        f'  elif [ "$proa_rounds" = {ROUNDS_MAX} ]; then unset {ROUNDS}',
        f"  else set {ROUNDS}=1",
        "  fi",
        f'  if [ -n "${ROUNDS}" ]; then',
        f'    set proa_want="${ROUNDS}"',
        f'    if save_env --file "$proa_file" {ROUNDS}; then',
        f"      unset {ROUNDS}",
        f'      if load_env --skip-sig --file "$proa_file" {ROUNDS}; then',
        f'        if [ "${ROUNDS}" = "$proa_want" ]; then set proa_again=y; fi',
        "      fi",
        f'    else echo "{PREFIX} write-failed copy=$proa_copy"',
        "    fi",
        "  fi",
        "fi",
    ]
    return _function("proa_round", body)


def _main(default: Slot, pause: int, repeat: int) -> list[str]:
    state = f"($proa_disk,gpt{STATE_NUMBER})"
    files = " ".join(f'"{state}{name}"' for name in ENV_FILES)
    return [
        "set proa_trial=n",
        """if regexp --set=1:proa_disk '^\\(([a-z0-9]+),' "$cmdpath"; then""",
        f"  proa_decide {files} {default.value}",
        '  proa_load "$proa_slot"',
        '  if [ "$proa_trial" = y ]; then proa_note_refusal; fi',
        '  if [ -n "$proa_fallback" ]; then proa_load "$proa_fallback"; fi',
        f'else echo "{PREFIX} no-disk cmdpath=$cmdpath"',
        "fi",
        'if [ "$proa_trial" = n ]; then proa_round; fi',
        "while true; do",
        f'  if [ "$proa_trial" = y ]; then echo "{PREFIX} reboot: the try is used up"',
        "    reboot",
        '  elif [ "$proa_again" = y ]; then',
        f'    echo "{PREFIX} NOTHING CAN BE BOOTED FROM THIS DISK; reboot in {pause} seconds"',
        f"    sleep {pause}",
        "    reboot",
        "  else",
        f'    echo "{PREFIX} STOPPED: NOTHING CAN BE BOOTED FROM THIS DISK"',
        f'    echo "{PREFIX} repair it and switch the machine off and on"',
        f"    sleep {repeat}",
        "  fi",
        "done",
    ]


def _yn(value: bool) -> str:
    return "y" if value else "n"
