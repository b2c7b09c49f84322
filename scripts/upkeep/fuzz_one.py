"""One target under Atheris: ``python -m upkeep.fuzz_one NAME [libFuzzer's options] CORPUS...``."""

from __future__ import annotations

import sys


def main() -> None:
    """Instrument what is imported from here on, and run until the time is up or something is found."""
    import atheris  # type: ignore[import-untyped]  # there only where `make fuzz` has installed it

    with atheris.instrument_imports(include=["proa", "upkeep", "tomllib", "json"]):
        from upkeep.fuzz_targets import TARGETS

    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
