"""UEFI firmware for virtual machines: where it is, and its variables with the owner's keys enrolled."""

from __future__ import annotations

import logging
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from proa.core.runtime.errors import Code, ProaError

FOLDERS = (Path("/usr/share/OVMF"),)
"""Where Debian's package ``ovmf`` puts the images."""


@dataclass(frozen=True)
class Firmware:
    """One build of OVMF."""

    code: Path
    """The firmware itself; opened for reading only."""
    variables: Path
    """The template of its variable store, with no keys."""
    secure: bool
    """Whether it guards its variables by SMM and enforces Secure Boot once keys are enrolled."""


def find(secure: bool, folders: tuple[Path, ...] = FOLDERS) -> Firmware:
    """The firmware to use, with or without Secure Boot.

    Raises:
        ProaError: ``NO_FIRMWARE``.
    """
    name = "OVMF_CODE_4M.secboot.fd" if secure else "OVMF_CODE_4M.fd"
    for folder in folders:
        firmware = Firmware(folder / name, folder / "OVMF_VARS_4M.fd", secure)
        if firmware.code.exists() and firmware.variables.exists():
            return firmware
    raise ProaError(Code.NO_FIRMWARE, f"{name} is in none of {', '.join(map(str, folders))}")


def make_variables(firmware: Firmware, target: Path, keys: Path | None) -> None:
    """Copy the variable store to ``target`` and enroll the owner's PK, KEK and db, which turns Secure Boot on.

    Args:
        firmware: Whose variables.
        target: The new store, which one machine owns.
        keys: A keys folder with ``secureboot/{PK,KEK,db}.crt`` (PEM) and, if there, ``secureboot/guid.txt``
            (the owner's GUID); None leaves the machine in setup mode, where anything boots.

    Raises:
        ProaError: ``KEY`` when the folder is not a keys folder.
    """
    shutil.copyfile(firmware.variables, target)
    if keys is not None:
        check_keys(keys)
        _enroll(target, keys / "secureboot")


def check_keys(keys: Path) -> None:
    """Check that a folder holds the certificates to enroll.

    Raises:
        ProaError: ``KEY``.
    """
    folder = keys / "secureboot"
    missing = [name for name in ("PK.crt", "KEK.crt", "db.crt") if not (folder / name).is_file()]
    if missing:
        raise ProaError(Code.KEY, f"the keys folder lacks {', '.join(missing)}", at=folder)


def _enroll(store_path: Path, folder: Path) -> None:
    from virt.firmware.varstore.edk2 import Edk2VarStore

    owner = _owner(folder / "guid.txt")
    logging.getLogger().disabled, before = True, logging.getLogger().disabled
    try:
        store = Edk2VarStore(str(store_path))
        variables = store.get_varlist()
        for name in ("PK", "KEK", "db"):
            variables.add_cert(name, owner, str(folder / f"{name}.crt"), True)
        variables.enable_secureboot()
        # write_varstore() pads byte by byte, which takes seconds
        content = (store.filedata[: store.start] + store.bytes_varlist(variables)).ljust(store.end, b"\xff")
        store_path.write_bytes(content + store.filedata[store.end :])
    except (ValueError, RuntimeError) as error:
        raise ProaError(Code.KEY, f"cannot enroll: {error}", at=folder) from error
    finally:
        logging.getLogger().disabled = before


def _owner(file: Path) -> str:
    if not file.is_file():
        return str(uuid.uuid5(uuid.NAMESPACE_URL, "proa:secureboot"))
    text = file.read_text().strip()
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise ProaError(Code.KEY, f"not a GUID: {text}", at=file) from error
