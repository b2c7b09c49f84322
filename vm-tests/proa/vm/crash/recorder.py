"""A disk image whose every write is logged: QEMU's block layer between a program and the file, without a machine.

``qemu-storage-daemon`` shows the image as a file through FUSE; the filter ``blklogwrites`` is in between. A hole that
is made in the file is a discard there, so discards have to reach the image.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from proa.core.runtime import process
from proa.vm.crash.writelog import WriteLog
from proa.vm.machine.options import escape
from proa.vm.support.child import Child
from proa.vm.support.waiting import until

DAEMON: Final = "qemu-storage-daemon"
_START_SECONDS: Final = 60.0
_LOGGED: Final = "file=file,log=log,log-super-update-interval=1"


@dataclass
class Recorder:
    """Records as long as the ``with`` block.

    Attributes:
        image: What is written to in the end.
        folder: For the file to write to, and the log.
    """

    image: Path
    folder: Path
    spans: dict[str, tuple[int, int]] = field(default_factory=dict, init=False)
    """The entries of each operation: the first, and the one after its last."""

    @property
    def disk(self) -> Path:
        """What a program writes to."""
        return self.folder / "disk"

    @property
    def log(self) -> Path:
        """Where the writes are recorded."""
        return self.folder / "writes.log"

    def __enter__(self) -> Self:
        process.find(DAEMON, "qemu-system-common")
        for path in (self.disk, self.log):
            path.touch()
        self._child = Child(DAEMON, [DAEMON, *self._arguments()], self.folder / "daemon.log")
        self._child.start()
        size = self.image.stat().st_size
        until(lambda: self.disk.stat().st_size == size, "the disk to be there", _START_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop()

    @contextmanager
    def operation(self, name: str) -> Iterator[None]:
        """What is written in the block belongs to an operation."""
        self._flush()
        start = WriteLog.count(self.log)
        yield
        self.spans[name] = (start, WriteLog.count(self.log))

    def _flush(self) -> None:
        """All that was written before is on the medium: no point of the next operation is without it."""
        handle = os.open(self.disk, os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _arguments(self) -> Sequence[str]:
        return (
            *("--blockdev", f"driver=file,node-name=file,discard=unmap,filename={escape(self.image)}"),
            *("--blockdev", f"driver=file,node-name=log,filename={escape(self.log)}"),
            *("--blockdev", f"driver=blklogwrites,node-name=logged,discard=unmap,{_LOGGED}"),
            *("--export", f"type=fuse,id=disk,node-name=logged,mountpoint={escape(self.disk)},writable=on"),
        )
