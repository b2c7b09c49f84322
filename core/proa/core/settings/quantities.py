"""Kinds of values as Kubernetes writes quantities: durations, amounts, sets of processors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

_QUANTITY: Final = re.compile(r"([1-9][0-9]{0,14})(Ki|Mi|Gi|Ti|k|M|G|T)?")
_PERCENT: Final = re.compile(r"[1-9][0-9]?%")
_DURATION: Final = re.compile(r"(?:([0-9]{1,4})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,6})s)?")
_UNITS: Final = {
    "": 1,
    **{unit: 1000**power for power, unit in enumerate(("k", "M", "G", "T"), 1)},
    **{unit: 1024**power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti"), 1)},
}
_CPUS: Final = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?")
_LONGEST: Final = 255
"""Characters of a list of processors."""


@dataclass(frozen=True)
class Duration:
    """A length of time as Go writes it: ``1h30m``, ``45s``."""

    low: int
    high: int

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return f"a duration such as '5m' or '1h30m', {self.low} to {self.high} seconds"

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        found = seconds(value) if isinstance(value, str) else None
        return found is not None and self.low <= found <= self.high

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {"type": "string", "pattern": f"^(?=.){_DURATION.pattern}$"}


@dataclass(frozen=True)
class Amount:
    """A quantity of bytes as Kubernetes writes it (``100Mi``), a count, or a part of the whole (``10%``)."""

    percent: bool = False
    least: int = 1
    most: int = 1 << 40

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        most = f"{self.most >> 40}Ti" if self.most >= 1 << 40 else str(self.most)
        more = " or a percentage such as '10%'" if self.percent else ""
        least = f"at least {self.least} and " if self.least > 1 else ""
        return f"a quantity such as '500Mi', {least}at most {most},{more}".removesuffix(",")

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        if not isinstance(value, str):
            return False
        if self.percent and _PERCENT.fullmatch(value):
            return True
        found = _QUANTITY.fullmatch(value)
        return found is not None and self.least <= int(found[1]) * _UNITS[found[2] or ""] <= self.most

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        either = f"(?:{_QUANTITY.pattern})" + (f"|(?:{_PERCENT.pattern})" if self.percent else "")
        return {"type": "string", "pattern": f"^(?:{either})$"}


@dataclass(frozen=True)
class CpuSet:
    """Processors as the kernel lists them: ``0-3,8`` (cpuset(7), "List format"), in ascending order."""

    @property
    def allowed(self) -> str:
        """What is accepted, for people."""
        return "processors such as '0-1,4'"

    def fits(self, value: Any) -> bool:
        """Whether a value is accepted."""
        if not isinstance(value, str) or len(value) > _LONGEST:
            return False
        last = -1
        for part in value.split(","):
            found = _CPUS.fullmatch(part)
            if found is None or int(found[1]) <= last or int(found[2] or found[1]) < int(found[1]):
                return False
            last = int(found[2] or found[1])
        return True

    def schema(self) -> dict[str, Any]:
        """It as JSON Schema."""
        return {"type": "string", "pattern": "^[0-9,-]+$", "maxLength": _LONGEST}


def seconds(text: str) -> int | None:
    """The seconds of a duration as Go writes it, in whole units; none if it is no such text."""
    found = _DURATION.fullmatch(text) if text else None
    if found is None:
        return None
    hours, minutes, rest = (int(one or 0) for one in found.groups())
    return 3600 * hours + 60 * minutes + rest
