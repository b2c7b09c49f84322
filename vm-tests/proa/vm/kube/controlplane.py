"""A real Kubernetes control plane for tests: etcd, the API server and controllers, on loopback ports of its own.

There is no kube-scheduler and no node; :mod:`proa.vm.simulated.nodes` binds pods and plays kubelets.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from proa.core.runtime import process
from proa.core.runtime.clock import SYSTEM, Deadline
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import SILENT, Monitor
from proa.vm.kube import apply, control_flags, programs
from proa.vm.kube.access import ApiAccess
from proa.vm.kube.api import KubeApi, Object
from proa.vm.kube.audit import AuditedRequest, AuditLog
from proa.vm.kube.control_flags import CONTROLLERS, Parts
from proa.vm.machine import calibration
from proa.vm.support.child import Child

_READY_SECONDS: Final = 90.0
"""From the start of a program until it serves; 2 s were measured, and 17 s for the API server on 60,000 objects."""
_ATTEMPTS: Final = 3
_DAY: Final = 24 * 3600
_KUBECTL_SECONDS: Final = 120.0


class ControlPlane:
    """A control plane that runs as long as the ``with`` block.

    Args:
        folder: Where data, logs and credentials lie; made if it is not there.
        seed: An etcd data directory that :meth:`save` has made, to begin with.
        controllers: What the controller-manager runs; it is not started for none.
        before: Documents that are applied before the controllers start: the garbage collector looks for new kinds
            twice a minute only.
        extra: Further arguments, by program.
        monitor: Where a build of the programs is told.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: Path | None = None,
        controllers: Sequence[str] = CONTROLLERS,
        before: Iterable[Object] = (),
        extra: Mapping[str, Sequence[str]] | None = None,
        monitor: Monitor = SILENT,
    ) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._wanted = (controllers, extra or {})
        self._before = tuple(before)
        self._bin = programs.gather(self.folder / "bin", monitor)
        if seed is not None:
            _copy(seed, self.folder / "etcd")
        self._prepare()

    def _prepare(self) -> None:
        """Credentials, ports and programs; anew when somebody else was quicker at a port."""
        parts = control_flags.make(self.folder, self._bin, *self._wanted)
        if not (parts.bin / "kube-controller-manager").exists():
            parts = control_flags.make(self.folder, self._bin, (), self._wanted[1])
        self.parts: Parts = parts
        self.etcd = Child("etcd", control_flags.etcd(parts), self.folder / "etcd.log")
        self.apiserver = Child("kube-apiserver", control_flags.apiserver(parts), self.folder / "apiserver.log")
        self.controllers = Child(
            "kube-controller-manager", control_flags.controller_manager(parts), self.folder / "controllers.log"
        )
        self.audit_log = AuditLog(parts.audit)
        self.api = KubeApi(parts.access)
        self.kubeconfig = parts.access.write(self.folder / "admin.conf")

    # life

    def __enter__(self) -> Self:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self.start()
            except ProaError as error:
                self.close()
                if attempt == _ATTEMPTS or "address already in use" not in error.message:
                    raise
                self._prepare()
            except BaseException:
                self.close()
                raise
            else:
                return self
        raise AssertionError

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start what does not run, and wait until it serves.

        Raises:
            ProaError: ``TOOL`` with the last words of a program that ended, ``TIMEOUT``.
        """
        self.etcd.start()
        self.start_apiserver()
        if self.parts.controllers:
            apply.apply(self.api, self._before)
            self.start_controllers()
        else:
            apply.apply(self.api, [*self._before, _account("default")])

    def close(self) -> None:
        """End everything; again is harmless. The folder stays."""
        for child in (self.controllers, self.apiserver, self.etcd):
            child.kill()
        self.api.close()

    def save(self, target: Path) -> Path:
        """Stop everything, and copy etcd's data to ``target``, from which others may begin; its path.

        Raises:
            ProaError: ``FILE_EXISTS`` when something is there.
        """
        self.controllers.kill()
        self.apiserver.kill()
        self.etcd.stop()
        _copy(self.parts.data, target)
        return target

    def start_apiserver(self) -> None:
        """Start the API server, at the same address as before, and wait until it is ready.

        Raises:
            ProaError: as :meth:`start`.
        """
        self.apiserver.start()
        self._wait(self.apiserver, self.api, "/readyz")

    def kill_apiserver(self) -> None:
        """SIGKILL to the API server: connections break, and nobody listens until :meth:`start_apiserver`."""
        self.apiserver.kill()

    def pause_apiserver(self) -> None:
        """SIGSTOP to the API server: connections stay, and nothing is answered."""
        self.apiserver.pause()

    def resume_apiserver(self) -> None:
        """SIGCONT to the API server."""
        self.apiserver.resume()

    def start_controllers(self) -> None:
        """Start the controller-manager, and wait until its controllers work.

        Raises:
            ProaError: as :meth:`start`.
        """
        self.controllers.start()
        url = f"https://127.0.0.1:{self.parts.ports[3]}"
        with KubeApi(ApiAccess(url, self.parts.authority.ca_file)) as health:
            self._wait(self.controllers, health, "/healthz")
        if "serviceaccount-controller" in self.parts.controllers:
            self._wait(self.controllers, self.api, "/api/v1/namespaces/default/serviceaccounts/default")

    def _wait(self, child: Child, api: KubeApi, path: str) -> None:
        seconds = _READY_SECONDS * max(1.0, calibration.known())
        deadline = Deadline(f"{child.name}'s {path}", seconds)
        while True:
            for needed in (self.etcd, child):
                needed.check()
            if deadline.passed:
                raise child.failure(f"{deadline.what}: not within {seconds:.0f} s", Code.TIMEOUT)
            try:
                if api.call("GET", path, seconds=5.0).status == 200:
                    return
            except ProaError:  # nobody listens yet
                pass
            SYSTEM.sleep(0.05)

    # identities

    def access_for(
        self, account: str, namespace: str, *, node: str = "", pod: str = "", seconds: int = _DAY
    ) -> ApiAccess:
        """A service account's access, by a token that the API server has issued (``TokenRequest``).

        Args:
            account: The service account.
            namespace: Its namespace.
            node: Bind the token to this Node: it is void once that is gone, and says its name in the claim
                ``authentication.kubernetes.io/node-name``.
            pod: Bind the token to this pod of the namespace; it says the names of the pod and of its node.
            seconds: How long it is valid, 600 at least.

        Raises:
            ProaError: ``TOOL`` when the API server refuses.
        """
        spec: Object = {"expirationSeconds": seconds}
        if node or pod:
            kind, path = ("Node", f"/api/v1/nodes/{node}") if node else ("Pod", f"{_within(namespace)}/pods/{pod}")
            uid = self.api.get(path)["metadata"]["uid"]
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": kind, "name": node or pod, "uid": uid}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = self.api.post(f"{_within(namespace)}/serviceaccounts/{account}/token", request)
        return ApiAccess(self.parts.url, self.parts.authority.ca_file, token=answer["status"]["token"])

    def kubeconfig_for(self, account: str, namespace: str, *, node: str = "", pod: str = "") -> Path:
        """A kubeconfig with the token of :meth:`access_for`, new at each call.

        Raises:
            ProaError: as :meth:`access_for`.
        """
        access = self.access_for(account, namespace, node=node, pod=pod)
        name = "-".join(part for part in (namespace, account, node or pod) if part)
        return access.write(self.folder / f"account-{name}.conf", namespace)

    def user(self, name: str, groups: Sequence[str] = ()) -> ApiAccess:
        """The access of any user, by a client certificate, such as ``system:node:NAME`` of ``system:nodes``."""
        found = self.parts.authority.issue_user(name, groups)
        return ApiAccess(self.parts.url, self.parts.authority.ca_file, found.cert_file, found.key_file)

    def namespace(self, name: str, labels: Mapping[str, str] | None = None) -> str:
        """Make a namespace, with the service account that its pods need; its name.

        Raises:
            ProaError: ``TOOL``.
        """
        metadata = {"name": name, "labels": dict(labels or {})}
        self.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, _account(name)])
        return name

    # what is done and seen

    def apply(self, documents: Iterable[Object]) -> list[Object]:
        """Server-side apply, as administrator; what came of each document.

        Raises:
            ProaError: ``TOOL`` for one that is refused.
        """
        return apply.apply(self.api, documents)

    def kubectl(
        self, *words: str, stdin: str | bytes | None = None, check: bool = True, kubeconfig: Path | None = None
    ) -> process.ProcessResult:
        """Run kubectl, as administrator or with another kubeconfig. Its plugins are found on ``PATH``.

        Raises:
            ProaError: ``TOOL`` when it fails and ``check`` is set.
        """
        env = {"KUBECONFIG": str(kubeconfig or self.kubeconfig), "KUBECACHEDIR": str(self.folder / "kubectl")}
        data = stdin.encode() if isinstance(stdin, str) else stdin
        return process.run([self._bin / "kubectl", *words], stdin=data, check=check, env=env, timeout=_KUBECTL_SECONDS)

    def audit(self, since: int = 0, *, user: str = "", write: bool | None = None) -> list[AuditedRequest]:
        """What the API server was asked; see :meth:`proa.vm.kube.audit.AuditLog.requests`."""
        return self.audit_log.requests(since, user=user, write=write)


def _within(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}"


def _account(namespace: str) -> Object:
    metadata = {"name": "default", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        raise ProaError(Code.FILE_EXISTS, "an etcd data directory exists already", at=target)
    if not (source / "member").is_dir():
        raise ProaError(Code.FILE_MISSING, "it is not an etcd data directory", at=source)
    shutil.copytree(source, target)
