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
    PERMANENT = 8
    INTERRUPTED = 130


@dataclass(frozen=True)
class ErrorKind:
    """What is fixed for an error code: its exit status and its summary."""

    exit: Exit
    summary: str
    hint: str
    """What the user can do about it; an error may give a more precise one."""


class Code(enum.Enum):
    """Every stable error code. Names never change their meaning; new ones are only added."""

    # usage and configuration
    USAGE = ErrorKind(Exit.USAGE, "The command line is invalid.", "See --help.")
    CONFIG = ErrorKind(Exit.USAGE, "The configuration has errors.", "Correct the places listed; the list is complete.")
    CONFIG_SYNTAX = ErrorKind(Exit.USAGE, "The configuration file is not TOML.", "See https://toml.io/en/v1.0.0.")
    CONFIG_UNKNOWN_KEY = ErrorKind(Exit.USAGE, "There is no setting with this name.", "See docs/reference/settings.md.")
    CONFIG_VALUE = ErrorKind(Exit.USAGE, "The setting does not allow this value.", "See docs/reference/settings.md.")
    CONFIG_MISSING = ErrorKind(Exit.USAGE, "A required setting is missing.", "Add it.")
    FILE_MISSING = ErrorKind(Exit.USAGE, "A file or folder that you named does not exist.", "Check the path.")
    FILE_EXISTS = ErrorKind(Exit.USAGE, "A file would be overwritten.", "Choose another path, or remove it.")
    FILE_DENIED = ErrorKind(
        Exit.DEVICE,
        "You may not read or write a file or folder.",
        "Check the owner and mode of the file and of the folders above it.",
    )
    REFERENCE = ErrorKind(
        Exit.USAGE,
        "The release reference is malformed.",
        "Write HOST[:PORT]/NAME[:TAG][@sha256:...] or oci:PATH[:TAG].",
    )
    PLAIN_HTTP = ErrorKind(
        Exit.USAGE,
        "Plain HTTP would be used to another machine.",
        "Use TLS, or pass --plain-http if you mean it.",
    )
    KEY = ErrorKind(
        Exit.USAGE,
        "The key is unusable.",
        "Use PEM files with ECDSA P-256 or Ed25519 keys; see proa-build keys init.",
    )
    # refused
    UNSIGNED = ErrorKind(Exit.REFUSED, "The release has no signature.", "Push it with --keys.")
    SIGNATURE = ErrorKind(
        Exit.REFUSED,
        "Too few trusted keys have signed the release.",
        "Check the keys and the threshold.",
    )
    NO_TRUST = ErrorKind(
        Exit.REFUSED,
        "No trusted key is configured, so everything is refused.",
        "Put public keys into the trust folder.",
    )
    DIGEST = ErrorKind(
        Exit.REFUSED, "Data does not match its signed digest.", "Fetch it again from a registry that you trust."
    )
    RELEASE = ErrorKind(
        Exit.REFUSED, "The release document is invalid.", "Build the release again with this version of Proa."
    )
    FRAMES = ErrorKind(
        Exit.REFUSED, "The payload or its map is malformed.", "Build the release again with this version of Proa."
    )
    DELTA = ErrorKind(
        Exit.REFUSED, "The delta is malformed, or between other releases.", "Make it again with proa-build delta."
    )
    VERITY = ErrorKind(
        Exit.REFUSED,
        "A block does not match the verity tree.",
        "Install the release again: the image or its tree was altered.",
    )
    INCOMPATIBLE = ErrorKind(
        Exit.REFUSED, "The release is for another kind of node.", "Compare 'compatible' of the release and of the node."
    )
    ARCHITECTURE = ErrorKind(
        Exit.REFUSED, "The release is for another architecture.", "Build a release for this node's architecture."
    )
    REQUIRES = ErrorKind(
        Exit.REFUSED,
        "The release needs another layout or loader, or a newer agent.",
        "Install an intermediate release first.",
    )
    SERIAL = ErrorKind(Exit.REFUSED, "The release is older than the recorded floor allows.", "Install a newer release.")
    EXPIRED = ErrorKind(Exit.REFUSED, "The release has expired.", "Install a newer release.")
    DENIED = ErrorKind(Exit.REFUSED, "The release is on the deny list of this node.", "Install another release.")
    SAME_ROOT = ErrorKind(
        Exit.REFUSED,
        "The good slot holds the same root with another kernel image.",
        "Build the release again: a root has exactly one kernel image.",
    )
    TOO_LARGE = ErrorKind(
        Exit.REFUSED, "The content is larger than its slot.", "Make the image smaller or the slot larger."
    )
    SLOT_IN_USE = ErrorKind(
        Exit.REFUSED, "The target slot is booted or good, and must not be written.", "Reboot or commit first."
    )
    NOT_ALLOWED = ErrorKind(Exit.REFUSED, "You may not do this.", "Run the command as root.")
    STALE_ORDER = ErrorKind(
        Exit.REFUSED,
        "The node has seen a later order, or the order is for another boot.",
        "Check the node's status, and give a new order with a higher id.",
    )
    SETTINGS_INVALID = ErrorKind(
        Exit.USAGE,
        "The settings document cannot be read.",
        "Write JSON or TOML: a table for each model, with its keys and values.",
    )
    SETTINGS_REFUSED = ErrorKind(
        Exit.REFUSED,
        "The node's release does not allow these settings.",
        "Change what is named, or allow it under [settings] in proa.toml and build a release.",
    )
    SETTINGS_OLDER = ErrorKind(
        Exit.REFUSED, "The node has committed a later document.", "Raise its revision, or revert the node first."
    )
    SETTINGS_FAILED = ErrorKind(
        Exit.FAILED,
        "The settings did not take effect, and the previous ones are back.",
        "Read the reason, correct the document, and apply it again.",
    )
    # busy and state
    BUSY = ErrorKind(Exit.BUSY, "Another process holds the lock.", "Wait for it to end, or cancel it.")
    NO_TRIAL = ErrorKind(Exit.STATE, "There is no trial to commit.", "Check proa-agent status.")
    NO_SETTINGS_TRIAL = ErrorKind(
        Exit.STATE, "No settings are being tried.", "Check proa-agent settings show; apply a document first."
    )
    NOT_STAGED = ErrorKind(Exit.STATE, "The other slot holds no complete release.", "Install a release first.")
    NOT_GOOD = ErrorKind(Exit.STATE, "The other slot is not known to be good.", "Install a release first.")
    IN_TRIAL = ErrorKind(
        Exit.STATE,
        "A trial is running, so nothing can be installed over the good slot.",
        "Commit it or roll back first.",
    )
    TRIAL_RETURNED = ErrorKind(
        Exit.STATE, "A trial returned without a commit.", "Read the reason in proa-agent status."
    )
    NO_COMMIT_ORDER = ErrorKind(
        Exit.STATE,
        "A healthy trial returned because it got no order to commit in time.",
        "Find out why the scheduler could not reach the node, then try the release again.",
    )
    HANDSHAKE = ErrorKind(
        Exit.STATE,
        "The boot loader and the boot state disagree about this boot.",
        "Check that the disk boots through its own GRUB, and that STATE is writable.",
    )
    NO_STATE = ErrorKind(Exit.STATE, "Neither copy of the boot state is valid.", "Inspect it with proa-disk show.")
    NOTHING_RUNNING = ErrorKind(Exit.STATE, "There is nothing to cancel.", "Check proa-agent status.")
    CANCELLED = ErrorKind(Exit.INTERRUPTED, "The job was cancelled.", "Start it again when you are ready.")
    # network
    NETWORK = ErrorKind(
        Exit.NETWORK,
        "The registry could not be reached.",
        "Check the address, the network and the certificate.",
    )
    REGISTRY = ErrorKind(Exit.NETWORK, "The registry answered with an error.", "Check the registry's log.")
    AUTH = ErrorKind(Exit.PERMANENT, "The registry refused the credentials.", "Check the auth file.")
    NOT_FOUND = ErrorKind(Exit.PERMANENT, "The registry does not have the release.", "Check the name, tag and digest.")
    AUTH_FILE = ErrorKind(
        Exit.USAGE,
        "The file with credentials for registries cannot be used.",
        "Log in again with docker, podman or oras, or name another file.",
    )
    # device, disk, file system
    DEVICE = ErrorKind(Exit.DEVICE, "A disk or file could not be read or written.", "Check the kernel log.")
    DEVICE_BUSY = ErrorKind(
        Exit.DEVICE, "The disk or partition is in use.", "Unmount it, or close the program that uses it."
    )
    READ_BACK = ErrorKind(
        Exit.DEVICE,
        "The device returned data that differs from what was written.",
        "Replace the device: it is failing.",
    )
    NO_DISK = ErrorKind(
        Exit.DEVICE,
        "The disk does not exist, or has no Proa layout.",
        "Name a disk or an image file with a Proa layout.",
    )
    AMBIGUOUS = ErrorKind(
        Exit.DEVICE, "There are two candidates, but there must be only one.", "Detach the other disk."
    )
    LAYOUT = ErrorKind(Exit.USAGE, "The layout does not fit.", "Change a size by the difference shown.")
    DISK_FULL = ErrorKind(Exit.DEVICE, "The file system is full.", "Free some space.")
    # builder
    PACKAGES = ErrorKind(
        Exit.FAILED, "The packages could not be installed.", "Check the package names and the last lines of the log."
    )
    MIRROR = ErrorKind(Exit.NETWORK, "The package mirror could not be reached.", "Check the sources and the network.")
    HOOK = ErrorKind(Exit.FAILED, "A hook failed.", "Run it by hand; its output is above.")
    NOT_REPRODUCIBLE = ErrorKind(
        Exit.FAILED,
        "Two builds of the same configuration differ.",
        "Find what wrote the file, and take times, random numbers and names of machines out of it.",
    )
    USERS_CHANGED = ErrorKind(
        Exit.USAGE, "Numeric ids of users or groups have changed.", "Keep the lock file next to proa.toml."
    )
    SECURE_BOOT = ErrorKind(
        Exit.FAILED, "A boot binary could not be signed or verified.", "Check the Secure Boot keys."
    )
    # cluster
    KUBECONFIG = ErrorKind(
        Exit.USAGE,
        "There is no usable access to a cluster.",
        "Set KUBECONFIG to a kubeconfig file, or run in a pod with a service account.",
    )
    CLUSTER = ErrorKind(
        Exit.NETWORK,
        "The Kubernetes API server could not be reached.",
        "Check its address, the network and the certificate.",
    )
    CLUSTER_BUSY = ErrorKind(
        Exit.NETWORK, "The Kubernetes API server is overloaded and asks clients to wait.", "Try again in a minute."
    )
    CLUSTER_ERROR = ErrorKind(
        Exit.NETWORK, "The Kubernetes API server answered with an error.", "Check the API server's log."
    )
    CLUSTER_AUTH = ErrorKind(
        Exit.PERMANENT, "The Kubernetes API server rejects the credentials.", "Check the kubeconfig or the token."
    )
    CLUSTER_FORBIDDEN = ErrorKind(
        Exit.REFUSED,
        "The cluster does not allow this with these credentials.",
        "Apply the output of 'proa-scheduler manifests', or ask for the permission.",
    )
    CLUSTER_INVALID = ErrorKind(
        Exit.USAGE, "The cluster rejects the object.", "Correct the field that the message names."
    )
    CLUSTER_MISSING = ErrorKind(Exit.STATE, "The cluster does not have the object.", "Check its name.")
    CLUSTER_CONFLICT = ErrorKind(
        Exit.BUSY, "Somebody else has changed the object meanwhile.", "Check the object, and try again."
    )
    CLUSTER_EXPIRED = ErrorKind(
        Exit.STATE, "The Kubernetes API server no longer has that version of the objects.", "List them again."
    )
    STALE_LEADER = ErrorKind(
        Exit.REFUSED, "Another scheduler has become the leader.", "Do nothing: this scheduler waits for its turn."
    )
    HALTED = ErrorKind(
        Exit.STATE,
        "The rollout halted.",
        "Find the cause with 'kubectl proa status', then resume with --attempt, or roll back.",
    )
    NO_PREVIOUS = ErrorKind(
        Exit.STATE,
        "There is no previous release to go back to.",
        "Name a release: kubectl proa rollback ROLLOUT --to REF.",
    )
    # vm
    NO_FIRMWARE = ErrorKind(Exit.FAILED, "QEMU or its firmware is not installed.", "Install qemu-system-x86 and ovmf.")
    TIMEOUT = ErrorKind(Exit.FAILED, "Something did not happen in time.", "Check the console.")
    CONSOLE = ErrorKind(Exit.FAILED, "The console shows a bad sign.", "Check the console.")
    REHEARSAL = ErrorKind(Exit.FAILED, "The rehearsal did not go as promised.", "Read the report.")
    # general
    TOOL = ErrorKind(
        Exit.FAILED, "A program that Proa calls failed.", "Paste the command into a shell to run it again."
    )
    TOOL_MISSING = ErrorKind(
        Exit.FAILED, "A program that Proa calls is not installed.", "Run make setup, or install its package."
    )
    RESOURCES = ErrorKind(
        Exit.FAILED,
        "The system refuses this process more memory, threads or open files.",
        "Free some, or raise the limit: MemoryMax, TasksMax or LimitNOFILE of the service, ulimit in a shell.",
    )
    INTERRUPTED = ErrorKind(Exit.INTERRUPTED, "Interrupted.", "Run it again: nothing half-finished is active.")
    INTERNAL = ErrorKind(Exit.FAILED, "There is a bug in Proa.", "Report it with the command and the output.")


@dataclass(frozen=True)
class ErrorEntry(Report, schema="proa.error/v1"):
    """One of several errors."""

    code: str = field("The stable code (docs/reference/errors.md).", enum=[code.name for code in Code])
    message: str = field("What happened.")
    at: str = field("The place: file:line:column, a device, a URL; empty if there is none.")
    hint: str = field("What you can do about it.")
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
    """Several errors of one kind that are reported together, as configuration errors are."""

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
