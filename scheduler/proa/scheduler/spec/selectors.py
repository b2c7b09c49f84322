"""Label selectors, and how people type them (Kubernetes, "Labels and Selectors", section "API")."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.scheduler.spec.rollout import Operator, Requirement, Selector

_NAME: Final = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_KEY: Final = rf"(?:{_NAME}/)?{_NAME}"
_VALUE: Final = rf"(?:{_NAME})?"
_EQUALITY: Final = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_SET: Final = re.compile(rf"({_KEY})\s+(in|notin)\s*\(\s*({_VALUE}(?:\s*,\s*{_VALUE})*)\s*\)")
_PRESENCE: Final = re.compile(rf"(!?)\s*({_KEY})")
_COMMA: Final = re.compile(r",(?![^(]*\))")
"""A comma that is not within parentheses."""


def matches(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether labels meet all that a selector asks for; an empty selector asks for nothing."""
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    return all(_meets(requirement, labels) for requirement in selector.match_expressions)


def _meets(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case Operator.IN:
            return value in requirement.values
        case Operator.NOT_IN:
            return value not in requirement.values
        case Operator.EXISTS:
            return value is not None
        case Operator.DOES_NOT_EXIST:
            return value is None


def parse(text: str) -> Selector:
    """The selector that a text stands for: ``a=b,c!=d,e in (f,g),h notin (i),j,!k``; an empty one means all nodes.

    Raises:
        ProaError: ``USAGE``, with the part that is none.
    """
    labels: dict[str, str] = {}
    requirements: list[Requirement] = []
    for part in (piece.strip() for piece in _COMMA.split(text) if text.strip()):
        if match := _EQUALITY.fullmatch(part):
            key, operator, value = match.groups()
            if operator == "!=":
                requirements.append(Requirement(key, Operator.NOT_IN, (value,)))
            elif labels.setdefault(key, value) != value:
                raise _wrong(part, f"{key} cannot be both {labels[key]!r} and {value!r}")
        elif match := _SET.fullmatch(part):
            key, operator, values = match.groups()
            kind = Operator.IN if operator == "in" else Operator.NOT_IN
            requirements.append(Requirement(key, kind, tuple(value.strip() for value in values.split(","))))
        elif match := _PRESENCE.fullmatch(part):
            absent, key = match.groups()
            requirements.append(Requirement(key, Operator.DOES_NOT_EXIST if absent else Operator.EXISTS))
        else:
            raise _wrong(part, f"{part!r} is not a requirement")
    return Selector(labels, tuple(requirements))


def _wrong(part: str, what: str) -> ProaError:
    hint = "Write it as for 'kubectl get -l': key=value,key2!=value,key3 in (a,b),key4,!key5."
    return ProaError(Code.USAGE, f"the selector is invalid: {what}", at="--selector", hint=hint)
