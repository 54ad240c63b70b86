"""The command ``prestow``: find the project, hand over to its command line."""

import sys

from prestow.project import activate


def main() -> int:
    """Run the command line of ``sys.argv``; the result is the exit status."""
    activate()
    from flows.cli.main import main as cli  # noqa: PLC0415 - can be found only now

    return cli(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
