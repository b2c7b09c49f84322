"""Whether answers to debconf's questions have an effect: whether a package asks each, and takes the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from proa.builder.config import preseed
from proa.builder.config.near import did_you_mean
from proa.builder.config.preseed import Answer
from proa.builder.engine import sources
from proa.core.runtime.errors import Code, ProaError, ProaErrors


def check(files: Mapping[str, Path], templates: str) -> None:
    """Compare answers with the questions of a tree's packages.

    Args:
        files: The files with answers, by the names that the configuration has for them, in its order.
        templates: debconf's database of questions. A line that no package asks is there too, without a description.

    Raises:
        ProaErrors: ``CONFIG_VALUE`` for each answer that nobody asked for, or that is none of those allowed.
    """
    asked = {one["Name"]: one for one in sources.stanzas(templates) if "Description" in one}
    found = []
    for number, (name, path) in enumerate(files.items()):
        for answer in preseed.answers(path.read_text()):
            for what, hint in _wrong(answer, asked):
                text = f"{name}:{answer.line}: {what}"
                found.append(ProaError(Code.CONFIG_VALUE, text, at=f"system.preseed[{number}]", hint=hint))
    if found:
        raise ProaErrors(found)


def _wrong(answer: Answer, asked: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    question = asked.get(answer.question)
    if question is None:
        hint = did_you_mean(answer.question, asked, "Add the package that asks it to system.packages.")
        yield f"no package asks '{answer.question}'", hint
        return
    kind = question.get("Type", answer.kind)
    if kind != answer.kind:
        yield f"'{answer.question}' is a {kind}, not a {answer.kind}", ""
    choices = question.get("Choices-C", question.get("Choices", ""))
    allowed = [word.strip() for word in choices.split(",")]
    if kind == "select" and choices and "${" not in choices and answer.value not in allowed:
        hint = did_you_mean(answer.value, allowed, f"Choose one of: {', '.join(allowed)}.")
        yield f"'{answer.value}' is not an answer to '{answer.question}'", hint
