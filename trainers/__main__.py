"""`bon-train`, and `python -m trainers`, which is the same."""

import sys

from trainers.base.context import INTERRUPTED


def main() -> int:
    """`trainers.cli.main`, loaded so that Ctrl-C meanwhile ends it with a line too."""
    try:
        from trainers.cli import main as run
    except KeyboardInterrupt:
        print("bon-train: interrupted", file=sys.stderr)
        return INTERRUPTED
    return run()


if __name__ == "__main__":
    sys.exit(main())
