"""The pages of the cluster's side: its objects, the reasons why a node does or does not move, and the metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from making.markdown import code, page, table
from prometheus_client.core import Metric

from proa.core.orders.messages import RELEASE
from proa.core.runtime.change_signal import ChangeSignal
from proa.core.runtime.duration import PATTERN as DURATION
from proa.scheduler.control.metrics import Metrics
from proa.scheduler.control.sources import Sources
from proa.scheduler.install import render
from proa.scheduler.install.settings import InstallSettings
from proa.scheduler.kube.tally import Tally
from proa.scheduler.planning.reasons import Reason
from proa.scheduler.spec.amounts import PATTERN as PERCENT
from proa.scheduler.spec.crd import NODES, Resource
from proa.scheduler.testing.server import NoServer

Schema = Mapping[str, Any]


_ROOT = "Kubernetes' own fields (`apiVersion`, `kind`, `metadata`) are left out. An unknown field of `spec` is"
_PATTERNS = {
    DURATION: "a duration such as `90s`, `15m`, `1h30m`",
    RELEASE: "`HOST/NAME[:TAG]@sha256:...`",
    f"^$|{RELEASE}": "`HOST/NAME[:TAG]@sha256:...`, or empty",
    r"^(sha256:[0-9a-f]{64})?$": "`sha256:...`, or empty",
    r"^([0-9a-f]{64})?$": "64 hexadecimal digits, or empty",
    PERCENT: "a number, or a percentage such as `25%`",
}


def object_page(resource: Resource) -> str:
    """docs/reference/osrollout.md, docs/reference/nodeos.md."""
    (version,) = resource.definition["spec"]["versions"]
    root = version["schema"]["openAPIV3Schema"]
    names = f"`kubectl get {resource.plural}`, for short `{'`, `'.join(resource.short)}`."
    columns = [
        [name.removeprefix("*"), code(path), "`-o wide`" if name[0] == "*" else ""]
        for name, _, path in resource.columns
    ]
    rules = [[code(path or "the object"), rule["message"], code(rule["rule"])] for path, rule in _rules(root)]
    return page(
        resource.kind,
        f"{root['description']} The API server serves it at `{resource.path}`, for the whole cluster. {names}",
        f"{_ROOT} refused when it is written with `fieldValidation=Strict`, as `kubectl` does. `kubectl explain"
        f" {resource.plural}.spec` shows the same.",
        "## Spec",
        _fields(root["properties"]["spec"], "spec", defaults=True),
        "## Status",
        _fields(root["properties"]["status"], "status", defaults=False),
        "## What is refused",
        "The API server itself refuses these, with this message; it also checks types, limits and names.",
        table(["at", "message", "rule"], rules),
        *(["## What the admission policies refuse", policies_page()] if resource is NODES else []),
        "## Columns",
        table(["column", "from", "only with"], columns),
    )


def reasons_page() -> str:
    """docs/reference/reasons.md."""
    return page(
        "Reasons",
        "Why a node does or does not move. `kubectl proa explain NODE` prints these reasons, and "
        "`proa_nodes` counts them. Names never change their meaning; new ones are only added.",
        table(["reason", "what", "who can change it"], [[code(one.name), one.text, one.who] for one in Reason]),
    )


def metrics_page() -> str:
    """docs/reference/metrics.md."""
    metrics = Metrics(Sources.of(NoServer(), ChangeSignal()), Tally(), lambda: True, lambda: 0)
    found = sorted(metrics.registry.collect(), key=lambda one: one.name)
    rows = [[code(_name(one)), one.type, _labels(one), one.documentation] for one in found]
    return page(
        "Metrics",
        "What `proa-scheduler run` reports at `/metrics`, in Prometheus' text format. Only the leader"
        " reports about rollouts and nodes. See [how to read the "
        "metrics](../how-to/read-the-metrics.md).",
        table(["metric", "type", "labels", "what"], rows),
        "`state` is a [reason](reasons.md), `phase` a phase of an [OSRollout](osrollout.md), `kind` "
        "what blocks the drain: `pod`, `budget` or `volume`.",
    )


def policies_page() -> str:
    """What the admission policies refuse: a part of docs/reference/nodeos.md."""
    found = [
        one for one in render.part("policies.yaml", InstallSettings()) if one["kind"] == "ValidatingAdmissionPolicy"
    ]
    rows = [
        [code(one["metadata"]["name"]), code(one["spec"]["matchConditions"][0]["expression"]), rule["message"]]
        for one in found
        for rule in one["spec"]["validations"]
    ]
    return table(["policy", "of requests with", "message"], rows)


def _name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def _labels(metric: Metric) -> str:
    names = getattr(metric, "_labelnames", ())
    return ", ".join(code(name) for name in names)


def _fields(schema: Schema, path: str, *, defaults: bool) -> str:
    head = ["field", "type", *(["default"] if defaults else []), "limits", "what"]
    return table(head, _rows(schema, path, defaults))


def _rows(schema: Schema, path: str, defaults: bool) -> Iterator[list[str]]:
    required = schema.get("required", ())
    for name, value in schema["properties"].items():
        inner, place = value, f"{path}.{name}"
        if value.get("type") == "array":
            inner, place = value["items"], place + "[]"
        default = [] if not defaults else ["required" if name in required else _default(value)]
        yield [code(place), _type(value), *default, _limits(value), value["description"]]
        if inner.get("properties"):
            yield from _rows(inner, place, defaults)


def _type(value: Schema) -> str:
    if value.get("x-kubernetes-int-or-string"):
        return "number or text"
    if "enum" in value:
        return ", ".join(code(word) for word in value["enum"])
    if value["type"] == "array":
        inner = _type(value["items"])
        return f"list of {inner}s" if inner in ("text", "object") else f"list of {inner}"
    if "additionalProperties" in value:
        return "strings by name"
    return {"string": "text", "integer": "number", "boolean": "true or false"}.get(value["type"], value["type"])


def _default(value: Schema) -> str:
    found = value.get("default")
    if found is None or found == {} or isinstance(found, dict):
        return ""
    return code(json.dumps(found)) if not isinstance(found, str) else code(found)


def _limits(value: Schema) -> str:
    found = []
    if "minimum" in value:
        found.append(f"{value['minimum']} to {value['maximum']}" if "maximum" in value else f"from {value['minimum']}")
    if "pattern" in value:
        found.append(_PATTERNS[value["pattern"]])
    elif "maxLength" in value and not value.get("x-kubernetes-int-or-string"):
        found.append(f"{value['maxLength']} characters")
    for name in ("maxItems", "maxProperties"):
        if name in value:
            found.append(f"at most {value[name]}")
    return "; ".join(found)


def _rules(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every rule with the place of what it is about."""
    for rule in schema.get("x-kubernetes-validations", ()):
        yield path, rule
    for name, value in schema.get("properties", {}).items():
        yield from _rules(value, f"{path}.{name}".lstrip("."))
    if schema.get("type") == "array":
        yield from _rules(schema["items"], path + "[]")
