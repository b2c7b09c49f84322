"""What a spec may not say, as rules of the custom resource: an expression (CEL), and what to write instead.

``contradictions`` asks the same where no API server has looked.
"""

from __future__ import annotations

import re
from typing import Final

from proa.core.orders.messages import LEAST_RATE, RELEASE

CONTROL_PLANE: Final = "node-role.kubernetes.io/control-plane"
"""The label of nodes of the control plane."""
NAME: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
"""A label of a DNS name (RFC 1123), as names of objects are made of."""
SUBDOMAIN: Final = rf"{NAME}(\.{NAME})*"
"""Several of them, with dots between."""
KEY: Final = rf"^({SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$"
"""A key: a name, with the domain of its owner before it or without."""
VALUE: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
"""A value; it may be empty."""
_MAX_DOMAIN: Final = 253
Rule = dict[str, str]


def _rule(rule: str, message: str) -> Rule:
    return {"rule": rule, "message": message}


# a single field

DIGEST: Final = _rule(
    f"self.matches(r'{RELEASE}')",
    "release needs a digest: HOST/NAME[:TAG]@sha256:... ('kubectl proa start' resolves a tag)",
)
LABEL_KEY: Final = _rule(f"self.matches(r'{KEY}')", "a label's key is a name such as role or example.com/role")
LABEL_KEYS: Final = _rule(f"self.all(key, key.matches(r'{KEY}'))", LABEL_KEY["message"])
LABEL_VALUE: Final = _rule(
    f"self.matches(r'{VALUE}')",
    "a label's value has only letters, digits, '-', '_' and '.', and starts and ends with a letter or digit",
)
NAMESPACE: Final = _rule(f"self.matches(r'^{NAME}$')", "namespace must be a name such as kube-system")
OBJECT_NAME: Final = _rule(f"self.matches(r'^{SUBDOMAIN}$')", "name must be a name such as kube-proxy")
ALERT_NAME: Final = _rule(f"self.matches(r'^{NAME}$')", "name must be a name such as critical or shop-latency")
GROUP_NAME: Final = _rule(f"self.matches(r'^{NAME}$')", "name must be a name such as edge or stores-1")
NO_WEEKS: Final = _rule("duration(self) <= duration('168h')", "expectedDuration must be at most a week: 168h")

# fields that do not go together

VALUES_MISSING: Final = _rule(
    "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)",
    "In and NotIn need values: add them, or use the operator Exists or DoesNotExist",
)
VALUES_UNUSED: Final = _rule(
    "self.operator in ['In', 'NotIn'] || !has(self.values) || size(self.values) == 0",
    "Exists and DoesNotExist take no values: leave them out, or use the operator In or NotIn",
)
WINDOW_OF_NOTHING: Final = _rule("duration(self.duration) > duration('0s')", "duration must be more than 0s")
WINDOW_OF_WEEKS: Final = _rule("duration(self.duration) <= duration('168h')", "duration must be at most a week: 168h")
SOAK: Final = _rule(
    "(self.nodes != 0 && self.nodes != '0%') || duration(self.soak) == duration('10m')",
    "there are no canaries that could soak: set nodes, or leave out soak (it is then 10m)",
)
GROUP_OF_ALL: Final = _rule(
    "(has(self.nodeSelector.matchLabels) && size(self.nodeSelector.matchLabels) > 0)"
    " || (has(self.nodeSelector.matchExpressions) && size(self.nodeSelector.matchExpressions) > 0)",
    "a group needs a nodeSelector: write one, or leave the group out, because nodes in no group come last anyway",
)
ZONE_SOAK: Final = _rule(
    "self.zones != 'Ignore' || duration(self.zoneSoak) == duration('0s')",
    "zones that do not take turns cannot soak: leave out zoneSoak, or write zones: OneAtATime",
)
STAGING_OF_NOTHING: Final = _rule(
    "duration(self.timeout) > duration('0s')", "a node cannot fetch a release in no time: write a timeout such as 1h"
)
STAGING_TOO_SLOW: Final = _rule(
    f"!has(self.bytesPerSecond) || self.bytesPerSecond == 0 || self.bytesPerSecond >= {LEAST_RATE}",
    f"bytesPerSecond must be at least {LEAST_RATE}: registries give up slower connections; 0 is no limit",
)
WAIT_FOR_ALL: Final = _rule(
    "(has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0)"
    " || (has(self.selector.matchExpressions) && size(self.selector.matchExpressions) > 0)",
    "most pods never finish: write a selector of those that do, or leave out waitFor",
)
WAIT_NO_TIME: Final = _rule(
    "duration(self.timeout) > duration('0s')", "no pod finishes in no time: write a timeout, or leave out waitFor"
)
DRAIN_OF_NOTHING: Final = _rule(
    "self.onTimeout == 'Force' || duration(self.timeout) > duration('0s')",
    "a pod cannot move in no time: write a timeout such as 15m, or onTimeout: Force",
)
READY_TOO_LATE: Final = _rule(
    "self.readySeconds < duration(self.timeout).getSeconds()",
    "a node cannot be Ready for readySeconds within timeout, which starts before its reboot: write a longer timeout",
)
NEVER_BACK: Final = _rule(
    "self.action != 'Rollback' || self.max != '100%'",
    "nothing rolls back while all nodes may fail: write a max below 100%, or leave out the action",
)
ALL_SHUT: Final = _rule(
    "!has(self.budgets) || size(self.budgets) == 0"
    " || self.budgets.exists(one, one.maxUnavailable != 0 && one.maxUnavailable != '0%')",
    "no window allows an unavailable node, and outside of windows no node starts: add a budget that allows some",
)
NONE_LEFT: Final = _rule(
    "self.order.controlPlane != 'Exclude' || !("
    f"(has(self.nodeSelector.matchLabels) && '{CONTROL_PLANE}' in self.nodeSelector.matchLabels)"
    " || (has(self.nodeSelector.matchExpressions) && self.nodeSelector.matchExpressions.exists(one,"
    f" one.key == '{CONTROL_PLANE}' && one.operator in ['In', 'Exists'])))",
    "nodeSelector selects control-plane nodes, but order.controlPlane excludes them: write First or Last",
)


def is_key(text: str) -> bool:
    """Whether a text can be the key of a label."""
    return re.fullmatch(KEY, text) is not None and len(text.rpartition("/")[0]) <= _MAX_DOMAIN


def is_value(text: str) -> bool:
    """Whether a text can be the value of a label."""
    return re.fullmatch(VALUE, text) is not None
