"""An API server with one NodeOS, an agent, and a proxy between them, on a virtual clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from proa.core.orders.messages import Booted, NodeStatus, Observed, Order, Phase
from proa.core.runtime.clock import VirtualClock
from proa.core.runtime.errors import Code, ProaError
from proa.core.schema.model import parse
from proa.scheduler.kube.apierror import ApiError
from proa.scheduler.proxy.follower import Told
from proa.scheduler.proxy.proxy import NodeProxy, Seen, seen
from proa.scheduler.testing.apiserver import ApiServer, Asked
from proa.scheduler.testing.fields import copied, merged

RELEASE = "registry.example/node:1@sha256:" + "a" * 64
PATH = "/apis/proa.dev/v1alpha1/nodeoses/n1"
STATUS = f"{PATH}/status"
GOOD = NodeStatus(phase=Phase.GOOD, booted=Booted("a", "1", committed=True, boot_id="boot-1"), agent="1")


@dataclass
class World:
    """An API server with one NodeOS, an agent, and a proxy between them; time passes only in :meth:`run`."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    server: ApiServer = field(default_factory=ApiServer)
    told: Told = Told()  # noqa: RUF009 -- frozen
    away: ApiError | None = None
    """What the API server says instead of an answer."""
    says: ProaError | None = None
    """What the agent says to every order."""
    lag: bool = False
    """Whether what is written does not show in the watch yet."""
    bodies: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    tries: list[float] = field(default_factory=list)
    puts: list[tuple[float, int]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._shown: Seen | None = None
        self.server.before, self.server.after = self._before, self._after
        self.create("uid-1")
        self.restart()

    def restart(self) -> None:
        """The proxy's process ends, and another one begins: it knows nothing."""
        self.proxy = NodeProxy(
            "n1",
            self._seen,
            lambda: self.told,
            self.put,
            self.server,
            lambda message, **_: self.said.append(message),
            self.clock,
            lambda: 1.0,
        )

    def _seen(self) -> Seen | None:
        if not self.lag:
            self._shown = seen(copied(self.item)) if self.item else None
        return self._shown

    # the API server

    @property
    def item(self) -> dict[str, Any] | None:
        """The object; none if it has none."""
        return self.server.items.get(PATH)

    def create(self, uid: str) -> None:
        """Make the object, anew if there is one."""
        self.server.add(PATH, {"metadata": {"uid": uid}, "spec": {}})

    def order(self, number: int, action: str = "Stage", **more: Any) -> None:
        """Give the node an order, in place of the one before."""
        given = {"id": number, "action": action, "fence": 1, "release": RELEASE, **more}
        spec = {**dict.fromkeys(self.given), **given}
        self.server.change(PATH, spec={"order": spec})

    def _before(self, asked: Asked) -> None:
        assert asked.path == (STATUS if asked.is_write else PATH)
        if asked.is_write:
            self.tries.append(self.clock.at)
        if self.away is not None:
            raise self.away
        if asked.is_write and self.item is not None and asked.body["metadata"]["uid"] == self.item["metadata"]["uid"]:
            self._rules(merged(self.status, asked.body["status"]))

    def _after(self, asked: Asked) -> None:
        if asked.is_write:
            self.bodies.append((self.clock.at, asked.body["status"]))

    def _rules(self, status: dict[str, Any]) -> None:
        """What the definition of NodeOS demands."""
        parse(NodeStatus, status, "status", strict=True)
        old, new = (one.get("observedOrder", {}).get("id", -1) for one in (self.status, status))
        given = self.given.get("id", 0)
        if new < old or new > given:
            self.refused.append(f"observedOrder {old} -> {new}, order {given}")
            raise ApiError(422, "observedOrder", reason="Invalid")

    @property
    def given(self) -> dict[str, Any]:
        """The order that is out."""
        found: dict[str, Any] = (self.item or {}).get("spec", {}).get("order", {})
        return found

    @property
    def status(self) -> dict[str, Any]:
        """The object's status."""
        found: dict[str, Any] = (self.item or {}).get("status", {})
        return found

    def condition(self, name: str) -> dict[str, Any] | None:
        """One of the object's conditions."""
        return next((one for one in self.status.get("conditions", ()) if one["type"] == name), None)

    # the agent

    def tell(self, status: NodeStatus) -> None:
        """The agent says how the node is."""
        if self.told.answering:
            self.told = replace(self.told, status=status)
        else:
            self.told = Told(status, True, self.clock.at, self.told.connection + 1)

    def silence(self, why: str = "connection refused") -> None:
        """The agent does not answer any more."""
        self.told = replace(self.told, answering=False, since=self.clock.at, problem=why)

    def replace_disk(self) -> None:
        """The node comes back, and knows nothing."""
        self.silence()
        self.tell(GOOD)

    def put(self, order: Order) -> NodeStatus:
        """Give the agent an order, which it takes if it is no old one."""
        self.puts.append((self.clock.at, order.id))
        if self.says is not None:
            raise self.says
        status = self.told.status or GOOD
        known = status.observed_order
        if known is not None and known.id > order.id:
            raise ProaError(Code.STALE_ORDER, f"order {known.id} was seen")
        self.tell(replace(status, observed_order=Observed(order.id, order.action.value, "Running")))
        return status

    # time

    def run(self, seconds: float = 0.0) -> None:
        """Let the proxy do what it does when it is woken now, and in so many seconds."""
        end = self.clock.at + seconds
        for _ in range(20_000):
            wait = self.proxy.step()
            if wait is None or self.clock.at + wait > end:
                self.clock.at = end
                self.proxy.step()
                return
            assert wait > 0
            self.clock.sleep(wait)
        raise AssertionError("it never rests")
