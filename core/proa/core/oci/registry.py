"""Opening what a reference names, for reading: a registry's repository or an OCI layout folder."""

from __future__ import annotations

import dataclasses
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from proa.core.oci.access import DEFAULT, Access
from proa.core.oci.limits import DEFAULT_LIMITS, TransferLimits
from proa.core.oci.mirrors import NO_MIRRORS, Mirror, Mirrors
from proa.core.oci.pace import Pace
from proa.core.oci.reference import Reference
from proa.core.oci.source import Source
from proa.core.runtime.clock import SYSTEM, Clock
from proa.core.runtime.stop import NEVER, Stop

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter

    from proa.core.oci.session import RegistrySession

_PROBE_SECONDS = 5.0


def open_source(
    reference: Reference,
    access: Access = DEFAULT,
    *,
    limits: TransferLimits = DEFAULT_LIMITS,
    clock: Clock = SYSTEM,
    stop: Stop = NEVER,
    transport: BaseAdapter | None = None,
    mirrors: Mirrors = NO_MIRRORS,
    tell: Callable[[str], None] = lambda _: None,
) -> Source:
    """Open what a reference names, for reading. Close it, or use it in a ``with``.

    Plain HTTP is spoken if ``access`` says so, or to this machine if its registry does not speak TLS.

    Args:
        reference: What to open.
        access: How a registry is reached.
        limits: Time limits.
        clock: Whose time counts.
        stop: Who may want the work to end: what waits for the network then ends at once.
        transport: What carries requests instead of the network: for tests.
        mirrors: The mirrors of each registry.
        tell: Is told, in a sentence, which mirror is left and why.
    """
    if reference.layout is not None:
        from proa.core.oci.layoutdir import LayoutDir

        return LayoutDir(reference)
    from proa.core.oci.remote import RemoteRepository  # here: an HTTP client costs 11 MiB, and folders need none

    pace = Pace(limits.maximum_rate, clock)  # one for all places together

    def registry(limits: TransferLimits) -> RemoteRepository:
        return RemoteRepository(reference, open_session(reference, access, limits, clock, transport, stop, pace))

    def mirror(mirror: Mirror) -> RemoteRepository:
        there, reached = mirror.reference(reference), mirror_access(access, mirror)
        session = open_session(there, reached, limits.brief(), clock, transport, stop, pace)
        return RemoteRepository(there, session, only_ranges=True)

    if not (known := mirrors.get(reference.host)):
        return registry(limits)
    from proa.core.oci.mirrored import MirroredRepository, Place

    own, brief = (Place(reference.host, partial(registry, one)) for one in (limits, limits.brief()))
    others = [Place(str(one), partial(mirror, one)) for one in known]
    return MirroredRepository(reference, own, brief, others, clock, tell)


def mirror_access(access: Access, mirror: Mirror) -> Access:
    """How a mirror is reached: as its registry, but without the registry's client certificate.

    Of an auth file only the entry of the mirror's own host counts.
    """
    return dataclasses.replace(access, plain_http=mirror.plain_http, cert_file=None, key_file=None)


def open_session(
    reference: Reference,
    access: Access,
    limits: TransferLimits,
    clock: Clock,
    transport: BaseAdapter | None,
    stop: Stop = NEVER,
    pace: Pace | None = None,
) -> RegistrySession:
    """A session with the registry that a reference names; see :func:`open_source`."""
    from proa.core.oci.session import RegistrySession

    access.check()
    chosen = access.plain_http or access.ca_file or access.cert_file or transport
    return RegistrySession(
        reference.host,
        reference.name,
        access,
        plain_http=not chosen and reference.is_loopback and not _speaks_tls(reference.host),
        limits=limits,
        clock=clock,
        stop=stop,
        transport=transport,
        pace=pace,
    )


def _speaks_tls(host: str) -> bool:
    """Whether a registry on this machine speaks TLS; also if it cannot be reached, which shows later."""
    parts = urlsplit(f"//{host}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # asked is only which protocol; certificates are checked when it is used
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((parts.hostname or "", parts.port or 443), _PROBE_SECONDS) as connection,
            context.wrap_socket(connection),
        ):
            return True
    except ssl.SSLError as error:
        return error.reason not in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST")
    except OSError:
        return True
