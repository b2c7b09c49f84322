"""What a kernel must have is asked of its own configuration (faults n08)."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from proa.builder.steps import kernel_needs
from proa.builder.steps.kernel_needs import NEEDS
from proa.core.runtime.errors import Code, ProaError

WHOLE = "".join(f"CONFIG_{option}={'ym'[number % 2]}\n" for number, option in enumerate(NEEDS))


def test_n08_a_kernel_with_all_of_it_is_taken() -> None:
    kernel_needs.check(WHOLE, "6.1.0")


@pytest.mark.parametrize("option", NEEDS)
@pytest.mark.parametrize("how", ["# CONFIG_{} is not set", "CONFIG_{}_OTHER=y", "# CONFIG_{}=y", ""])
def test_n08_what_is_missing_is_named_with_its_reason(option: str, how: str) -> None:
    lines = [how.format(option) if line.startswith(f"CONFIG_{option}=") else line for line in WHOLE.splitlines()]
    with pytest.raises(ProaError) as caught:
        kernel_needs.check("\n".join(lines), "6.1.0-rt")
    assert (caught.value.code, caught.value.at) == (Code.CONFIG_VALUE, "kernel.package")
    assert caught.value.message == f"the kernel 6.1.0-rt lacks CONFIG_{option} (for {NEEDS[option]})"


def test_n08_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(ProaError) as caught:
        kernel_needs.check("", "0")
    assert all(f"CONFIG_{option} " in caught.value.message for option in NEEDS)


def test_n08_the_configuration_is_that_of_the_package(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "base.tar", "w") as tar:
        for name in ("./boot/config-5", "./boot/config-6"):
            entry = tarfile.TarInfo(name)
            entry.size = len(name)
            tar.addfile(entry, io.BytesIO(name.encode()))
    assert kernel_needs.read(tmp_path / "base.tar", "6") == "./boot/config-6"
    assert kernel_needs.read(tmp_path / "base.tar", "7") == ""


@pytest.mark.parametrize("option", kernel_needs.ENCRYPTION)
def test_s16_an_encrypted_persist_needs_more_of_a_kernel(option: str) -> None:
    more = "".join(f"CONFIG_{other}=m\n" for other in kernel_needs.ENCRYPTION if other != option)
    with pytest.raises(ProaError) as caught:
        kernel_needs.check(WHOLE + more, "6.1.0", encryption=True)
    assert f"lacks CONFIG_{option} (for " in caught.value.message
    kernel_needs.check(f"{WHOLE}{more}CONFIG_{option}=y\n", "6.1.0", encryption=True)
