"""What a model of settings is: a closed table of keys, and files that are rendered from checked values alone."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proa.core.settings.disruption import Disruption
from proa.core.settings.values import Kind

Base = Callable[[str], str]
"""Gives the text of a file of the release by its path; empty if there is none."""


@dataclass(frozen=True)
class Key:
    """What may ever be set.

    Attributes:
        kind: The values that it can have.
        about: What it does, in a few words.
        disruption: What a change of it disturbs.
    """

    kind: Kind
    about: str = ""
    disruption: Disruption = Disruption.NONE


@dataclass(frozen=True)
class Never:
    """What can never be set, whatever a release signs.

    Attributes:
        pattern: A regular expression for the whole key, whose case is ignored.
        why: The reason, for people.
    """

    pattern: str
    why: str


@dataclass(frozen=True)
class Refusal:
    """Why a setting is refused.

    Attributes:
        key: Which, as ``MODEL.KEY``.
        message: What is wrong.
        allowed: What would be accepted; empty if nothing would.
        nearest: The key that is most like it; empty if none is.
    """

    key: str
    message: str
    allowed: str = ""
    nearest: str = ""

    @property
    def text(self) -> str:
        """It in one sentence."""
        more = f"; allowed: {self.allowed}" if self.allowed else ""
        return f"{self.key}: {self.message}{more}" + (f"; did you mean {self.nearest}?" if self.nearest else "")


Part = Mapping[str, Any]
"""What a document asks of one model."""


@dataclass(frozen=True)
class Model:
    """One model.

    Attributes:
        name: Its name in documents.
        about: What it is for, for people.
        keys: The keys that may be allowed.
        render: Makes its files: paths below the generation's folder, with their content.
        never: Keys that people look for and that can never be set, with the reason.
        together: Finds what is wrong between keys, each of which is right by itself.
        links: Where the node's programs look for its files, by the path below the generation's folder.
        restart: Units that are restarted, or reloaded where they can be, when its files have changed.
        argument: What must be on the command line of the units for them to read the files; empty for nothing.
        open_key: Accepts a key that the table does not list, such as a path of ``files``; none for a closed table.
        open_kind: The values of such keys.
        places: Where programs look for files that depend on the keys, by the path below the generation's folder.
    """

    name: str
    about: str
    keys: Mapping[str, Key]
    render: Callable[[Part, Base], Mapping[str, str]]
    never: tuple[Never, ...] = ()
    together: Callable[[Part], list[Refusal]] = field(default=lambda _: [])
    links: Mapping[str, str] = field(default_factory=dict)
    restart: tuple[str, ...] = ()
    argument: str = ""
    open_key: Callable[[str], Key | None] = field(default=lambda _: None)
    open_kind: Kind | None = None
    places: Callable[[Part], Mapping[str, str]] = field(default=lambda _: {})

    def key(self, name: str) -> Key | None:
        """What may be set under a name; none if nothing can."""
        return self.keys.get(name) or (None if self.forbidden(name) else self.open_key(name))

    def placed(self, part: Part) -> Mapping[str, str]:
        """Where programs look for the files that are made of a part, by the path below the generation's folder."""
        return {**self.links, **self.places(part)} if part else {}

    def forbidden(self, name: str) -> str:
        """Why a key can never be set; empty if no such reason is known."""
        found = (one.why for one in self.never if re.fullmatch(one.pattern, name, re.IGNORECASE))
        return next(found, "")

    def nearest(self, name: str) -> str:
        """The key that a mistyped one probably means; empty if none is near."""
        folded = {one.lower(): one for one in self.keys}
        close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.75)
        return folded[close[0]] if close else ""
