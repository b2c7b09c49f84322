"""Prometheus and its own tool, which says whether metrics and alert rules are as it wants them, as Debian has them.

Both are taken out of the package ``prometheus`` (19 MB, 94 MB unpacked) and kept: to install the package would start a
server on the machine that runs the tests, and its Go module needs ten minutes to build. Alertmanager's ``amtool`` comes
the same way.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from proa.core.runtime import process
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.files import fsync_folder
from proa.core.runtime.lock import locked
from proa.scheduler.kube.prometheus import UnansweredError
from proa.vm.support.certificates import Certificate
from proa.vm.support.child import Child
from proa.vm.support.tools import cache_folder
from proa.vm.support.waiting import until

_PACKAGES: Final[Mapping[str, str]] = {"amtool": "prometheus-alertmanager"}
"""Packages of programs that are not in ``prometheus``."""
_READY_SECONDS: Final = 30.0


def promtool(name: str = "promtool") -> Path:
    """The path of a program: that of the machine, or one that is fetched first if it is not kept yet.

    Args:
        name: ``promtool``, ``prometheus``, or ``amtool``.

    Raises:
        ProaError: ``MIRROR`` if apt does not have it.
    """
    if found := shutil.which(name):
        return Path(found)
    folder = cache_folder() / "tools" / "promtool"
    program = folder / name
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        if not program.exists():
            _fetch(program)
    return program


class Prometheus(Child):
    """A Prometheus on the loopback address, which scrapes nothing and judges its rules every second.

    Args:
        folder: Where all that is its own goes.
        port: Where it listens.
        alerts: Expressions by the names of their alerts.
        certificate: Its certificate; it speaks plain HTTP if none.
    """

    def __init__(
        self, folder: Path, port: int, alerts: Mapping[str, str], certificate: Certificate | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        rules = [{"alert": name, "expr": text, "labels": {"severity": "critical"}} for name, text in alerts.items()]
        names = {"cert_file": certificate.cert_file, "key_file": certificate.key_file} if certificate else {}
        web = {"tls_server_config": {key: str(path) for key, path in names.items()}} if names else {}
        groups = [{"name": "test", "interval": "1s", "rules": rules}]
        files = {"rules": {"groups": groups}, "prometheus": {"rule_files": ["rules.yml"]}, "web": web}
        for name, what in files.items():
            (folder / f"{name}.yml").write_text(json.dumps(what))  # which is YAML as well
        super().__init__(
            "prometheus",
            [
                *(promtool("prometheus"), f"--config.file={folder / 'prometheus.yml'}", "--log.level=warn"),
                *(f"--web.config.file={folder / 'web.yml'}", f"--web.listen-address=127.0.0.1:{port}"),
                f"--storage.tsdb.path={folder / 'data'}",
            ],
            folder / "prometheus.log",
        )

    def wait_for(self, alert: str, ask: Callable[[str], Sequence[str]]) -> None:
        """Wait until an alert fires.

        Raises:
            ProaError: ``TIMEOUT``; ``TOOL`` with its last words when it has ended.
        """

        def fires() -> bool:
            self.check()
            try:
                return bool(ask(f'ALERTS{{alertname="{alert}",alertstate="firing"}}'))
            except UnansweredError:
                return False

        until(fires, f"{alert} to fire", _READY_SECONDS)


def _fetch(program: Path) -> None:
    package = _PACKAGES.get(program.name, "prometheus")
    with tempfile.TemporaryDirectory(dir=program.parent) as name:
        work = Path(name)
        done = process.run(["apt-get", "download", "-q", package], cwd=work, check=False)
        debs = list(work.glob("*.deb"))
        if done.status != 0 or len(debs) != 1:
            raise ProaError(Code.MIRROR, f"apt has no package {package}", hint="As root, run apt-get update.")
        process.run(["dpkg-deb", "--extract", debs[0], work / "tree"])
        (work / "tree/usr/bin" / program.name).replace(program)
        fsync_folder(program.parent)
