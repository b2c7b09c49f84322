"""How a registry may be reached: the files of TLS, and who sees them."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from proa.core.oci.access import Access
from proa.core.oci.session import Call, RegistrySession
from proa.core.runtime.errors import Code, ProaError


def test_a_key_without_a_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProaError) as caught:
        Access(key_file=tmp_path / "client.key").check()
    assert (caught.value.code, caught.value.at) == (Code.USAGE, str(tmp_path / "client.key"))
    assert "--cert-file" in caught.value.hint


def test_a_certificate_without_a_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "client.crt"
    path.write_text("-----BEGIN CERTIFICATE-----\nMAo=\n-----END CERTIFICATE-----\n")
    with pytest.raises(ProaError) as caught:
        Access(cert_file=path).context(client=True)
    assert (caught.value.code, caught.value.at) == (Code.USAGE, str(path))
    assert "--key-file" in caught.value.hint


def test_files_that_are_no_pem_are_named(tmp_path: Path) -> None:
    cert, key = tmp_path / "client.crt", tmp_path / "client.key"
    cert.write_text("none")
    key.write_text("none")
    with pytest.raises(ProaError) as caught:
        Access(cert_file=cert, key_file=key).context(client=True)
    assert (caught.value.code, caught.value.at) == (Code.NETWORK, f"{cert}, {key}")
    assert "None" not in caught.value.message


class Refused(Access):
    """Says for whom TLS is set up, before anything is connected."""

    def context(self, *, client: bool) -> ssl.SSLContext:
        raise ProaError(Code.USAGE, "with the client's certificate" if client else "without it")


@pytest.mark.parametrize(
    ("host", "told"), [("registry.example", "with the client's certificate"), ("storage.example", "without it")]
)
def test_the_clients_certificate_is_for_the_registry_alone(host: str, told: str) -> None:
    session = RegistrySession("registry.example", "node", Refused())
    with pytest.raises(ProaError, match=told):
        session.exchange(Call("GET", f"https://{host}/v2/"), session.patience())
