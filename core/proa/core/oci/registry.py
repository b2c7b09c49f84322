"""Opening what a reference names: a registry's repository or an OCI layout folder."""

from __future__ import annotations

import dataclasses
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from proa.core.oci.reference import Reference
from proa.core.oci.retry import DEFAULT_LIMITS, Limits
from proa.core.oci.source import Source
from proa.core.runtime.clock import SYSTEM, Clock

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter

_PROBE_SECONDS = 5.0


def open_source(
    reference: Reference,
    *,
    plain_http: bool = False,
    ca_file: Path | None = None,
    cert_file: Path | None = None,
    key_file: Path | None = None,
    auth_file: Path | None = None,
    limits: Limits = DEFAULT_LIMITS,
    clock: Clock = SYSTEM,
    transport: BaseAdapter | None = None,
) -> Source:
    """Open what a reference names, for reading and for writing. Close it, or use it in a ``with``.

    Plain HTTP is spoken if ``plain_http`` says so, or to this machine if its registry does not speak TLS.

    Args:
        reference: What to open.
        plain_http: Whether plain HTTP is meant, also to another machine.
        ca_file: PEM certificates that are trusted besides the system's.
        cert_file: The client's certificate (PEM) for mutual TLS.
        key_file: Its key, if it is not in ``cert_file``.
        auth_file: Where credentials are, instead of the usual places (see :mod:`proa.core.oci.authfile`).
        limits: Time limits.
        clock: Whose time counts.
        transport: What carries requests instead of the network: for tests.
    """
    if reference.layout is not None:
        from proa.core.oci.layoutdir import LayoutDir

        return LayoutDir(reference)
    from proa.core.oci.remote import RemoteRepository  # here: an HTTP client costs 11 MiB, and folders need none
    from proa.core.oci.session import Access, Session

    access = Access(plain_http, ca_file, cert_file, key_file, auth_file)
    if not (plain_http or ca_file or cert_file or transport) and reference.is_loopback:
        access = dataclasses.replace(access, plain_http=not _speaks_tls(reference.host))
    session = Session(reference.host, reference.name, access, limits=limits, clock=clock, transport=transport)
    return RemoteRepository(reference, session)


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
