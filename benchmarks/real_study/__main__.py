"""`make real-study`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from load import end_on_sigterm

from real_study.layout import Layout
from real_study.plan import steps_of
from real_study.run import StepFailedError, Study


def main() -> int:
    parser = argparse.ArgumentParser(prog="make real-study", description=__doc__)
    parser.add_argument("--only", nargs="+", default=(), metavar="STEP", help="run only these")
    parser.add_argument("--list", action="store_true", help="show the steps and their minutes")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: no figure counts")
    parser.add_argument("--minutes", type=float, help="stop after so many; call again to go on")
    parser.add_argument(
        "--take", nargs="+", default=(), metavar="STEP", help="mark as done: made by hand"
    )
    parser.add_argument("--output", type=Path, help="folder of all that is made")
    options = parser.parse_args()
    folder = options.output or Path("runs/real-study-smoke" if options.smoke else "runs/real-study")
    layout = Layout(folder, options.smoke)
    study = Study(layout, steps_of(layout))
    end_on_sigterm()
    try:
        if options.take:
            study.take(options.take)
        print(study.listed(), flush=True)
        return 0 if options.list or options.take else study.run(options.only, options.minutes)
    except (StepFailedError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
