"""Errors a user can meet: a stable code, what and where, a hint, an exit status.

The enum :class:`Code` is the one table. ``docs/reference/errors.md`` is generated from it, the commands
print from it, and no exit status is written down anywhere else.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proa.core.runtime.fields import Report, field
from proa.core.runtime.printable import printable


class Exit(enum.IntEnum):
    """Exit statuses of every command (docs/reference/commands.md)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    BUSY = 4
    STATE = 5
    NETWORK = 6
    DEVICE = 7
    INTERRUPTED = 130


@dataclass(frozen=True)
class Kind:
    """What is known about a code before it happens."""

    exit: Exit
    summary: str
    hint: str
    """What the user can do about it; an error may give a more precise one."""


class Code(enum.Enum):
    """Every stable error code. Names never change their meaning; new ones are only added."""

    # usage and configuration
    USAGE = Kind(Exit.USAGE, "The command line is not one the command understands.", "See --help.")
    CONFIG = Kind(Exit.USAGE, "The configuration has errors.", "Correct the places named; all are listed.")
    CONFIG_SYNTAX = Kind(Exit.USAGE, "The configuration file is not TOML.", "See https://toml.io/en/v1.0.0.")
    CONFIG_UNKNOWN_KEY = Kind(Exit.USAGE, "A key that no setting has.", "See docs/reference/settings.md.")
    CONFIG_VALUE = Kind(Exit.USAGE, "A value that its setting does not allow.", "See docs/reference/settings.md.")
    CONFIG_MISSING = Kind(Exit.USAGE, "A required setting is not there.", "Add it.")
    FILE_MISSING = Kind(Exit.USAGE, "A file or folder named by the user is not there.", "Check the path.")
    FILE_EXISTS = Kind(
        Exit.USAGE, "Something is there that would be overwritten.", "Choose another path, or remove it."
    )
    FILE_DENIED = Kind(
        Exit.DEVICE,
        "A file or folder may not be read or written by whoever runs this.",
        "Look at its owner and mode, and at those of the folders above it.",
    )
    REFERENCE = Kind(
        Exit.USAGE, "Not a release reference.", "Write HOST[:PORT]/NAME[:TAG][@sha256:...] or oci:PATH[:TAG]."
    )
    PLAIN_HTTP = Kind(
        Exit.USAGE,
        "Plain HTTP to a host that is not this one.",
        "Use TLS, or say --plain-http if you mean it.",
    )
    KEY = Kind(
        Exit.USAGE,
        "Not a usable key.",
        "Keys are PEM files, ECDSA P-256 or Ed25519; see proa-build keys init.",
    )
    # refused
    UNSIGNED = Kind(Exit.REFUSED, "The release has no signature.", "Push it with --keys.")
    SIGNATURE = Kind(
        Exit.REFUSED,
        "No trusted key has signed this release often enough.",
        "Check the keys and the threshold.",
    )
    NO_TRUST = Kind(
        Exit.REFUSED,
        "No trusted key is configured, so nothing can be accepted.",
        "Put public keys into the trust folder.",
    )
    DIGEST = Kind(Exit.REFUSED, "Bytes do not match their signed digest.", "Fetch again from a registry you trust.")
    RELEASE = Kind(Exit.REFUSED, "The release document is not valid.", "Build the release again with this version.")
    FRAMES = Kind(Exit.REFUSED, "The payload or its map is malformed.", "Build the release again with this version.")
    VERITY = Kind(Exit.REFUSED, "A block does not match the verity tree.", "The image or the tree was altered.")
    INCOMPATIBLE = Kind(Exit.REFUSED, "The release is for another kind of node.", "Compare 'compatible' on both sides.")
    ARCHITECTURE = Kind(Exit.REFUSED, "The release is for another architecture.", "Build one for this node.")
    REQUIRES = Kind(
        Exit.REFUSED,
        "The release needs another layout, loader or a newer agent.",
        "Install a release in between.",
    )
    SERIAL = Kind(Exit.REFUSED, "The release is older than the recorded floor allows.", "Install a newer release.")
    EXPIRED = Kind(Exit.REFUSED, "The release has expired.", "Install a newer release.")
    DENIED = Kind(Exit.REFUSED, "The release is on the deny list of this node.", "Install another release.")
    SAME_ROOT = Kind(
        Exit.REFUSED,
        "The good slot holds the same root under another kernel image.",
        "Build the release anew: a root has one kernel image.",
    )
    TOO_LARGE = Kind(Exit.REFUSED, "The content is larger than its slot.", "Make the image smaller or the slot larger.")
    SLOT_IN_USE = Kind(
        Exit.REFUSED, "The target slot is booted or good; it is never written.", "Reboot or commit first."
    )
    NOT_ALLOWED = Kind(Exit.REFUSED, "The caller may not do this.", "Only root may.")
    STALE_ORDER = Kind(
        Exit.REFUSED,
        "The node has seen a later order, or the order is about another boot.",
        "Look at the node's status and give a new order with a higher id.",
    )
    # busy and state
    BUSY = Kind(Exit.BUSY, "Another one holds the lock.", "Wait for it to end, or cancel it.")
    NO_TRIAL = Kind(Exit.STATE, "There is no trial to commit.", "See proa-agent status.")
    NOT_STAGED = Kind(Exit.STATE, "The other slot holds no complete release.", "Install one first.")
    NOT_GOOD = Kind(Exit.STATE, "The other slot is not known to be good.", "Install a release first.")
    IN_TRIAL = Kind(
        Exit.STATE, "A trial is running; nothing is installed over the good slot.", "Commit it or roll back."
    )
    TRIAL_RETURNED = Kind(Exit.STATE, "A trial came back without a commit.", "Read the reason in proa-agent status.")
    NO_COMMIT_ORDER = Kind(
        Exit.STATE,
        "A healthy trial came back because nobody ordered its commit in time.",
        "See why the scheduler could not reach the node, then try the release again.",
    )
    HANDSHAKE = Kind(
        Exit.STATE,
        "The boot loader and the boot state disagree about this boot.",
        "Check that the disk boots through its own GRUB and that STATE can be written.",
    )
    NO_STATE = Kind(Exit.STATE, "Neither copy of the boot state is valid.", "Look at it with proa-disk show.")
    NOTHING_RUNNING = Kind(Exit.STATE, "There is nothing to cancel.", "See proa-agent status.")
    CANCELLED = Kind(Exit.INTERRUPTED, "Cancelled by order.", "Start it again when you want.")
    # network
    NETWORK = Kind(
        Exit.NETWORK,
        "The registry could not be reached.",
        "Check the address, the network and the certificate.",
    )
    REGISTRY = Kind(Exit.NETWORK, "The registry answered with an error.", "Look at its log.")
    AUTH = Kind(Exit.NETWORK, "The registry refused the credentials.", "Check the auth file.")
    NOT_FOUND = Kind(Exit.NETWORK, "The registry does not have it.", "Check name, tag and digest.")
    # device, disk, file system
    DEVICE = Kind(Exit.DEVICE, "A disk or file could not be read or written.", "Look at the kernel log.")
    DEVICE_BUSY = Kind(Exit.DEVICE, "The disk or partition is in use.", "Unmount it, or close what holds it.")
    READ_BACK = Kind(Exit.DEVICE, "What was written reads back different.", "The device is failing: replace it.")
    NO_DISK = Kind(
        Exit.DEVICE, "The disk is not there or holds no Proa layout.", "Name a disk or an image file that holds one."
    )
    AMBIGUOUS = Kind(Exit.DEVICE, "Two candidates where one must be.", "Detach the other disk.")
    LAYOUT = Kind(Exit.USAGE, "The layout does not fit.", "Change a size by the difference named.")
    DISK_FULL = Kind(Exit.DEVICE, "The file system is full.", "Free some space.")
    # builder
    PACKAGES = Kind(
        Exit.FAILED, "The packages could not be installed.", "Look at the names and at the log's last lines."
    )
    MIRROR = Kind(Exit.NETWORK, "The package mirror could not be reached.", "Check sources and network.")
    HOOK = Kind(Exit.FAILED, "A hook failed.", "Run it by hand; its output is above.")
    USERS_CHANGED = Kind(Exit.USAGE, "System users changed their numbers.", "Keep the lock file beside proa.toml.")
    SECURE_BOOT = Kind(Exit.FAILED, "A boot binary could not be signed or checked.", "Check the Secure Boot keys.")
    # cluster
    KUBECONFIG = Kind(
        Exit.USAGE,
        "There is no usable access to a cluster.",
        "Set KUBECONFIG to a kubeconfig file, or run in a pod with a service account.",
    )
    CLUSTER = Kind(
        Exit.NETWORK,
        "The Kubernetes API server could not be reached.",
        "Check its address, the network and the certificate.",
    )
    CLUSTER_BUSY = Kind(
        Exit.NETWORK, "The Kubernetes API server asks to be left alone for a while.", "Try again in a while."
    )
    CLUSTER_ERROR = Kind(Exit.NETWORK, "The Kubernetes API server answered with an error.", "Look at its log.")
    CLUSTER_AUTH = Kind(
        Exit.NETWORK, "The Kubernetes API server does not know the credentials.", "Check the kubeconfig or the token."
    )
    CLUSTER_FORBIDDEN = Kind(
        Exit.REFUSED,
        "The cluster does not allow this with these credentials.",
        "Apply what 'proa-scheduler manifests' prints, or ask for the right.",
    )
    CLUSTER_INVALID = Kind(
        Exit.USAGE, "The cluster does not accept the object.", "Correct the field that the message names."
    )
    CLUSTER_MISSING = Kind(Exit.STATE, "The cluster does not have the object.", "Check its name.")
    CLUSTER_CONFLICT = Kind(
        Exit.BUSY, "Somebody else has changed the object meanwhile.", "Look at the object, and try again."
    )
    CLUSTER_EXPIRED = Kind(
        Exit.STATE, "The Kubernetes API server no longer knows that version of the objects.", "List them again."
    )
    STALE_LEADER = Kind(
        Exit.REFUSED, "Another scheduler has become the leader since.", "Nothing: this one waits for its turn again."
    )
    HALTED = Kind(
        Exit.STATE,
        "The rollout was halted.",
        "See why with 'kubectl proa status', then resume it with --attempt, or roll it back.",
    )
    NO_PREVIOUS = Kind(
        Exit.STATE,
        "Nobody knows which release to go back to.",
        "Name it: kubectl proa rollback ROLLOUT --to REF.",
    )
    # vm
    NO_FIRMWARE = Kind(Exit.FAILED, "QEMU or its firmware is not installed.", "Install qemu-system-x86 and ovmf.")
    TIMEOUT = Kind(Exit.FAILED, "It did not happen in time.", "Look at the console.")
    CONSOLE = Kind(Exit.FAILED, "The console shows a bad sign.", "Look at the console.")
    REHEARSAL = Kind(Exit.FAILED, "The rehearsal did not come out as promised.", "Read the report.")
    # general
    TOOL = Kind(Exit.FAILED, "A program that Proa calls failed.", "The command can be pasted into a shell.")
    TOOL_MISSING = Kind(
        Exit.FAILED, "A program that Proa calls is not installed.", "Run make setup or install its package."
    )
    INTERRUPTED = Kind(Exit.INTERRUPTED, "Interrupted.", "Nothing half done was left active.")
    INTERNAL = Kind(Exit.FAILED, "A defect in Proa.", "Please report it with the command and the output.")


@dataclass(frozen=True)
class ErrorEntry(Report, schema="proa.error/v1"):
    """One of several errors."""

    code: str = field("The stable code (docs/reference/errors.md).", enum=[code.name for code in Code])
    message: str = field("What happened.")
    at: str = field("Where: file:line:column, a device, a URL; empty if nowhere in particular.")
    hint: str = field("What to do about it.")
    exit: int = field("The exit status of the command.", enum=[int(status) for status in Exit])


@dataclass(frozen=True)
class ErrorReport(ErrorEntry):
    """How a command failed, on standard output in place of its report."""

    errors: tuple[ErrorEntry, ...] = field("All of them, when there are several.", default=(), left_out=True)


class ProaError(Exception):
    """A failure with a code. Library code raises it; only the command line prints it.

    What it tells may come from a stranger: control characters and lone surrogates in it become escapes.

    Attributes:
        code: The stable code.
        message: What happened, in one sentence with the values that matter.
        at: Where: ``file:line:column``, a device, a URL. Empty if nowhere in particular.
        hint: What the user can do; the code's own hint unless a better one is given.
    """

    def __init__(self, code: Code, message: str = "", *, at: object = "", hint: str = "") -> None:
        self.code = code
        self.message = printable(message or code.value.summary)
        self.at = printable(str(at))
        self.hint = printable(hint or code.value.hint)
        super().__init__(self.message)

    @property
    def exit(self) -> Exit:
        """The exit status of a command that ends with this error."""
        return self.code.value.exit

    def text(self, command: str) -> str:
        """The error as a person reads it: ``COMMAND: error[CODE]: ...``, ``at:``, ``hint:``."""
        lines = [f"{command}: error[{self.code.name}]: {self.message}"]
        if self.at:
            lines.append(f"  at: {self.at}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)

    def report(self) -> ErrorEntry:
        """The error for programs."""
        return ErrorEntry(self.code.name, self.message, self.at, self.hint, int(self.exit))

    def document(self) -> dict[str, Any]:
        """The error as ``proa.error/v1``."""
        return _written(self.report())


class ProaErrors(ProaError):  # noqa: N818 -- a bundle of them
    """Several errors of one kind that are told together, as configuration errors are."""

    def __init__(self, errors: Sequence[ProaError]) -> None:
        self.errors = tuple(errors)
        first, count = self.errors[0], len(self.errors)
        if count == 1:
            super().__init__(first.code, first.message, at=first.at, hint=first.hint)
        else:
            super().__init__(Code.CONFIG, f"{count} errors")

    def text(self, command: str) -> str:
        """All of them, one after the other."""
        return "\n".join(error.text(command) for error in self.errors)

    def report(self) -> ErrorReport:
        """The error for programs, the single ones with it."""
        return ErrorReport(**vars(super().report()), errors=tuple(error.report() for error in self.errors))


def _written(report: ErrorEntry) -> dict[str, Any]:
    """As JSON; what writes all other documents knows of errors itself."""
    found = report.header() | vars(report)
    return found | ({"errors": [_written(error) for error in found["errors"]]} if "errors" in found else {})
