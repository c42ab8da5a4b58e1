"""Runs several commands of `bon-train` in turn, for torchrun takes longer to start than they do."""

from __future__ import annotations

import shlex
import sys

from trainers.cli import main

if __name__ == "__main__":
    for command in sys.argv[1:]:
        code = main(shlex.split(command))
        if code:
            sys.exit(code)
