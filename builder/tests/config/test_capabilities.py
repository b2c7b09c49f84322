"""File capabilities: the texts that are accepted, and the bytes that setcap(8) would write."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from proa.builder.config import capabilities
from proa.builder.config.kinds import Refused

KIND = capabilities.Capabilities()


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("cap_chown=p", "0000000201000000000000000000000000000000"),
        ("cap_net_raw=ep", "0100000200200000000000000000000000000000"),
        ("cap_net_raw,cap_net_admin=eip", "0100000200300000003000000000000000000000"),
        ("cap_checkpoint_restore=i", "0000000200000000000000000000000000010000"),
        ("cap_bpf,cap_kill,cap_kill=ep", "0100000220000000000000008000000000000000"),
    ],
)
def test_b05_capabilities_are_the_kernels_bytes(text: str, data: str) -> None:
    assert capabilities.encoded(KIND.read(text)).hex() == data


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("cap_net_rwa=ep", "did you mean 'cap_net_raw'?"),
        ("net_raw=ep", "did you mean 'cap_net_raw'?"),
        ("cap_net_raw", "is not capabilities such as"),
        ("cap_net_raw=e", "is not capabilities such as"),
        ("cap_net_raw,=ep", "there is no capability ''"),
        ("", "is not capabilities such as"),
        (1, "is not capabilities such as"),
    ],
)
def test_b05_capabilities_that_do_not_exist_are_refused_with_the_nearest(value: object, part: str) -> None:
    with pytest.raises(Refused) as raised:
        KIND.read(value)
    assert part in str(raised.value)


@pytest.mark.contract
def test_b05_setcap_writes_the_same(tmp_path: Path) -> None:
    """One capability after another, each against the tool of the kernel's own library."""
    file = tmp_path / "program"
    file.touch()
    for name in capabilities.NAMES:
        subprocess.run(["/usr/sbin/setcap", f"cap_{name}=ep", file], check=True)
        assert os.getxattr(file, capabilities.XATTR) == capabilities.encoded(f"cap_{name}=ep"), name
