"""The page of the node's and the slots' states, from the agent's one table."""

from __future__ import annotations

from making.markdown import code, page, table

from proa.agent.node.cause import Cause
from proa.agent.node.policy import ASKED, Door, Question
from proa.agent.node.states import RULES, NodeState, SlotState, Trigger
from proa.core.runtime.errors import Code


def agent_states() -> str:
    """docs/reference/agent-states.md."""
    verbs = [trigger for trigger in Trigger if trigger.is_verb]
    happenings = [trigger for trigger in Trigger if not trigger.is_verb]
    return page(
        "States of a node and its slots",
        "`proa-agent status` shows the state. It is derived from the boot state, the running slot and"
        " the agent's record.",
        "## A slot",
        table(["state", "meaning"], [[code(one.value), one.meaning] for one in SlotState]),
        "## A node",
        table(["state", "meaning"], [[code(one.value), one.meaning] for one in NodeState]),
        "## What each verb leads to",
        "A cell holds the state that the verb leads to, or the [code](errors.md) with which it is refused.",
        _transitions(verbs),
        "What happens without a verb:",
        _transitions(happenings),
        "## What a release must satisfy, and where",
        "A release that may no longer run is refused everywhere. Rules about what may be installed do not hold for a"
        " release that has run before: rotated keys or an expired date must not block a rollback.",
        table(
            ["", *(one.value for one in Question)],
            [[door.value, *("yes" if one in ASKED[door] else "" for one in Question)] for door in Door],
        ),
        "A release that becomes forbidden while it is armed is disarmed, and one that is the fallback is no longer one,"
        " at the next verb, boot or start of the agent.",
        "## Why a trial returned",
        "`returned.cause` of `proa-agent status --json`. The most reliable record of the last attempt decides.",
        table(["cause", "meaning"], [[code(one.value), one.meaning] for one in Cause]),
    )


def _transitions(triggers: list[Trigger]) -> str:
    rows = [[code(state.value), *(_cell(state, trigger) for trigger in triggers)] for state in NodeState]
    return table(["", *(trigger.value.strip("()") for trigger in triggers)], rows)


def _cell(state: NodeState, trigger: Trigger) -> str:
    result = RULES[state].get(trigger)
    if result is None:
        return ""
    return code(result.name) if isinstance(result, Code) else result.value
