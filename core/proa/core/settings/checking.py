"""Everything that is wrong with a document, at once: nothing of it is applied before all of it is right."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.printable import printable
from proa.core.settings.allow_list import AllowList
from proa.core.settings.document import Document
from proa.core.settings.model import Model, Refusal
from proa.core.settings.registry import MODELS
from proa.core.settings.secrets import looks_secret

SHOWN: Final = 80
"""Characters of a value that an error shows."""


def check(document: Document, allow: AllowList) -> tuple[Refusal, ...]:
    """What the document asks for and may not, in the order of the document; none if all of it may be applied."""
    return tuple(_refusals(document, allow))


def require(document: Document, allow: AllowList, at: object = "") -> None:
    """Refuse a document that asks for what may not be set.

    Raises:
        ProaError: ``SETTINGS_REFUSED`` with every reason.
    """
    found = check(document, allow)
    if found:
        raise ProaError(Code.SETTINGS_REFUSED, "; ".join(one.text for one in found), at=at)


def _refusals(document: Document, allow: AllowList) -> Iterator[Refusal]:
    for name, part in document.models.items():
        model = MODELS.get(name)
        if model is None:
            near = difflib.get_close_matches(name, MODELS, n=1)
            yield Refusal(_shown(name), "there is no such model", ", ".join(MODELS), near[0] if near else "")
            continue
        right = {}
        for key, value in part.items():
            found = list(_of_key(model, key, value, allow))
            yield from found
            if not found:
                right[key] = value
        yield from model.together(right)


def _of_key(model: Model, key: str, value: object, allow: AllowList) -> Iterator[Refusal]:
    name = f"{model.name}.{_shown(key)}"
    if reason := model.forbidden(key):
        yield Refusal(name, f"it can never be set: {reason}")
        return
    if model.key(key) is None:
        near = model.nearest(key)
        yield Refusal(name, f"{model.name} has no such key", nearest=f"{model.name}.{near}" if near else "")
        return
    allowed = allow.allows(model.name, key)
    if allowed is None:
        yield Refusal(name, "the release does not allow it", ", ".join(sorted(allow.models.get(model.name, {}))))
    elif looks_secret(value):
        yield Refusal(name, "it looks like a key, token or password; give secrets to a node as credentials")
    elif not allowed.kind.fits(value):
        yield Refusal(name, f"{_shown(repr(value))} is not allowed", allowed.kind.allowed)


def _shown(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= SHOWN else shown[: SHOWN - 1] + "…"
