#!/usr/bin/env python3
"""A table of every synced segment; --json and --watch as in `cohort-sync segments list`, which it is."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"

if Path(sys.prefix) != ROOT / ".venv":
    if not PYTHON.exists():
        sys.exit("error: the environment is not there yet; scripts/serve makes it")
    os.execv(PYTHON, [str(PYTHON), __file__, *sys.argv[1:]])  # noqa: S606 - our own interpreter

from cohort_sync.cli import main  # noqa: E402 - only the environment has what this needs

if __name__ == "__main__":
    os.chdir(ROOT)
    sys.argv[1:1] = ["segments", "list"]
    main()
