"""Errors: every code is complete, and an error says the same to people and to programs."""

from __future__ import annotations

import json

import pytest

from proa.core.runtime.errors import Code, Exit, ProaError, ProaErrors


@pytest.mark.parametrize("code", list(Code), ids=lambda code: str(code.name))
def test_every_code_is_complete(code: Code) -> None:
    assert code.name.replace("_", "").isupper()
    assert code.value.exit is not Exit.DONE
    assert code.value.summary.endswith(".")
    assert code.value.hint.endswith(".") or "://" in code.value.hint
    assert ProaError(code).exit is code.value.exit


def test_no_code_is_another_name_of_one() -> None:
    """An enum makes members of equal value one and the same."""
    assert len(Code.__members__) == len(list(Code))


def test_an_error_without_words_has_those_of_its_code() -> None:
    error = ProaError(Code.BUSY)
    assert (error.message, error.at, error.hint) == (Code.BUSY.value.summary, "", Code.BUSY.value.hint)
    assert str(error) == error.message


def test_the_text_has_what_where_and_hint() -> None:
    error = ProaError(Code.TOO_LARGE, "9 bytes, the slot has 8", at="/dev/vda5", hint="Take some away.")
    assert error.text("proa-agent") == (
        "proa-agent: error[TOO_LARGE]: 9 bytes, the slot has 8\n  at: /dev/vda5\n  hint: Take some away."
    )


def test_the_text_leaves_out_a_place_that_is_not_known() -> None:
    assert "at:" not in ProaError(Code.BUSY).text("proa")


def test_what_a_stranger_said_does_nothing_to_a_terminal() -> None:
    error = ProaError(Code.REGISTRY, "said \x1b[2J\ud800\nmore", at="\x07there", hint="a\rb")
    assert error.message == "said \\x1b[2J\\ud800\nmore"
    assert (error.at, error.hint) == ("\\x07there", "a\\rb")
    error.text("proa").encode()


def test_the_document_is_json_with_the_promised_keys() -> None:
    found = json.loads(json.dumps(ProaError(Code.DIGEST, "no", at="frame 3").document()))
    assert list(found) == ["schema", "proa", "code", "message", "at", "hint", "exit"]
    assert (found["schema"], found["code"], found["exit"], found["at"]) == ("proa.error/v1", "DIGEST", 3, "frame 3")


def test_several_errors_are_told_together() -> None:
    errors = [ProaError(Code.CONFIG_VALUE, "one", at="a:1"), ProaError(Code.CONFIG_UNKNOWN_KEY, "two", at="a:2")]
    bundle = ProaErrors(errors)
    assert bundle.code is Code.CONFIG
    assert bundle.exit is Exit.USAGE
    assert bundle.text("proa") == errors[0].text("proa") + "\n" + errors[1].text("proa")
    found = bundle.document()
    assert found["message"] == "2 errors"
    assert [one["code"] for one in found["errors"]] == ["CONFIG_VALUE", "CONFIG_UNKNOWN_KEY"]


def test_a_bundle_of_one_is_that_one() -> None:
    one = ProaError(Code.CONFIG_VALUE, "one", at="a:1", hint="Mend it.")
    bundle = ProaErrors([one])
    assert (bundle.code, bundle.message, bundle.at, bundle.hint) == (one.code, one.message, one.at, one.hint)
    assert bundle.document()["errors"] == [one.document()]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Code.NETWORK, Exit.NETWORK),
        (Code.REGISTRY, Exit.NETWORK),
        (Code.MIRROR, Exit.NETWORK),
        (Code.CLUSTER, Exit.NETWORK),
        (Code.CLUSTER_BUSY, Exit.NETWORK),
        (Code.NOT_FOUND, Exit.PERMANENT),
        (Code.AUTH, Exit.PERMANENT),
        (Code.CLUSTER_AUTH, Exit.PERMANENT),
        (Code.AUTH_FILE, Exit.USAGE),
    ],
)
def test_p07_only_what_may_work_on_another_attempt_has_the_status_for_that(code: Code, status: Exit) -> None:
    assert code.value.exit is status
