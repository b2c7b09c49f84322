"""What pods ask for and are held to: quantities as Kubernetes writes them.

The form of a quantity is that of Kubernetes, "Resource Management for Pods and Containers", section "Resource units".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from proa.scheduler.kube.stream import Object

NAMES: Final = ("cpu", "memory")
_QUANTITY: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(m|[kMGTPE]|[KMGTPE]i)?")
_DECIMAL: Final = {"m": Fraction(1, 1000), "": Fraction(1)} | {
    unit: Fraction(1000) ** power for power, unit in enumerate("kMGTPE", 1)
}
_BINARY: Final = {f"{unit}i": Fraction(1024) ** power for power, unit in enumerate("KMGTPE", 1)}


@dataclass(frozen=True)
class Resources:
    """What a container asks for, and what it is held to, by resource.

    Attributes:
        requests: What is set aside for it.
        limits: What it may use; what has none is not held to any.
    """

    requests: Mapping[str, str]
    limits: Mapping[str, str]

    def but(self, requests: Mapping[str, str], limits: Mapping[str, str]) -> Resources:
        """The same with some of it chosen otherwise."""
        return Resources({**self.requests, **requests}, {**self.limits, **limits})

    @property
    def document(self) -> Object:
        """It as it stands in a container."""
        parts = {"requests": self.requests, "limits": self.limits}
        return {part: {name: written(said) for name, said in chosen.items()} for part, chosen in parts.items()}

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with it: with ``requests`` or ``limits``, and what."""
        for part, chosen in (("requests", self.requests), ("limits", self.limits)):
            for name, said in chosen.items():
                if name not in NAMES:
                    yield part, f"{name!r} is not one of {', '.join(NAMES)}"
                elif not quantity(said):
                    yield part, f"{name}={said} is not a quantity above zero"
        for name, said in self.requests.items():
            wanted, most = quantity(said), quantity(self.limits.get(name, ""))
            if wanted and most and wanted > most:
                yield "requests", f"{name}: the request {said} is above the limit {self.limits[name]}"


SCHEDULER: Final = Resources({"cpu": "100m", "memory": "128Mi"}, {"memory": "512Mi"})
"""5,000 nodes cost it less than 100 MiB (docs/explanation/performance.md)."""
PROXY: Final = Resources({"cpu": "10m", "memory": "64Mi"}, {"memory": "128Mi"})


def quantity(said: str) -> Fraction | None:
    """How much it is: cores, or bytes; none for what is no quantity, or finer than a thousandth."""
    found = _QUANTITY.fullmatch(said)
    if found is None:
        return None
    amount = Fraction(found[1]) * (_DECIMAL | _BINARY)[found[2] or ""]
    return amount if amount % _DECIMAL["m"] == 0 else None


def written(said: str) -> str:
    """A quantity as the API server writes it: else to apply it again would look like a change.

    That is the greatest unit that needs no fraction (Kubernetes, ``resource.Quantity``, "canonical form").
    """
    amount = quantity(said) or Fraction(0)
    binary = said.endswith("i") and amount >= 1024 and amount % 1 == 0
    units = {"": Fraction(1), **_BINARY} if binary else _DECIMAL
    unit = max((unit for unit, size in units.items() if amount % size == 0), key=units.__getitem__)
    return f"{int(amount / units[unit])}{unit}"
