"""GRUB's script as text; what it does is asked of GRUB itself in vm-tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proa.core.runtime import process
from proa.partition.boot import grubscript
from proa.partition.boot.bootstate import FIELDS, RULES, Slot
from proa.partition.disk.layout import Request, plan

SCRIPT = grubscript.script(Slot.A)
WIDTH = 80  # of the firmware's console


@pytest.mark.parametrize("default", Slot)
def test_grub_takes_it_for_a_script(tmp_path: Path, default: Slot) -> None:
    (tmp_path / "grub.cfg").write_text(grubscript.script(default))
    process.run(["grub-script-check", tmp_path / "grub.cfg"])


def test_the_default_slot_is_the_only_difference() -> None:
    pairs = zip(SCRIPT.splitlines(), grubscript.script(Slot.B).splitlines(), strict=True)
    assert [(a, b) for a, b in pairs if a != b] == [
        tuple(f'  proa_decide "($proa_disk,gpt2)/env1" "($proa_disk,gpt2)/env2" {slot.value}' for slot in Slot)
    ]


def test_the_partition_numbers_are_those_of_the_layout() -> None:
    layout = plan(Request(seed="seed"))
    assert layout["STATE"].number == grubscript.STATE_NUMBER
    assert {slot: layout[slot.uki_name].number for slot in Slot} == grubscript.UKI_NUMBERS


def test_every_rule_and_every_field_stands_in_it() -> None:
    for rule in RULES:
        assert f"set proa_rule={rule.name}\n" in SCRIPT
    for field in FIELDS:
        assert f"regexp -- '^{field.pattern}$' \"${field.name}\"" in SCRIPT


def test_the_file_can_set_nothing_but_the_six_variables() -> None:
    names = " ".join(field.name for field in FIELDS)
    loads = re.findall(r"load_env .*", SCRIPT)
    assert loads == [f'load_env --skip-sig --file "$1" {names}; then']


def test_it_never_ends() -> None:
    assert SCRIPT.endswith("  reboot\ndone\n")
    for command in ("menuentry", "configfile", "normal", "exit", "halt", "read"):
        assert not re.search(rf"^\s*{command}\b", SCRIPT, re.MULTILINE)


def test_every_line_on_the_console_has_the_prefix_and_fits() -> None:
    longest = {"seq": "999999999", "rule": max((rule.name for rule in RULES), key=len), "disk": "hd99"}
    for text in re.findall(r'echo "(.*)"', SCRIPT):
        assert text.startswith(grubscript.PREFIX)
        shown = re.sub(r"\$proa_(\w+)", lambda match: longest.get(match[1], "a"), text)
        assert len(shown) < WIDTH or "cmdpath" in shown


def test_every_command_is_in_a_module() -> None:
    commands = {"load_env": "loadenv", "chainloader": "chain", "boot": "boot", "sleep": "sleep", "echo": "echo"}
    commands |= {"reboot": "reboot", "regexp": "regexp", "true": "true", "[": "test"}
    used = set(re.findall(r"(?:^|if |elif |then |while |; )\s*([a-z_\[]+)(?= |;|$)", SCRIPT, re.MULTILINE))
    known = {"set", "unset", "if", "elif", "else", "fi", "function", "while", "do", "done", "then", "save_env"}
    assert {word for word in used if not word.startswith("proa_")} - known <= set(commands)
    assert set(commands.values()) <= set(grubscript.MODULES)
