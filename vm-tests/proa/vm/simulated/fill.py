"""A cluster that is full: thousands of nodes, their NodeOS and pods, in an etcd data directory that is kept.

One object of each kind is made through the API server, so that it is whole and valid. The others are stamped out of
its bytes as etcd holds them: names, numbers and ids of one length are put in the place of its own, which leaves the
lengths in protobuf right. That takes seconds for 60,000 objects; the API server takes ten minutes for them.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import SILENT, Monitor, step
from proa.core.runtime.lock import locked
from proa.vm.kube import wipe
from proa.vm.kube.api import MERGE, STRATEGIC
from proa.vm.kube.controlplane import ControlPlane
from proa.vm.kube.etcd import Etcd
from proa.vm.simulated import documents
from proa.vm.simulated.documents import ATTACHED, Place, Seat, made_uid
from proa.vm.simulated.proxies import PATH
from proa.vm.support.tools import KUBERNETES, cache_folder

_MADE_BY: Final = ("fill", "documents", "machine", "pods", "wording", "releases")
"""The modules that what is in a seed comes from."""
_MAY_LACK: Final = frozenset({"zone"})
"""Pods are labelled with their node's zone by newer API servers only."""


@dataclass(frozen=True)
class Filling:
    """What there is.

    Attributes:
        nodes: Nodes, each with its NodeOS; 10,000 at most.
        pods: Pods on each node, all of them Ready; the first :data:`~proa.vm.simulated.documents.ATTACHED` belong to
            DaemonSets.
        zones: Over how many zones the nodes are spread; 10 at most.
    """

    nodes: int = 5000
    pods: int = 10
    zones: int = 3

    @property
    def name(self) -> str:
        """A name that changes with all that goes into the data."""
        here = Path(__file__).parent
        parts = [json.dumps(asdict(self)), json.dumps(wipe.definitions()), KUBERNETES]
        parts += [(here / f"{module}.py").read_text() for module in _MADE_BY]
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        return f"{self.nodes}-{self.nodes * self.pods}-{digest[:16]}"

    @property
    def places(self) -> Iterator[Place]:
        """All nodes."""
        return (Place(number, self.zones) for number in range(self.nodes))

    @property
    def seats(self) -> Iterator[Seat]:
        """All pods."""
        return (Seat(place, index) for place in self.places for index in range(self.pods))


def seed(filling: Filling | None = None, monitor: Monitor = SILENT) -> Path:
    """An etcd data directory to begin with (``ControlPlane(folder, seed=...)``), made if it is not kept yet.

    Args:
        filling: What there is to be in it.
        monitor: Where the making is told.

    Raises:
        ProaError: As :class:`~proa.vm.kube.controlplane.ControlPlane`.
    """
    filling = filling or Filling()
    kept = cache_folder() / "seeds" / filling.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    with locked(kept.parent / ".lock"):
        if not kept.exists():
            with step(monitor, "fill a cluster", kept.name):
                _make(filling, kept)
    return kept


def _make(filling: Filling, kept: Path) -> None:
    work = Path(tempfile.mkdtemp(dir=kept.parent))
    try:
        with ControlPlane(work / "plane", controllers=(), before=wipe.definitions()) as plane:
            fill(plane, filling)
            plane.save(work / "etcd").rename(kept)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def fill(plane: ControlPlane, filling: Filling) -> None:
    """Fill a control plane that has no nodes. Its API server is killed meanwhile, and runs again at the end.

    Raises:
        ProaError: ``TOOL`` for a template that the API server refuses, or whose bytes are not as expected.
    """
    with Etcd(plane.parts.etcd_access) as etcd:
        stamps = _Stamps(plane, etcd, filling)
        plane.kill_apiserver()
        etcd.write(stamps.all(filling))
    plane.start_apiserver()


class Template:
    """An object as etcd holds it, of which copies are made.

    Args:
        key: Where it is.
        value: Its bytes.
        own: What is its own, by what it is.

    Raises:
        ProaError: ``TOOL`` when something that is its own is not in its bytes.
    """

    def __init__(self, key: str, value: bytes, own: Mapping[str, str]) -> None:
        self._key = key
        self._value = value
        self._what = {text.encode(): what for what, text in own.items()}
        self._pattern = re.compile(b"|".join(re.escape(text) for text in sorted(self._what, key=len, reverse=True)))
        found = {self._what[text] for text in self._pattern.findall(value)} | _MAY_LACK
        if missing := sorted(set(own) - found):
            raise ProaError(Code.TOOL, f"the template does not hold its own {', '.join(missing)}", at=key)

    def stamp(self, own: Mapping[str, str]) -> tuple[str, bytes]:
        """Key and value of a copy, to which something else is its own.

        Raises:
            ProaError: ``TOOL`` for what is longer or shorter than what it stands for.
        """

        def other(match: re.Match[bytes]) -> bytes:
            text = own[self._what[match[0]]].encode()
            if len(text) != len(match[0]):
                raise ProaError(Code.TOOL, f"{match[0]!r} cannot become {text!r}", at=self._key)
            return text

        return self._pattern.sub(other, self._key.encode()).decode(), self._pattern.sub(other, self._value)


class _Stamps:
    """Templates of all kinds, made through the API server.

    Args:
        plane: The control plane.
        etcd: Its etcd.
        filling: What there is to be.
    """

    def __init__(self, plane: ControlPlane, etcd: Etcd, filling: Filling) -> None:
        self._api = plane.api
        self._etcd = etcd
        first = Place(0, filling.zones)
        free = Counter(seat.namespace for seat in filling.seats if not seat.attached)
        for namespace in ("each", *sorted(free)):
            plane.namespace(namespace)
        self._owners = {
            (item["metadata"]["namespace"], item["metadata"]["name"]): item["metadata"]["uid"]
            for item in plane.apply(documents.owners(free))
            if item["kind"] != "PodDisruptionBudget"
        }
        self._node = self._make_node(first)
        self._os = self._make_os(plane, first)
        self._pods = {index: self._make_pod(Seat(first, index)) for index in range(min(filling.pods, ATTACHED + 1))}

    def all(self, filling: Filling) -> Iterator[tuple[str, bytes]]:
        """Keys and values of all there is."""
        for place in filling.places:
            yield self._node.stamp(_node(place, place.uid))
            yield self._os.stamp(_os(place, made_uid("os", place.number), place.uid))
        for seat in filling.seats:
            template = self._pods[min(seat.index, ATTACHED)]
            yield template.stamp(self._pod(seat, made_uid("pod", seat.number)))

    def _make_node(self, place: Place) -> Template:
        made = self._api.post("/api/v1/nodes", documents.node(place))
        key = f"/registry/minions/{place.shape.name}"
        return Template(key, self._etcd.read(key), _node(place, made["metadata"]["uid"]))

    def _make_os(self, plane: ControlPlane, place: Place) -> Template:
        (made,) = plane.apply([documents.node_os(place, place.uid)])
        status = {"status": documents.os_status(place)}
        self._api.patch(f"{PATH}/{place.shape.name}/status", status, MERGE)
        key = f"/registry/proa.dev/nodeoses/{place.shape.name}"
        return Template(key, self._etcd.read(key), _os(place, made["metadata"]["uid"], place.uid))

    def _make_pod(self, seat: Seat) -> Template:
        path = f"/api/v1/namespaces/{seat.namespace}/pods"
        made = self._api.post(path, documents.pod(seat, self._owners[seat.namespace, seat.owner]))
        self._api.patch(f"{path}/{seat.name}/status", documents.pod_status(made, seat), STRATEGIC)
        key = f"/registry/pods/{seat.namespace}/{seat.name}"
        return Template(key, self._etcd.read(key), self._pod(seat, made["metadata"]["uid"]))

    def _pod(self, seat: Seat, uid: str) -> dict[str, str]:
        shape = seat.place.shape
        own = {"name": seat.name, "uid": uid, "node": shape.name, "zone": shape.zone}
        own |= {"address": seat.address, "host": shape.address}
        if seat.attached:
            return own
        return own | {"namespace": seat.namespace, "owner": self._owners[seat.namespace, seat.owner]}


def _node(place: Place, uid: str) -> dict[str, str]:
    shape = place.shape
    own = {"name": shape.name, "zone": shape.zone, "address": shape.address, "machine": shape.machine_id}
    return own | {"uid": uid, "boot": place.said.boot_id}


def _os(place: Place, uid: str, owner: str) -> dict[str, str]:
    return {"name": place.shape.name, "uid": uid, "owner": owner, "boot": place.said.boot_id}
