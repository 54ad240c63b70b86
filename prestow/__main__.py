"""The command ``prestow``: hand over to its command line."""

import gc
import sys

from flows.cli.main import main as cli

_ALLOCATIONS = 50_000  # between two looks for garbage; modules, of which a command imports many, are none


def main() -> int:
    """Run the command line of ``sys.argv``; the result is the exit status."""
    gc.set_threshold(_ALLOCATIONS)
    try:
        return cli(sys.argv[1:])
    finally:
        gc.freeze()  # or the interpreter, as it ends, looks for garbage in all modules


if __name__ == "__main__":
    sys.exit(main())
