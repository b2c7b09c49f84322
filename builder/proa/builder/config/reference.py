"""What is generated from the settings table: the reference page, the JSON schema, the template of ``init``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from proa.builder.config.setting import Section, Setting
from proa.builder.config.settings import SECTIONS

_HEAD: Final = """\
# Settings

`proa.toml` says what goes into an image and how its disk is laid out. This page is generated from the table in
`proa.builder.config.settings`. `proa-build check` reports all errors at once, `proa-build summary` every value with its
origin.
"""

_TEMPLATE_HEAD: Final = """\
# A node image, ready to build:
#   proa-build keys init keys
#   proa-build image --keys keys -o out
# This file lists every setting. Those that are commented out show their default, or an example.
"""

_TEMPLATE: Final = {
    "release.name": "my-node",
    "release.version": "1.0.0",
    "system.packages": ["openssh-server", "systemd-resolved", "systemd-timesyncd"],
    "units.enable": ["systemd-networkd.service"],
}
"""What the template sets; everything else is commented out."""
_LIFE: Final = timedelta(days=365)
"""How long a release that is built today may be installed, as the template proposes it."""

_TEMPLATE_FILES: Final = '''
[[file]]
path = "/etc/systemd/network/80-wired.network"
content = """
[Match]
Type=ether

[Network]
DHCP=yes
"""
'''


def page() -> str:
    """docs/reference/settings.md."""
    return _HEAD + "".join(_section_page(section) for section in SECTIONS)


def schema() -> dict[str, Any]:
    """The JSON schema of proa.toml (draft 2020-12), for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "proa.toml",
        "type": "object",
        "additionalProperties": False,
        "required": ["release"],
        "properties": {section.name: _section_schema(section) for section in SECTIONS},
    }


def template(now: datetime | None = None) -> str:
    """A commented proa.toml that builds as it is.

    Args:
        now: The time: it proposes that the release expires a year later; without one it proposes nothing.
    """
    expires = {"release.expires": f"{now + _LIFE:%Y-%m-%d}T00:00:00Z"} if now else {}
    values = {**_TEMPLATE, **expires}
    return _TEMPLATE_HEAD + "".join(_section_template(section, values) for section in SECTIONS)


def _section_page(section: Section) -> str:
    title = f"[[{section.name}]]" if section.many else f"[{section.name}]"
    many = " May be repeated." if section.many else ""
    rows = "".join(_row(setting) for setting in section.settings)
    head = "| key | meaning | allowed | default |\n| --- | --- | --- | --- |\n"
    return f"\n## `{title}`\n\n{section.doc}{many}\n\n{head}{rows}"


def _row(setting: Setting) -> str:
    cells = (f"`{setting.key}`", setting.doc, setting.kind.allowed, _default(setting))
    return "| " + " | ".join(_cell(text) for text in cells) + " |\n"


def _default(setting: Setting) -> str:
    if setting.required:
        return "required"
    if isinstance(setting.default, list) and len(setting.default) > 3:
        return "<br>".join(f"`{item}`" for item in setting.default)
    return "" if setting.default in ("", []) else f"`{_toml(setting.default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _section_schema(section: Section) -> dict[str, Any]:
    properties = {
        setting.key: setting.kind.schema
        | {"description": setting.doc}
        | ({} if setting.required or setting.default == "" else {"default": setting.default})
        for setting in section.settings
    }
    table = {
        "type": "object",
        "description": section.doc,
        "additionalProperties": False,
        "required": [setting.key for setting in section.settings if setting.required],
        "properties": properties,
    }
    return {"type": "array", "items": table} if section.many else table


def _section_template(section: Section, values: Mapping[str, object]) -> str:
    lines = ["", f"# {section.doc}", f"# [[{section.name}]]" if section.many else f"[{section.name}]"]
    for setting in section.settings:
        lines += _setting_template(setting, values, commented=section.many)
    text = "\n".join(lines) + "\n"
    return text + _TEMPLATE_FILES if section.name == "file" else text


def _setting_template(setting: Setting, values: Mapping[str, object], *, commented: bool) -> Iterator[str]:
    yield f"# {setting.doc}"
    if setting.name in values:
        yield f"{setting.key} = {_toml(values[setting.name])}"
    else:
        value = setting.default if setting.example is None else setting.example
        text = f"{setting.key} = {_toml(value)}"
        yield from (f"#   {line}" if commented else f"# {line}" for line in text.splitlines())


def _toml(value: object) -> str:
    """A value as TOML; JSON's texts, numbers and lists are TOML's too."""
    if isinstance(value, list) and len(json.dumps(value)) > 90:
        return "[\n" + "".join(f"  {json.dumps(item)},\n" for item in value) + "]"
    return json.dumps(value)
