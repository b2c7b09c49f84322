"""One kernel, or the one that is named; never the one whose name sorts last."""

from __future__ import annotations

from pathlib import Path

import pytest

from proa.builder.engine import kernels
from proa.builder.steps import packages
from proa.core.runtime.errors import Code, ProaError

OLD, NEW, CLOUD = "6.9.7-amd64", "6.12.6-amd64", "6.12.6-cloud-amd64"
DEPENDS = {
    "linux-image-amd64": f"linux-image-{NEW} (= 6.12.6-1)",
    "linux-image-cloud-amd64": f"linux-image-{CLOUD} (= 6.12.6-1), linux-base:any",
    "linux-image-both": f"linux-image-{NEW} | linux-image-{OLD}",
    "own-kernel": "kmod",
    **{f"linux-image-{version}": "kmod, initramfs-tools | linux-initramfs-tool" for version in (OLD, NEW, CLOUD)},
}
STATUS = "\n".join(
    f"Package: {name}\nStatus: install ok installed\nVersion: 1\nDepends: {depends}\n"
    for name, depends in DEPENDS.items()
)


def test_b07_the_only_kernel_is_taken() -> None:
    assert kernels.choose(STATUS, [OLD], "") == OLD


@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("linux-image-amd64", NEW),
        ("linux-image-cloud-amd64", CLOUD),
        ("linux-image-cloud-amd64=6.12.6-1", CLOUD),
        (f"linux-image-{OLD}", OLD),
        (f"linux-image-{CLOUD}", CLOUD),
    ],
)
def test_b07_of_several_the_named_one_is_taken(package: str, version: str) -> None:
    assert kernels.choose(STATUS, [OLD, NEW, CLOUD], package) == version


@pytest.mark.parametrize(
    ("versions", "package", "message", "hint"),
    [
        ([NEW, OLD], "", f"the packages contain several kernels: {NEW}, {OLD}", "kernel.package"),
        ([NEW, CLOUD], "", f"several kernels: {NEW}, {CLOUD}", "kernel.package"),
        ([NEW, OLD], "linux-image-both", "linux-image-both contains several of the kernels", ""),
        ([NEW, OLD], "own-kernel", "own-kernel contains none of the kernels", ""),
        ([NEW, OLD], "linux-image-6.9.8-amd64", "contains none of the kernels", f"Did you mean linux-image-{OLD}?"),
        ([], "", "the packages contain no kernel", "linux-image-amd64"),
        ([], "linux-image-amd64", "the packages contain no kernel", "linux-image-amd64"),
    ],
)
def test_b07_a_choice_that_nobody_made_is_an_error(versions: list[str], package: str, message: str, hint: str) -> None:
    with pytest.raises(ProaError) as raised:
        kernels.choose(STATUS, versions, package)
    assert raised.value.code is Code.PACKAGES
    assert message in raised.value.message
    assert hint in raised.value.hint
    assert raised.value.at == "kernel.package"


def test_b07_the_chosen_kernel_is_the_steps_output(tmp_path: Path) -> None:
    (tmp_path / "status").write_text(STATUS)
    (tmp_path / "kernels").mkdir()
    for version in (OLD, NEW, CLOUD):
        (tmp_path / "kernels" / version).mkdir()
        (tmp_path / "kernels" / version / "vmlinuz").write_text(version)
    packages.choose_kernel(tmp_path, "linux-image-cloud-amd64")
    assert (tmp_path / "kernel/version").read_text() == f"{CLOUD}\n"
    assert (tmp_path / "kernel/vmlinuz").read_text() == CLOUD
    assert not (tmp_path / "kernels").exists()
