"""The description of an API (OpenAPI 3.1), made of the table of what it serves and of the dataclasses it speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from proa.core.runtime.errors import ErrorReport

PATH: Final = "/v1/openapi.json"
_JSON: Final = "application/json"
_LINES: Final = "application/jsonl"


@dataclass(frozen=True)
class Operation:
    """What is served at one method and path.

    Attributes:
        name: Its name, also of what serves it.
        method: The HTTP method.
        path: The path.
        summary: What it does.
        answer: What it answers with.
        request: What stands in the body; None for nothing.
        needed: Whether there must be a body.
        status: The status of the answer.
        stream: Whether the answer goes on, one document a line.
        query: Names and descriptions of numbers that may stand behind the ``?``.
        answers: What its lines may be besides.
    """

    name: str
    method: str
    path: str
    summary: str
    answer: type
    request: type | None = None
    needed: bool = False
    status: int = 200
    stream: bool = False
    query: tuple[tuple[str, str], ...] = ()
    answers: tuple[type, ...] = ()

    def described(self) -> dict[str, Any]:
        """As OpenAPI has it."""
        done = "The stream." if self.stream else {200: "Done.", 202: "Begun."}[self.status]
        found: dict[str, Any] = {"summary": self.summary, "operationId": self.name}
        if self.query:
            number = {"type": "integer", "minimum": 0}
            found["parameters"] = [
                {"name": name, "in": "query", "required": False, "schema": number, "description": what}
                for name, what in self.query
            ]
        if self.request:
            found["requestBody"] = {"required": self.needed, "content": _content(_reference(self.request))}
        answer = _content(_reference(self.answer, *self.answers), _LINES if self.stream else _JSON)
        wrong = _content(_reference(ErrorReport))
        return found | {
            "responses": {
                str(self.status): {"description": done, "content": answer},
                "default": {"description": "An error; the HTTP status follows its exit status.", "content": wrong},
            }
        }


def describe(title: str, what: str, socket: str, operations: Sequence[Operation]) -> dict[str, Any]:
    """The description of an API that is served at a socket.

    Args:
        title: Its name.
        what: What it is, and who may use it.
        socket: The path of the socket.
        operations: What it serves.
    """
    from proa.core.schema.json_schema import components  # seldom needed: not before somebody asks

    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = one.described()
    itself = {"200": {"description": "Done.", "content": _content({"type": "object"})}}
    paths[PATH] = {"get": {"summary": "This document.", "operationId": "openapi", "responses": itself}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": "1.0.0",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": what,
        },
        "servers": [{"url": "http://localhost", "description": f"Over {socket}."}],
        "paths": paths,
        "components": {
            "schemas": components(
                [ErrorReport, *(kind for one in operations for kind in (one.answer, *one.answers))],
                [one.request for one in operations if one.request],
            )
        },
    }


def _content(schema: dict[str, Any], kind: str = _JSON) -> dict[str, Any]:
    return {kind: {"schema": schema}}


def _reference(*kinds: type) -> dict[str, Any]:
    found = [{"$ref": f"#/components/schemas/{cls.__name__}"} for cls in kinds]
    return found[0] if len(found) == 1 else {"anyOf": found}
