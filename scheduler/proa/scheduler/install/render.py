"""Everything that is installed, in the order in which it can be applied, and its text.

Namespaces, rights, policies and workloads are the YAML files beside this module, with what is chosen put into them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources as package
from string import Template
from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # it has no types

from proa.core.orders.client import SOCKET
from proa.core.schema.model import Report, field
from proa.scheduler.install.names import PORT
from proa.scheduler.install.names import SCHEDULER as SCHEDULER_NAME
from proa.scheduler.install.resources import PROXY, SCHEDULER, Resources
from proa.scheduler.install.settings import USER, InstallSettings, check
from proa.scheduler.kube.stream import Object
from proa.scheduler.spec.crd import RESOURCES

PARTS: Final = ("namespaces.yaml", "rights.yaml", "policies.yaml", "workloads.yaml")
"""The files, in the order in which they can be applied. By these names the image knows that it needs them."""
PROMETHEUS: Final = "/etc/proa/prometheus"
"""Where the secret for Prometheus is in the scheduler's pod."""
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Libyaml's where PyYAML was built with it: it takes a tenth of the time."""


@dataclass(frozen=True)
class Manifests(Report, schema="proa.manifests/v1"):
    """`proa-scheduler manifests`: the same as the YAML."""

    items: tuple[Mapping[str, Any], ...] = field("Objects, in an order in which they can be applied.")


def documents(settings: InstallSettings) -> list[Object]:
    """Definitions, namespaces, rights, policies, and what runs.

    Raises:
        ProaErrors: as :func:`proa.scheduler.install.settings.check`.
    """
    check(settings)
    return [
        *(resource.definition for resource in RESOURCES.values()),
        *(item for name in PARTS for item in part(name, settings)),
    ]


def text(found: Iterable[Mapping[str, Any]]) -> str:
    """Documents as YAML, for ``kubectl apply -f -``."""
    apart = json.loads(json.dumps(list(found)))  # what stands twice is written twice, not as an alias
    return str(yaml.safe_dump_all(apart, sort_keys=False, width=120, explicit_start=True))


def part(name: str, settings: InstallSettings) -> list[Object]:
    """The documents of one file.

    Args:
        name: One of :data:`PARTS`.
        settings: What is chosen; it was checked.
    """
    template = Template(package.files(__package__).joinpath(name).read_text())
    text = template.substitute(vars(settings), user=USER, port=PORT, socket=SOCKET, sockets=SOCKET.parent)
    found: list[Object] = [item for item in yaml.load_all(text, Loader=_LOADER) if item]
    for item in found:
        _choose(item, settings)
    return found


def _choose(item: Object, settings: InstallSettings) -> None:
    """Put into a document what is more than a text."""
    match item["kind"]:
        case "NetworkPolicy":
            if settings.prometheus and item["metadata"]["name"] == SCHEDULER_NAME:
                item["spec"]["egress"].append({"ports": [{"protocol": "TCP", "port": settings.metrics_port}]})
            item["spec"]["egress"][1]["ports"] = [{"protocol": "TCP", "port": port} for port in settings.api_ports]
        case "Deployment":
            pod = _pod(item, settings, SCHEDULER.but(settings.requests, settings.limits), settings.node_selector)
            more = [one.document for one in dict.fromkeys(settings.tolerations)]
            pod["tolerations"] += [one for one in more if one not in pod["tolerations"]]
            _ask_prometheus(pod, settings)
        case "DaemonSet":
            chosen = PROXY.but(settings.proxy_requests, settings.proxy_limits)
            _pod(item, settings, chosen, settings.proxy_selector)


def _ask_prometheus(pod: Object, settings: InstallSettings) -> None:
    """The scheduler's flags for Prometheus, and its secret as a folder."""
    (container,) = pod["containers"]
    if settings.prometheus:
        container["args"] += ["--prometheus", settings.prometheus]
    if settings.prometheus_secret:
        container["args"] += ["--prometheus-secret", PROMETHEUS]
        container["volumeMounts"] = [{"name": "prometheus", "mountPath": PROMETHEUS, "readOnly": True}]
        secret = {"secretName": settings.prometheus_secret, "defaultMode": 0o444}
        pod["volumes"] = [{"name": "prometheus", "secret": secret}]


def _pod(item: Object, settings: InstallSettings, chosen: Resources, selector: Mapping[str, str]) -> Object:
    pod: Object = item["spec"]["template"]["spec"]
    pod["containers"][0]["resources"] = chosen.document
    pod["nodeSelector"] |= selector
    if not settings.priority:
        del pod["priorityClassName"]
    if settings.pull_secret:
        pod["imagePullSecrets"] = [{"name": settings.pull_secret}]
    return pod
