"""What may be chosen of an installation; taints are written as kubectl writes them: ``KEY[=VALUE][:EFFECT]``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from proa.core import VERSION
from proa.core.runtime.errors import Code, ProaError, ProaErrors
from proa.scheduler.install import resources
from proa.scheduler.kube.prometheus import PrometheusAccess
from proa.scheduler.kube.stream import Object
from proa.scheduler.spec.rules import is_key, is_value

IMAGE: Final = f"localhost/proa-scheduler:{VERSION}"
"""Nobody's registry: an image that was brought to the nodes by hand."""
NAMESPACE: Final = "proa-system"
PROXY_NAMESPACE: Final = "proa-proxy"
GROUP: Final = 1_979_071_001
"""The group that proxies run with and that may give orders to agents. It is of a range that systemd leaves to nobody
(systemd's UIDS-GIDS); the usual 65532 is the group of every non-root container on the node."""
USER: Final = 65532
"""The user that the image's programs run as, like those of every non-root image."""
PORTS: Final = (443, 6443)
"""Where API servers listen, as a rule."""
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_IMAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]{0,510}")
EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@dataclass(frozen=True)
class Toleration:
    """Taints that are put up with.

    Attributes:
        key: Theirs.
        value: Theirs; none for all.
        effect: Theirs; empty for all.
    """

    key: str
    value: str | None = None
    effect: str = ""

    def __str__(self) -> str:
        return self.key + (f"={self.value}" if self.value is not None else "") + (f":{self.effect}" * bool(self.effect))

    @property
    def document(self) -> Object:
        """It as it stands in a pod."""
        found = {"key": self.key, "operator": "Exists" if self.value is None else "Equal"}
        found |= {"value": self.value} if self.value is not None else {}
        return found | ({"effect": self.effect} if self.effect else {})


def read_toleration(said: str) -> Toleration:
    """What a person wrote; whether it can be is seen by :func:`proa.scheduler.install.settings.check`."""
    taint, _, effect = said.partition(":")
    key, equals, value = taint.partition("=")
    return Toleration(key, value if equals else None, effect)


@dataclass(frozen=True)
class InstallSettings:
    """What is chosen.

    Attributes:
        image: The image of scheduler and proxy.
        namespace: The scheduler's.
        proxy_namespace: The proxies', which must be another one: they mount a folder of their host.
        group: The number of the group that may give orders to the agents: ``cluster.group`` of the nodes' images.
        replicas: How many schedulers run, of which one leads.
        node_selector: Labels of the nodes that schedulers run on.
        proxy_selector: Labels of the nodes that proxies run on.
        tolerations: Taints that schedulers put up with, besides the control plane's; proxies put up with all.
        requests: What is set aside for a scheduler, by resource; as usual where not given.
        limits: What a scheduler may use.
        proxy_requests: What is set aside for a proxy.
        proxy_limits: What a proxy may use.
        pull_secret: The name of a secret of both namespaces that kubelets pull the image with; none if empty.
        priority: Whether pods have the priority classes of what a cluster needs.
        api_ports: The ports of the API server that the network policies let through.
        prometheus: The address of the Prometheus that is asked for alerts; empty for none.
        prometheus_secret: The name of a secret of the scheduler's namespace with ``ca.crt`` and ``token`` for it; none
            if empty.
        prometheus_port: The port of its pods that the network policy lets through; that of its address if none.
    """

    image: str = IMAGE
    namespace: str = NAMESPACE
    proxy_namespace: str = PROXY_NAMESPACE
    group: int = GROUP
    replicas: int = 2
    node_selector: Mapping[str, str] = field(default_factory=dict)
    proxy_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    proxy_requests: Mapping[str, str] = field(default_factory=dict)
    proxy_limits: Mapping[str, str] = field(default_factory=dict)
    pull_secret: str = ""
    priority: bool = True
    api_ports: tuple[int, ...] = PORTS
    prometheus: str = ""
    prometheus_secret: str = ""
    prometheus_port: int | None = None

    @property
    def metrics_port(self) -> int:
        """The port of Prometheus' pods."""
        parts = urlsplit(self.prometheus)
        return self.prometheus_port or parts.port or (443 if parts.scheme == "https" else 80)


def check(settings: InstallSettings) -> None:
    """See whether an installation can be made of it.

    Raises:
        ProaErrors: ``USAGE`` for each thing that is wrong.
    """
    found = []
    if not _IMAGE.fullmatch(settings.image):
        found.append(_wrong("--image", f"{settings.image!r} is not a reference of an image"))
    for option, name in (("--namespace", settings.namespace), ("--proxy-namespace", settings.proxy_namespace)):
        if not _LABEL.fullmatch(name):
            found.append(_wrong(option, f"{name!r} is not a valid name of a namespace"))
        elif is_reserved(name):
            hint = "Use a namespace for Proa alone: uninstalling removes it."
            found.append(_wrong(option, f"the namespace {name!r} belongs to the cluster", hint))
    if settings.namespace == settings.proxy_namespace:
        hint = "Use two namespaces: proxies mount a folder of their host, which the scheduler's namespace forbids."
        found.append(_wrong("--proxy-namespace", "both namespaces are the same", hint))
    for option, chosen in (("--node-selector", settings.node_selector), ("--proxy-selector", settings.proxy_selector)):
        for key, value in chosen.items():
            if not is_key(key) or not is_value(value):
                found.append(_wrong(option, f"{key}={value} is not a label"))
    for one in settings.tolerations:
        if not (is_key(one.key) and is_value(one.value or "") and one.effect in ("", *EFFECTS)):
            hint = f"Write KEY[=VALUE][:EFFECT], as for 'kubectl taint'; effects are {', '.join(EFFECTS)}."
            found.append(_wrong("--toleration", f"{str(one)!r} is not a toleration", hint))
    scheduler = resources.SCHEDULER.but(settings.requests, settings.limits)
    proxy = resources.PROXY.but(settings.proxy_requests, settings.proxy_limits)
    found += [_wrong(f"--{part}", what) for part, what in scheduler.problems()]
    found += [_wrong(f"--proxy-{part}", what) for part, what in proxy.problems()]
    secrets = (("--pull-secret", settings.pull_secret), ("--prometheus-secret", settings.prometheus_secret))
    for option, name in secrets:
        if name and not all(_LABEL.fullmatch(part) for part in name.split(".")):
            found.append(_wrong(option, f"{name!r} is not a valid name of a secret"))
    found += _no_address(settings)
    if found:
        raise ProaErrors(found)


def _no_address(settings: InstallSettings) -> Iterator[ProaError]:
    """What is wrong with the address of Prometheus."""
    if not settings.prometheus:
        if settings.prometheus_secret or settings.prometheus_port:
            yield _wrong("--prometheus", "there is no address of Prometheus", "Write --prometheus URL too.")
        return
    try:
        PrometheusAccess(settings.prometheus)
    except ProaError as error:
        yield error


def is_reserved(namespace: str) -> bool:
    """Whether a namespace is the cluster's own: nothing is installed there, and it is never removed."""
    return namespace == "default" or namespace.startswith("kube-")


def _wrong(option: str, what: str, hint: str = "") -> ProaError:
    return ProaError(Code.USAGE, what, at=option, hint=hint)
