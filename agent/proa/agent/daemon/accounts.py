"""What the unit ``proa-accounts.service`` starts early at boot, before anything asks for a user."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Merge the databases; the exit status comes back. A node whose databases cannot be merged boots as it is."""
    from proa.agent.node.boot import boot_report
    from proa.agent.node.paths import Paths
    from proa.agent.trial.merging import merge_accounts
    from proa.core.runtime.errors import ProaError

    paths = Paths()
    try:
        report = boot_report(paths)
        if report is None:
            return 0
        for clash in merge_accounts(paths, paths.etc_upper(report.slot)).clashes:
            sys.stderr.write(f"{clash}\n")
    except ProaError as error:
        sys.stderr.write(error.text("proa-accounts") + "\n")
        return int(error.exit)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))
    sys.exit(main())
