"""What a node needs so that the cluster can set it: the signed list of keys, and where daemons look for settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proa.builder.config.settings import Config
from proa.builder.node.tree import Tree
from proa.core.runtime.errors import Code, ProaError
from proa.core.settings import allow_list
from proa.core.settings.registry import MODELS

_GENERATIONS: Final = "/etc/proa/settings"
_KUBELET: Final = (
    "[Unit]\n# A release may bring settings along, set before the agent is ready.\nAfter=proa-agent.service\n\n"
    f"[Service]\nEnvironment=KUBELET_EXTRA_ARGS=--config-dir={_GENERATIONS}/current/kubelet/\n"
)
_PROXY: Final = "[Service]\nEnvironmentFile=-/etc/proa/proxy.env\n"
_CONTAINERD: Final = "/etc/containerd/config.toml"
_CERTS: Final = "/etc/containerd/certs.d"
DROP_INS: Final = {
    "kubelet": ("/usr/lib/systemd/system/kubelet.service.d/50-proa-settings.conf", _KUBELET),
    "proxy": ("/usr/lib/systemd/system/containerd.service.d/50-proa-settings.conf", _PROXY),
}


def listed(config: Config) -> str:
    """The list of what may be set, as JSON; empty if nothing may be."""
    found = _entries(config)
    return allow_list.of_entries(found).to_json() if any(found.values()) else ""


def add(tree: Tree, config: Config) -> None:
    """Write the list, generation 0, and drop-ins for what may be set; nothing where nothing may be."""
    text, found = listed(config), _entries(config)
    if not text:
        return
    tree.write(f"/usr/lib/proa/{allow_list.FILE}", text)
    tree.folder(f"{_GENERATIONS}/0/kubelet")
    tree.link(f"{_GENERATIONS}/current", "0")
    for model, (path, content) in DROP_INS.items():
        if found[model]:
            tree.write(path, content)


def check(tree: Tree, config: Config) -> None:
    """Refuse that mirrors may be set which containerd, as it is configured in the whole tree, would not read.

    Raises:
        ProaError: ``CONFIG_VALUE``.
    """
    if config.settings.registries and _CERTS not in tree.read(_CONTAINERD):
        what = f"containerd does not read mirrors from {_CERTS}"
        hint = f'Set config_path = "{_CERTS}" in the table of registries, in a [[file]] for {_CONTAINERD}.'
        raise ProaError(Code.CONFIG_VALUE, what, at="settings.registries", hint=hint)


def _entries(config: Config) -> Mapping[str, tuple[str, ...]]:
    return {name: getattr(config.settings, name) for name in MODELS}
