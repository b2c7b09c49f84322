"""What an install is asked for. Small, so that a mere client of the daemon need not import the rest."""

from __future__ import annotations

from dataclasses import dataclass, field

from proa.core.oci.access import DEFAULT, Access
from proa.core.runtime.errors import Code, ProaError
from proa.partition.boot.bootstate import TRIES_MAX, check_tries


@dataclass(frozen=True)
class Activation:
    """What was asked for besides the release.

    Raises:
        ProaError: ``USAGE`` for tries out of range, and for a reboot that would try nothing.
    """

    activate: bool = False
    reboot: bool = False
    tries: int = TRIES_MAX

    def __post_init__(self) -> None:
        check_tries(self.tries)
        if self.reboot and not self.activate:
            what = "a reboot without activation would boot the release that runs now"
            raise ProaError(Code.USAGE, what, at="reboot", hint="Add --activate, or leave out --reboot.")


@dataclass(frozen=True)
class InstallOrder:
    """What is asked for.

    Attributes:
        reference: The release.
        activation: Whether to arm it, and to reboot then.
        registry: How to reach the registry.
        downgrade: Whether a release older than one that was committed is meant.
        rate: Bytes a second that may be fetched at, besides the node's own limit; 0 for no limit.
    """

    reference: str
    activation: Activation = field(default_factory=Activation)
    registry: Access = DEFAULT
    downgrade: bool = False
    rate: int = 0
