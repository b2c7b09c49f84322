import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from proa.core.runtime.errors import Code, ProaError
from proa.core.signing.bundle import sign
from proa.core.signing.keys import Algorithm
from proa.core.signing.trust import Trust, load, save

DIGEST = "sha256:" + "1" * 64
KEYS = (Algorithm.ECDSA_P256.generate(), Algorithm.ED25519.generate())
TRUST = Trust(tuple(key.public for key in KEYS), 1, "worker", 5, ("1.3", "b" * 64))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "trust", TRUST)
    return tmp_path / "trust"


def write_local(tmp_path: Path, **fields: Any) -> Path:
    path = tmp_path / "local.json"
    path.write_text(json.dumps({"schema": "proa.trust/v1"} | fields))
    return path


def test_a_trust_folder_survives_writing_and_reading(folder: Path, tmp_path: Path) -> None:
    read = load(folder, local=tmp_path / "none.json")
    assert set(read.keys) == set(TRUST.keys)
    assert (read.threshold, read.compatible, read.floor, read.deny) == (1, "worker", 5, ("1.3", "b" * 64))
    save(tmp_path / "again", TRUST)
    same = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == same


def test_it_checks_signatures_against_its_threshold(folder: Path) -> None:
    read = load(folder, None)
    assert read.check([sign(DIGEST, KEYS[0])], DIGEST) == (KEYS[0].public.id,)
    with pytest.raises(ProaError) as caught:
        dataclasses.replace(read, threshold=2).check([sign(DIGEST, KEYS[0])], DIGEST)
    assert caught.value.code is Code.SIGNATURE


def test_the_node_can_only_tighten(folder: Path, tmp_path: Path) -> None:
    tighter = load(folder, write_local(tmp_path, threshold=2, floor=9, deny=["2.0"]))
    assert (tighter.threshold, tighter.floor, tighter.deny) == (2, 9, ("1.3", "b" * 64, "2.0"))
    looser = load(folder, write_local(tmp_path, threshold=1, floor=1, deny=[]))
    assert (looser.threshold, looser.floor, looser.deny) == (1, 5, TRUST.deny)
    with pytest.raises(ProaError, match="cannot be changed"):
        load(folder, write_local(tmp_path, compatible="other"))


@pytest.mark.parametrize("target", ["/nowhere/trust.json", "trust.json"])
def test_a_tightening_that_cannot_be_read_is_not_passed_over(folder: Path, tmp_path: Path, target: str) -> None:
    """A link to nowhere, and one to itself."""
    local = tmp_path / "trust.json"
    local.symlink_to(target)
    with pytest.raises(ProaError) as caught:
        load(folder, local)
    assert (caught.value.code, caught.value.at) == (Code.NO_TRUST, str(local))


def test_a_tightening_behind_what_is_no_folder_is_not_passed_over(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "proa").touch()
    with pytest.raises(ProaError) as caught:
        load(folder, tmp_path / "proa" / "trust.json")
    assert caught.value.code is Code.NO_TRUST


@pytest.mark.parametrize(
    "fields",
    [
        {"threshold": 0},
        {"threshold": 1.0},
        {"threshold": True},
        {"threshold": 3},
        {"floor": -1},
        {"floor": "7"},
        {"compatible": "a b"},
        {"deny": "1.0"},
        {"deny": [1]},
        {"deny": [""]},
        {"keys": []},
        {"schema": "proa.trust/v2"},
    ],
)
def test_what_is_not_understood_is_not_trusted(folder: Path, fields: dict[str, Any]) -> None:
    document = json.loads((folder / "trust.json").read_text())
    (folder / "trust.json").write_text(json.dumps(document | fields))
    with pytest.raises(ProaError) as caught:
        load(folder, None)
    assert caught.value.code is Code.NO_TRUST


def test_missing_parts_fail_closed(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ProaError) as caught:
        load(tmp_path / "nowhere", None)
    assert caught.value.code is Code.NO_TRUST
    (folder / "trust.json").unlink()
    with pytest.raises(ProaError) as caught:
        load(folder, None)
    assert caught.value.code is Code.NO_TRUST
    save(folder, TRUST)
    (folder / "zz.pub").write_text("no key")
    with pytest.raises(ProaError) as caught:
        load(folder, None)
    assert caught.value.code is Code.KEY


def test_a_local_file_that_is_broken_is_not_passed_over(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "local.json"
    path.write_text("{")
    with pytest.raises(ProaError) as caught:
        load(folder, path)
    assert caught.value.code is Code.NO_TRUST
