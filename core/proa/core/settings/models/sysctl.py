"""``sysctl``: kernel parameters, written to ``/proc/sys`` at once and by systemd-sysctl at each boot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proa.core.settings.model import Base, Key, Model, Never, Part, Refusal
from proa.core.settings.values import Whole, Wholes

FILE: Final = "sysctl/99-zz-proa.conf"
_MIB: Final = 1 << 20
_BUFFER: Final = Whole(4096, 512 * _MIB, "bytes")
_SECONDS: Final = Whole(1, 7200, "seconds")
_SWITCH: Final = Whole(0, 1)
_PORT: Final = Whole(1024, 65535)

KEYS: Final[Mapping[str, Key]] = {
    "fs.aio-max-nr": Key(Whole(65536, 1 << 24), "asynchronous requests in the whole system"),
    "fs.file-max": Key(Whole(1 << 18, 1 << 30), "open files in the whole system"),
    "fs.inotify.max_queued_events": Key(Whole(16384, 1 << 20), "events that wait in one inotify instance"),
    "fs.inotify.max_user_instances": Key(Whole(128, 1 << 20), "inotify instances of one user"),
    "fs.inotify.max_user_watches": Key(Whole(8192, 1 << 24), "inotify watches of one user"),
    "fs.nr_open": Key(Whole(1 << 20, 1 << 30), "open files of one process"),
    "kernel.keys.maxbytes": Key(Whole(20000, 1 << 28, "bytes"), "keys of one user"),
    "kernel.keys.maxkeys": Key(Whole(200, 1 << 20), "keys of one user"),
    "kernel.pid_max": Key(Whole(32768, 1 << 22), "highest process number"),
    "kernel.threads-max": Key(Whole(32768, 1 << 24), "threads in the whole system"),
    "net.core.netdev_max_backlog": Key(Whole(100, 1 << 20, "packets"), "packets that wait on the receiving side"),
    "net.core.rmem_default": Key(_BUFFER, "receive buffer of a socket"),
    "net.core.rmem_max": Key(_BUFFER, "largest receive buffer of a socket"),
    "net.core.somaxconn": Key(Whole(128, 65535, "connections"), "connections that wait to be accepted"),
    "net.core.wmem_default": Key(_BUFFER, "send buffer of a socket"),
    "net.core.wmem_max": Key(_BUFFER, "largest send buffer of a socket"),
    "net.ipv4.ip_local_port_range": Key(Wholes(2, _PORT, apart=1000), "ports for outgoing connections"),
    "net.ipv4.neigh.default.gc_thresh1": Key(Whole(128, 1 << 20, "entries"), "neighbours that are never removed"),
    "net.ipv4.neigh.default.gc_thresh2": Key(Whole(512, 1 << 20, "entries"), "neighbours, soft limit"),
    "net.ipv4.neigh.default.gc_thresh3": Key(Whole(1024, 1 << 20, "entries"), "neighbours, hard limit"),
    "net.ipv4.tcp_fin_timeout": Key(_SECONDS, "time in FIN-WAIT-2"),
    "net.ipv4.tcp_keepalive_intvl": Key(_SECONDS, "time between keepalive probes"),
    "net.ipv4.tcp_keepalive_probes": Key(Whole(1, 127), "keepalive probes before a connection is dropped"),
    "net.ipv4.tcp_keepalive_time": Key(_SECONDS, "idle time before keepalive probes"),
    "net.ipv4.tcp_max_syn_backlog": Key(Whole(128, 1 << 20), "half-open connections of a listening socket"),
    "net.ipv4.tcp_max_tw_buckets": Key(Whole(4096, 1 << 21), "sockets in TIME-WAIT"),
    "net.ipv4.tcp_rmem": Key(Wholes(3, _BUFFER), "receive buffer of TCP: least, default, most"),
    "net.ipv4.tcp_slow_start_after_idle": Key(_SWITCH, "whether an idle connection starts slowly again"),
    "net.ipv4.tcp_syn_retries": Key(Whole(1, 127), "attempts to open a connection"),
    "net.ipv4.tcp_tw_reuse": Key(Whole(0, 2), "whether outgoing connections reuse TIME-WAIT sockets"),
    "net.ipv4.tcp_wmem": Key(Wholes(3, _BUFFER), "send buffer of TCP: least, default, most"),
    "net.netfilter.nf_conntrack_max": Key(Whole(16384, 1 << 24, "connections"), "tracked connections"),
    "vm.dirty_background_bytes": Key(Whole(_MIB, 1 << 36, "bytes"), "dirty memory at which writing begins"),
    "vm.dirty_background_ratio": Key(Whole(1, 90, "percent"), "the same as a part of memory"),
    "vm.dirty_bytes": Key(Whole(2 * _MIB, 1 << 36, "bytes"), "dirty memory at which writers wait"),
    "vm.dirty_expire_centisecs": Key(
        Whole(100, 360000, "hundredths of a second"), "age at which dirty memory is written"
    ),
    "vm.dirty_ratio": Key(Whole(1, 95, "percent"), "dirty part of memory at which writers wait"),
    "vm.dirty_writeback_centisecs": Key(
        Whole(100, 360000, "hundredths of a second"), "time between two writers' rounds"
    ),
    "vm.max_map_count": Key(Whole(65530, 1 << 24), "memory maps of one process"),
    "vm.min_free_kbytes": Key(Whole(16384, 1 << 22, "KiB"), "memory that is kept free"),
    "vm.nr_hugepages": Key(Whole(0, 1 << 20, "pages"), "huge pages that are set aside"),
    "vm.swappiness": Key(Whole(0, 200), "how readily memory is swapped out"),
    "vm.vfs_cache_pressure": Key(Whole(1, 1000), "how readily cached names and inodes are dropped"),
    "net.ipv4.conf.all.rp_filter": Key(Whole(1, 2), "check of the sender's address: 1 strict, 2 loose"),
}
_CODE: Final = "it makes the kernel run a program, or load code"
_KUBELET: Final = "kubelet sets it itself"
_SAFETY: Final = "it takes away a protection of the kernel"
NEVER: Final = (
    Never(r"kernel\.(core_pattern|core_pipe_limit|modprobe|hotplug|poweroff_cmd|usermodehelper\..*)", _CODE),
    Never(r"fs\.binfmt_misc\..*", _CODE),
    Never(r"kernel\.(panic|panic_on_oops|keys\.root_max.*)|vm\.(overcommit_memory|panic_on_oom)", _KUBELET),
    Never(r"vm\.overcommit_.*", "overcommit_ratio and overcommit_kbytes reset each other, and kubelet sets the rest"),
    Never(
        r"kernel\.(modules_disabled|kexec_load_disabled|unprivileged_bpf_disabled|yama\.ptrace_scope)",
        "only a reboot undoes it",
    ),
    Never(r"kernel\.(panic.*|.*watchdog.*|softlockup.*|hung_task.*)", "a trial that hangs must end by the watchdog"),
    Never(r"kernel\.(randomize_va_space|kptr_restrict|dmesg_restrict|perf_event_paranoid|sysrq)", _SAFETY),
    Never(r"fs\.(protected_.*|suid_dumpable)|vm\.mmap_min_addr|net\.core\.bpf_jit_.*", _SAFETY),
    Never(
        r"net\..*(ip_forward|forwarding|disable_ipv6|route_localnet|bridge-nf-.*)",
        "the cluster's network depends on it",
    ),
    Never(r"kernel\.(hostname|domainname)", "a node's name is its identity"),
)
PAIRS: Final = (
    ("vm.dirty_bytes", "vm.dirty_ratio"),
    ("vm.dirty_background_bytes", "vm.dirty_background_ratio"),
)
"""Parameters of which each sets the other to 0."""
_BELOW: Final = (
    ("net.ipv4.neigh.default.gc_thresh1", "net.ipv4.neigh.default.gc_thresh2"),
    ("net.ipv4.neigh.default.gc_thresh2", "net.ipv4.neigh.default.gc_thresh3"),
    ("vm.dirty_background_bytes", "vm.dirty_bytes"),
    ("vm.dirty_background_ratio", "vm.dirty_ratio"),
    ("net.core.rmem_default", "net.core.rmem_max"),
    ("net.core.wmem_default", "net.core.wmem_max"),
)
"""Parameters of which the first one is below the second one, or the kernel does something else."""


def text(value: Any) -> str:
    """A value as ``/proc/sys`` takes it."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def proc_path(name: str) -> str:
    """Where a parameter stands below ``/proc/sys``."""
    return name.replace(".", "/")


def _render(part: Part, _: Base) -> Mapping[str, str]:
    return {FILE: "".join(f"{name} = {text(part[name])}\n" for name in sorted(part))}


def partner(name: str) -> str:
    """The parameter that a parameter sets to 0; empty if there is none."""
    return next((one for pair in PAIRS if name in pair for one in pair if one != name), "")


def _together(part: Part) -> list[Refusal]:
    pairs = [
        Refusal(f"sysctl.{second}", f"{first} and {second} reset each other to 0", f"one of {first} and {second}")
        for first, second in PAIRS
        if first in part and second in part
    ]
    order = [
        Refusal(f"sysctl.{low}", f"{part[low]} is not below {high}, which is {part[high]}", f"at most {part[high] - 1}")
        for low, high in _BELOW
        if low in part and high in part and part[low] >= part[high]
    ]
    return pairs + order


SYSCTL: Final = Model(
    "sysctl",
    "Kernel parameters of the node. Those that begin with `net.` hold for the node's own network namespace, and say "
    "nothing about pods.",
    KEYS,
    _render,
    NEVER,
    _together,
    {FILE: "/etc/sysctl.d/99-zz-proa.conf"},
)
