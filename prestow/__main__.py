"""The command ``prestow``: hand over to its command line."""

import sys

from flows.cli.main import main as cli


def main() -> int:
    """Run the command line of ``sys.argv``; the result is the exit status."""
    return cli(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
