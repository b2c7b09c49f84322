"""The page of what a node may be given: made from the table that nodes themselves read."""

from __future__ import annotations

from making.markdown import code, page, table

from proa.builder.steps.initrd import CREDENTIALS

_INTRO = (
    "A node takes these [systemd credentials](https://systemd.io/CREDENTIALS/) from its machine (SMBIOS, fw_cfg), or "
    "files of the same names in `/persist/proa.seed`. A file that is there already and not empty stays as it is. A "
    "`*` stands for any text. The initrd throws every other credential away, unless the setting `system.credentials` "
    "of the release names it: much of what systemd would act on carries code. The mode `0640` is for the group named "
    "beside it."
)


def credentials() -> str:
    """docs/reference/credentials.md."""
    lines = [line.split() for line in CREDENTIALS.read_text().splitlines() if line and not line.startswith("#")]
    rows = [[code(name), code(place), code(mode), code(*group) if group else ""] for name, place, mode, *group in lines]
    return page("Credentials", _INTRO, table(["credential", "where it goes", "mode", "group"], rows))
