"""Settings and releases: a release is not armed unless it allows what the node is set to, and may bring settings along.

What it brings along stands in the order that armed it. The trial sets it before the agent reports that it is ready, and
commits it at once: settings lie in the /etc of the slot, so a trial that returns returns to the settings before.
"""

from __future__ import annotations

from proa.agent.node.failure import HealthFailure
from proa.agent.node.record import SlotRecord
from proa.agent.node.view import Context, View, known_slot
from proa.agent.settings.engine import Engine
from proa.core.orders.messages import Action
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Note
from proa.core.settings import allow_list
from proa.core.settings.checking import check
from proa.core.settings.document import Document, parse


def check_next(context: Context, known: SlotRecord, brought: Document | None = None) -> None:
    """Refuse to arm a release that does not allow the settings that it would run with.

    Args:
        context: The context.
        known: The release; of one whose list is not known, only its own trial can tell.
        brought: The settings that it brings along; without them it gets the committed ones.

    Raises:
        ProaError: ``SETTINGS_REFUSED`` with everything that it does not allow, ``SETTINGS_OLDER``.
    """
    engine = Engine(context)
    if brought is not None:
        engine.check_revision(brought)
    if known.settings is None:
        return
    at = f"the settings that release {known.version} allows"
    allowed = allow_list.of_json(known.settings.encode(), at) if known.settings else allow_list.NOTHING
    found = check(engine.committed if brought is None else brought, allowed)
    if found:
        whose = "that the node has" if brought is None else "of the order"
        what = f"release {known.version} does not allow settings {whose}: {'; '.join(one.text for one in found)}"
        hint = "Change these settings first, or allow them in [settings] of the release's proa.toml."
        raise ProaError(Code.SETTINGS_REFUSED, what, hint=hint)


def brought(view: View) -> Document | None:
    """The settings of the order that had the running release tried; none if it brought none.

    Raises:
        ProaError: ``SETTINGS_INVALID``.
    """
    accepted = view.record.order
    if accepted is None or accepted.order.action is not Action.BOOT or not accepted.order.settings:
        return None
    running = known_slot(view, view.booted) if view.booted else None
    return parse(accepted.order.settings) if running and running.manifest == accepted.digest else None


def bring(context: Context, view: View) -> HealthFailure | None:
    """Set what the trial brings along; why that failed, for which the trial returns.

    Raises:
        ProaError: ``BUSY``, after which it is to be tried again.
    """
    try:
        if (document := brought(view)) is not None:
            Engine(context).apply(document, commit=True)
            context.monitor.emit(Note(f"settings {document.digest[:12]} came along with the release"))
    except ProaError as error:
        if error.code is Code.BUSY:
            raise
        return HealthFailure("settings", f"{error.code.name}: {error.message}")
    return None


def refused(context: Context) -> tuple[HealthFailure, ...]:
    """The settings of the node that the running release does not allow."""
    return tuple(HealthFailure(f"setting {one.key}", one.message) for one in Engine(context).report().refused)
