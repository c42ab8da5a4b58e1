"""Adds a right answer to the lists of drawn answers that have none.

A list of wrong answers alone teaches a reward model nothing. Yet the prompts that the policy always
gets wrong are the ones that teach it most.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

from real_study.pools import Line, read_lines, write_lines
from trainers.tasks.gold import correct

SOURCE = "example"
"""The policy that an added answer is said to be of."""


def completed(lines: Iterator[Line], right: Mapping[str, str]) -> Iterator[Line]:
    """The lines of `bon-train collect`; `right` has an answer for each prompt that has one."""
    for line in lines:
        example = right.get(line["prompt"][-1]["content"])
        drawn = [one["answer"][-1]["content"] for one in line["candidates"]]
        if example is None or any(correct(line["prompt"], text) for text in drawn):
            yield line
            continue
        added = {"answer": [{"role": "assistant", "content": example}], "policy": SOURCE}
        yield {**line, "candidates": [*line["candidates"], added]}


def examples_of(path: Path) -> dict[str, str]:
    """Answers by their prompts, from the examples that `bon-train tasks` writes."""
    turns = (line["messages"] for line in read_lines(path))
    return {asked["content"]: answer["content"] for asked, answer in turns}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--examples", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    lines = list(completed(read_lines(options.input), examples_of(options.examples)))
    write_lines(options.output, lines)
    count = sum(line["candidates"][-1].get("policy") == SOURCE for line in lines)
    print(f"{count} of {len(lines)} lists got a right answer")


if __name__ == "__main__":
    main()
