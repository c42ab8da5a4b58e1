"""The first lines of a file, for a reward model that sees few labels."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from real_study.pools import read_lines, write_lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--lines", type=int, required=True)
    options = parser.parse_args()
    write_lines(options.output, islice(read_lines(options.input), options.lines))


if __name__ == "__main__":
    main()
