"""A registry that answers 503 for a while, at its own address and with its own certificate."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from proa.vm.support.registry import LocalRegistry


class _Busy(BaseHTTPRequestHandler):
    """503 (RFC 9110, section 15.6.4) to everybody, with the wish to be asked again."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("Retry-After", "5")
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def unavailable(registry: LocalRegistry) -> Iterator[None]:
    """Put it in the place of a registry as long as the block lasts.

    Raises:
        ProaError: ``TIMEOUT`` or ``TOOL`` when the registry does not come back.
    """
    registry.stop()
    server = ThreadingHTTPServer(("127.0.0.1", registry.port), _Busy)
    if registry.certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(registry.certificate.cert_file, registry.certificate.key_file)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        registry.start()
