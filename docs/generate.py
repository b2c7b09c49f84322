"""``make docs``: writes ``docs/reference`` from the code.

``--check`` names what is out of date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from making import schemas
from making.agent import agent_states
from making.cluster import metrics_page, object_page, reasons_page
from making.commands import commands
from making.families import families_page
from making.formats import layout_page, release_page
from making.markdown import code, page, table
from making.node import credentials
from making.node_settings import document_schema, node_settings

from proa.agent.api import routes as agent_api
from proa.agent.orders import routes as order_api
from proa.builder.config import reference as settings
from proa.core.runtime.errors import Code
from proa.partition.boot.reference import reference as boot_state
from proa.scheduler.spec.crd import NODES, ROLLOUTS
from proa.vm.machine.console_patterns import BAD_SIGNS, BadSign

NOTHING = BadSign("", "", "").but
FOLDER = Path(__file__).resolve().parent / "reference"


def errors() -> str:
    """docs/reference/errors.md."""
    rows = [
        [code(one.name), str(int(one.value.exit)), one.value.summary, one.value.hint]
        for one in sorted(Code, key=lambda one: (one.value.exit, one.name))
    ]
    return page(
        "Errors",
        "Every error that you can meet has a stable code. [Commands](commands.md) explains the exit "
        "statuses. An error may give a more precise hint than the one here.",
        table(["code", "exit", "what happened", "hint"], rows),
    )


def bad_signs() -> str:
    """docs/reference/bad-signs.md."""
    rows = [
        [code(sign.name), sign.reason, code(sign.pattern), code(sign.but) if sign.but != NOTHING else ""]
        for sign in BAD_SIGNS
    ]
    return page(
        "Bad signs",
        "No console may show these patterns unless a test expects them (`@pytest.mark.bad_signs`). "
        "They are matched against single lines of the console.",
        table(["name", "why it is bad", "pattern", "but not"], rows),
    )


def _text(document: Mapping[str, object]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "agent-states.md": agent_states,
    "bad-signs.md": bad_signs,
    "boot-state.md": boot_state,
    "commands.md": commands,
    "credentials.md": credentials,
    "errors.md": errors,
    "fault-families.md": families_page,
    "json.md": schemas.json_page,
    "layout.md": layout_page,
    "metrics.md": metrics_page,
    "node-settings.md": node_settings,
    "nodeos.md": lambda: object_page(NODES),
    "osrollout.md": lambda: object_page(ROLLOUTS),
    "reasons.md": reasons_page,
    "release.md": release_page,
    "settings.md": settings.page,
    "openapi-agent.json": lambda: _text(agent_api.description()),
    "openapi-orders.json": lambda: _text(order_api.description()),
    "settings-document.schema.json": lambda: _text(document_schema()),
    "proa.toml.schema.json": lambda: _text(settings.schema()),
}


def everything() -> dict[Path, str]:
    """Every generated file with its content."""
    pages = {FOLDER / name: make() for name, make in PAGES.items()}
    return pages | {FOLDER / "schemas" / name: text for name, text in schemas.files().items()}


def main() -> int:
    """Write what differs, or with ``--check`` only name it."""
    wanted = everything()
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    left = sorted(set((FOLDER / "schemas").glob("*.json")) - set(wanted))
    for path in [*stale, *left]:
        print(path.relative_to(FOLDER.parents[1]))
    if "--check" in sys.argv[1:]:
        return int(bool(stale or left))
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
    for path in left:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
