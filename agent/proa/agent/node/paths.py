"""Where the agent finds and keeps things; ``--root`` puts a folder before all of it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from proa.core.runtime.files import real
from proa.partition.boot.bootstate import Slot


@dataclass(frozen=True)
class Paths:
    """The places on a node.

    Attributes:
        root: What stands before every path; ``/`` on a running node.
        disk: The disk or image file to work on; none means the disk this node booted from.
    """

    root: Path = Path("/")
    disk: Path | None = None

    @property
    def apart(self) -> bool:
        """Whether a disk is worked on beside the node that runs: what is kept of that node is not the disk's."""
        return self.disk is not None and self.root == Path("/")

    @property
    def usr(self) -> Path:
        """What the release ships for the agent; covered by dm-verity."""
        return self.root / "usr/lib/proa"

    @property
    def etc(self) -> Path:
        """What the node's owner may add to it."""
        return self.root / "etc/proa"

    @property
    def state(self) -> Path:
        """The agent's own records, on PERSIST."""
        return self._own(self.root / "var/lib/proa")

    @property
    def run(self) -> Path:
        """What lasts until the next boot: lock, socket, the initrd's report."""
        return self._own(self.root / "run/proa")

    @property
    def record(self) -> Path:
        """What is in the slots, the recorded floor and the last result."""
        return self.state / "agent.json"

    @property
    def trial(self) -> Path:
        """What a trial saw of itself, written as it goes."""
        return self.state / "trial.json"

    @property
    def persist(self) -> Path:
        """PERSIST itself."""
        return self.root / "persist"

    @property
    def lost_identity(self) -> Path:
        """There since PERSIST lost what made this machine its node, until a person removes it."""
        return self.persist / ".proa/lost"

    @property
    def damaged(self) -> Path:
        """There since a check of PERSIST repaired something, and how much, until a person removes it."""
        return self.persist / ".proa/damaged"

    @property
    def last_try(self) -> Path:
        """What the initrd of a trial wrote down."""
        return self.root / "persist/.proa/trial"

    @property
    def watchdogs(self) -> Path:
        """The kernel's word about each watchdog."""
        return self.root / "sys/class/watchdog"

    @property
    def lock(self) -> Path:
        """The one lock of everything that changes something."""
        return self.run / "lock"

    @property
    def socket(self) -> Path:
        """The local API."""
        return self.run / "agent.sock"

    @property
    def orders(self) -> Path:
        """The socket that takes the cluster's orders."""
        return self.run / "orders.sock"

    @property
    def record_lock(self) -> Path:
        """Held for the moment in which the record is read, changed and saved."""
        return self.run / "record.lock"

    @property
    def boot(self) -> Path:
        """What the initrd found: slot, disk, root hash, trial."""
        return self.run / "boot.json"

    @property
    def health_seen(self) -> Path:
        """What the last look at this boot's health saw."""
        return self.run / "health.json"

    @property
    def refused_order(self) -> Path:
        """Why the last order was not taken in."""
        return self.run / "refused-order.json"

    @property
    def clashes(self) -> Path:
        """What the release and the node both claim of users and groups."""
        return self.run / "accounts.json"

    @property
    def accounts_base(self) -> Path:
        """The databases of users and groups of the release that the node's were copied from; goes with its /etc."""
        return self.etc / "accounts"

    @property
    def journal(self) -> Path:
        """The node's persistent journal."""
        return self.root / "var/log/journal"

    @property
    def returned_journal(self) -> Path:
        """What the boots of the trial that came back last wrote to the journal."""
        return self.state / "returned-journal.txt"

    @property
    def leaving(self) -> Path:
        """There while the running slot was given up by order: until the next boot."""
        return self.run / "leaving"

    @property
    def lower_etc(self) -> Path:
        """The release's own /etc, below the overlay (a bind mount of the unit ``proa-agent.service``)."""
        return self.run / "lower/etc"

    @property
    def release(self) -> Path:
        """What the booted release says of itself."""
        return self.usr / "release.json"

    @property
    def cmdline(self) -> Path:
        """The kernel command line, with the signed root hash."""
        return self.root / "proc/cmdline"

    @property
    def etc_uppers(self) -> Path:
        """The folder with one /etc upper per slot."""
        return self.root / "persist/etc"

    def etc_upper(self, slot: Slot) -> Path:
        """What a slot's node changed in /etc."""
        return self.etc_uppers / slot.value / "upper"

    @property
    def health(self) -> tuple[Path, Path]:
        """Folders of health checks: the release's, then the owner's."""
        return self.usr / "health.d", self.etc / "health.d"

    @property
    def pstore(self) -> tuple[Path, Path]:
        """Where the last kernel messages of a crashed boot are, after and before systemd-pstore took them."""
        return self.root / "var/lib/systemd/pstore", self.root / "sys/fs/pstore"

    def _own(self, folder: Path) -> Path:
        if self.disk is None or not self.apart:
            return folder
        if os.geteuid() != 0:
            folder = _users_state() / folder.parent.name  # who may not write there works on an image file of their own
        return folder / "disks" / hashlib.sha256(os.fsencode(real(self.disk))).hexdigest()[:16]


def _users_state() -> Path:
    """An ordinary user's own folder for what must last (XDG Base Directory Specification 0.8)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "proa"
