"""`python -m local_stack`: what `scripts/serve` runs once the environment is there."""

from __future__ import annotations

import sys

from foundation.errors import ConfigurationError
from local_stack.serve import serve

if __name__ == "__main__":
    try:
        serve()
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
