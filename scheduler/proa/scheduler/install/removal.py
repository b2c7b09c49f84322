"""Takes Proa out of a cluster, in an order in which nothing comes back, and as often as one likes.

First the schedulers, so that nobody cordons or creates any more; then what they have left on nodes; then the objects,
and their definitions; last what the rest needed to work. The lease goes while the policies still stand: an API server
that no longer has a policy with leases as parameters stops following them, keeps what it has seen last, and would
judge by that until it is restarted if Proa came back (kubernetes/kubernetes#130887). Whatever is gone already is
passed over, so that a removal that was interrupted goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.printable import one_line
from proa.core.schema.model import Part, Report
from proa.core.schema.model import field as described
from proa.scheduler.install import cleaning, quiet, render
from proa.scheduler.install.names import COLLECTIONS, COMPONENT, NAMESPACES, SCHEDULER, about, place
from proa.scheduler.install.settings import NAMESPACE, PROXY_NAMESPACE, InstallSettings, is_reserved
from proa.scheduler.kube import paths
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.kube.server import Server, find, items, unless
from proa.scheduler.kube.stream import Object, part, parts
from proa.scheduler.spec.crd import GROUP, RESOURCES

_APART: Final = frozenset({"Deployment", "Namespace"})
"""The Deployment goes before all objects, and namespaces go after all else."""
_PAUSE: Final = 0.2
_SEEN: Final = 2.0
"""Seconds in which every API server sees that the lease is gone."""
_KEPT: Final = "kept"
_HELD: Final = ""
"""What keeps an object is no condition of its own: something else holds it."""
_DISCOVERY: Final = {
    "NamespaceDeletionDiscoveryFailure": (
        "An API that another server provides is unavailable: kubectl get apiservices. Repair that server or delete its "
        "APIService, then run this command again."
    )
}
"""Nobody can tell what is in a namespace while an API does not answer (Kubernetes, "Namespaces", conditions)."""
_OTHERS: Final = {"labelSelector": "app.kubernetes.io/name!=proa"}
_LIVE: Final = (
    *(f"/apis/apps/v1/{kind}" for kind in ("deployments", "daemonsets", "statefulsets")),
    paths.PODS,
    "/api/v1/persistentvolumeclaims",
)
"""What somebody would miss."""


@dataclass(frozen=True)
class RemovalChange(Part):
    """What was done to an object."""

    kind: str = described("Its kind.")
    name: str = described("Its name, with its namespace before it if it is in one.")
    did: str = described("What was done, or would be, in words for people.")


@dataclass(frozen=True)
class Uninstalled(Report, schema="proa.uninstall/v1"):
    """`proa-scheduler uninstall`."""

    dry_run: bool = described("Whether nothing was changed.")
    changes: tuple[RemovalChange, ...] = described("In order.")


@dataclass(frozen=True)
class Removal:
    """One removal.

    Attributes:
        api: The API server, as somebody who may do all this.
        tell: Hears of each change when it is done.
        dry_run: Whether nothing is changed, only told.
        seconds: How long the schedulers, definitions and namespaces may take to end.
        clock: The clock.
    """

    api: Server
    tell: Callable[[RemovalChange], None]
    dry_run: bool = False
    seconds: float = 120.0
    clock: Clock = field(default=SYSTEM)

    def run(self) -> None:
        """Take everything away.

        Raises:
            ProaError: ``TIMEOUT`` when something does not end; ``CLUSTER...`` as the API server answers.
        """
        spaces = self._spaces()
        for space in spaces[SCHEDULER.removeprefix("proa-")]:
            self._delete(about("Deployment", SCHEDULER, space))
            if not self.dry_run:
                quiet.wait(self.api, space, self.clock, self.seconds)
        for node in self._all(paths.NODES):
            self._clean(node)
        for resource in RESOURCES.values():
            for one in self._all(resource.path):
                held = self._delete_object(paths.named(resource.path, one["metadata"]["name"]), one)
                self._tell(resource.kind, one["metadata"]["name"], "deleted", held)
        for document in _rest(spaces):
            self._delete(document)
        for found in self._named_spaces():
            self._delete_space(found)

    # inside

    def _spaces(self) -> dict[str, list[str]]:
        """Our namespaces, by the component that is in them; what they are called as a rule, if there are none."""
        found = [(one["metadata"]["labels"][COMPONENT], one["metadata"]["name"]) for one in self._named_spaces()]
        usual = {"scheduler": NAMESPACE, "proxy": PROXY_NAMESPACE}
        return {part: [name for of, name in found if of == part] or [usual[part]] for part in usual}

    def _named_spaces(self) -> list[Object]:
        return list(self._all(NAMESPACES, labelSelector=COMPONENT))

    def _all(self, path: str, **query: str) -> Iterator[Object]:
        """A collection; nothing where its kind is not known."""
        try:
            yield from items(self.api, path, query)
        except ApiError as error:
            if error.status != 404:
                raise

    def _clean(self, node: Object) -> None:
        if not (found := cleaning.found_on(node)):
            return
        left = "" if self.dry_run else cleaning.clean(self.api, node)
        self._tell("Node", node["metadata"]["name"], f"stripped of {', '.join(found)}", left)

    def _delete_object(self, path: str, one: Object) -> str:
        """Delete an object; finalizers of ours, of whatever version, do not hold it up. What else does, in words."""
        finalizers, uid = one["metadata"].get("finalizers") or [], one["metadata"]["uid"]
        others = [name for name in finalizers if not name.startswith(f"{GROUP}/")]

        def delete() -> None:
            if others != finalizers:
                self.api.merge(path, {"metadata": {"uid": uid, "finalizers": others or None}})
            self.api.delete(path, uid=uid, propagationPolicy="Background")

        if not self.dry_run:
            unless(delete, 404)
        return f"held by {', '.join(others)}" if others else ""

    def _delete(self, document: Object) -> None:
        """Delete what a document is about, if it is there, and see a definition's end."""
        kind, path = document["kind"], place(document)
        if (found := find(self.api, path)) is None:
            return
        self._delete_object(path, found)
        if not self.dry_run and path.startswith(paths.DEFINITIONS):
            self._wait(path, {_HELD: "Find out which program's finalizers hold its objects."})
        if not self.dry_run and kind == "Lease":
            self.clock.sleep(_SEEN)
        metadata = document["metadata"]
        space = f"{metadata['namespace']}/" if "namespace" in metadata else ""
        self._tell(kind, f"{space}{metadata['name']}", "deleted")

    def _delete_space(self, found: Object) -> None:
        """Delete a namespace, unless others have something in it."""
        name = found["metadata"]["name"]
        path = paths.named(NAMESPACES, name)
        why = "it belongs to the cluster" if is_reserved(name) else self._others_in(name)
        if why:
            self._tell("Namespace", name, _KEPT, why)
            return
        if not self.dry_run:
            self.api.delete(path)
            self._wait(path, {**_DISCOVERY, _HELD: f"See what is left in it: kubectl get all -n {name}."})
        self._tell("Namespace", name, "deleted")

    def _others_in(self, namespace: str) -> str:
        """What of others is in a namespace; empty if nothing is that somebody would miss."""
        for path in _LIVE:
            for one in self._all(paths.within(path, namespace), **_OTHERS):
                return f"{paths.resource(path)}/{one['metadata']['name']} is in it"
        return ""

    def _wait(self, path: str, hints: Mapping[str, str]) -> None:
        """Wait until an object is gone; ``hints`` say what to do by the condition that keeps it there."""
        end = self.clock.monotonic() + self.seconds
        while (found := find(self.api, path)) is not None:
            if self.clock.monotonic() >= end:
                kept = list(_kept_by(found))
                hint = next((hints[kind] for kind, _ in kept if kind in hints), hints[_HELD])
                why = "".join(f": {message}" for _, message in kept)
                raise ProaError(Code.TIMEOUT, f"still there after {self.seconds:.0f} s{why}", at=path, hint=hint)
            self.clock.sleep(_PAUSE)

    def _tell(self, kind: str, name: str, did: str, but: str = "") -> None:
        """Tell of a change; ``but`` is what did not come out as it should."""
        would = "would be " if self.dry_run and did != _KEPT else ""
        self.tell(RemovalChange(kind, name, f"{would}{did}" + (f"; {but}" if but else "")))


def _kept_by(found: Object) -> Iterator[tuple[str, str]]:
    """What an object that is being deleted says of that: the types of its conditions, and their messages."""
    for condition in parts(part(found, "status"), "conditions"):
        kind = str(condition.get("type"))
        if condition.get("status") == "True" and (kind == "Terminating" or kind.startswith("Namespace")):
            yield kind, one_line(str(condition.get("message") or kind), 400)


def _rest(spaces: dict[str, list[str]]) -> Iterator[Object]:
    """What else is installed, in the order in which it goes, in whichever namespaces."""
    known = [*render.documents(InstallSettings()), about("Lease", SCHEDULER, NAMESPACE)]
    order = [kind for kind in COLLECTIONS if kind not in _APART]
    there = {NAMESPACE: spaces["scheduler"], PROXY_NAMESPACE: spaces["proxy"]}
    found = (one for one in known if one["kind"] in order)
    for document in sorted(found, key=lambda one: order.index(one["kind"])):
        metadata = document["metadata"]
        for space in there.get(metadata.get("namespace", ""), [""]):
            place_in = {"namespace": space} if space else {}
            yield document | {"metadata": {**metadata, **place_in}}
