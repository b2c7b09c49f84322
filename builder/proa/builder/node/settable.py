"""What a node needs so that the cluster can set it: the signed list of keys, and where daemons look for settings."""

from __future__ import annotations

from typing import Final

from proa.builder.config.settings import Config
from proa.builder.node.tree import Tree
from proa.core.settings import allow_list
from proa.core.settings.registry import MODELS

_GENERATIONS: Final = "/etc/proa/settings"
_KUBELET: Final = f"[Service]\nEnvironment=KUBELET_EXTRA_ARGS=--config-dir={_GENERATIONS}/current/kubelet/\n"
_PROXY: Final = "[Service]\nEnvironmentFile=-/etc/proa/proxy.env\n"
DROP_INS: Final = {
    "kubelet": ("/usr/lib/systemd/system/kubelet.service.d/50-proa-settings.conf", _KUBELET),
    "proxy": ("/usr/lib/systemd/system/containerd.service.d/50-proa-settings.conf", _PROXY),
}


def add(tree: Tree, config: Config) -> None:
    """Write the list, generation 0, and drop-ins for what may be set; nothing where nothing may be."""
    listed = {name: getattr(config.settings, name) for name in MODELS}
    if not any(listed.values()):
        return
    tree.write(f"/usr/lib/proa/{allow_list.FILE}", allow_list.of_entries(listed).to_json())
    tree.folder(f"{_GENERATIONS}/0/kubelet")
    tree.link(f"{_GENERATIONS}/current", "0")
    for model, (path, content) in DROP_INS.items():
        if listed[model]:
            tree.write(path, content)
