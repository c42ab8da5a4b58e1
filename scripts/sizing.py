"""How many replicas a load needs: ``python scripts/sizing.py --rate 50 --n 8 --answer 256``.

Work grows with the rate, with N and with the length of answers: a generator writes N answers for a
request, a reward server reads the prompt once and all N answers. What one replica does has to be
measured, on your hardware, with your models and prompts; ``scripts/sizing.yaml`` holds an example.
With ``--write`` the table of docs/kubernetes.md is brought up to date.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "scripts" / "sizing.yaml"
PAGE = ROOT / "docs" / "kubernetes.md"
BEGIN = "<!-- sizing: written by `python scripts/sizing.py --write` -->\n"
END = "<!-- end of sizing -->\n"
RATES = (10, 50, 200)
SHAPES = ((1, 256), (4, 256), (8, 256), (16, 256), (8, 1024))
PROMPT = 256


@dataclass(frozen=True)
class Measured:
    """What one replica does, and how much of it is planned with."""

    where: str
    generator_tokens_per_s: float
    reward_tokens_per_s: float
    gateway_cpu_ms: float
    utilisation: float


@dataclass(frozen=True)
class Load:
    rate: float
    """Requests a second."""
    n: int
    """Candidates of a request; 1 is a single sample, which nothing scores."""
    prompt: float
    """Tokens of the mean prompt."""
    answer: float
    """Tokens of the mean answer."""


@dataclass(frozen=True)
class Plan:
    generators: int
    reward_servers: int
    gateway_cores: float


def plan(load: Load, measured: Measured) -> Plan:
    """Replicas, rounded up; the gateway's cores, not rounded, for a pod may have part of one."""
    written = load.rate * load.n * load.answer
    read = load.rate * (load.prompt + load.n * load.answer) if load.n > 1 else 0.0
    share = measured.utilisation
    return Plan(
        generators=math.ceil(written / (measured.generator_tokens_per_s * share)),
        reward_servers=math.ceil(read / (measured.reward_tokens_per_s * share)),
        gateway_cores=load.rate * measured.gateway_cpu_ms / 1000 / share,
    )


def read_measured(path: Path = MEASURED) -> Measured:
    return Measured(**yaml.safe_load(path.read_text(encoding="utf-8")))


def table(loads: Sequence[Load], measured: Measured) -> str:
    rows = ["| requests/s | N | answer tokens | generators | reward servers | gateway cores |"]
    rows.append("|---|---|---|---|---|---|")
    for load in loads:
        found = plan(load, measured)
        rows.append(
            f"| {load.rate:g} | {load.n} | {load.answer:g} | {found.generators}"
            f" | {found.reward_servers} | {found.gateway_cores:.2f} |"
        )
    return "\n".join(rows) + "\n"


def section(measured: Measured) -> str:
    """The part of the page that is computed."""
    loads = [Load(rate, n, PROMPT, answer) for rate in RATES for n, answer in SHAPES]
    return (
        f"Prompts of {PROMPT} tokens, {measured.utilisation:.0%} of what a replica can do. One"
        f" generator writes {measured.generator_tokens_per_s:g} tokens a second, one reward server"
        f" reads {measured.reward_tokens_per_s:g}, the gateway takes {measured.gateway_cpu_ms:g} ms"
        f" of CPU time for a request; measured on {measured.where}.\n\n"
        f"{table(loads, measured)}"
    )


def placed(page: str, measured: Measured) -> str:
    """The page with the section where its marks are. Raises ValueError without them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("the page has no place for the table of sizes")
    return f"{before}{begin}\n{section(measured)}\n{end}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="sizing.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--measured", type=Path, default=MEASURED, help="what one replica does")
    parser.add_argument("--rate", type=float, help="requests a second")
    parser.add_argument("--n", type=int, default=8, help="candidates of a request")
    parser.add_argument("--prompt", type=float, default=PROMPT, help="tokens of the mean prompt")
    parser.add_argument("--answer", type=float, default=256, help="tokens of the mean answer")
    parser.add_argument("--write", action="store_true", help="bring docs/kubernetes.md up to date")
    options = parser.parse_args(arguments)
    measured = read_measured(options.measured)
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(placed(page, measured), encoding="utf-8")
    elif options.rate is None:
        print(section(measured), end="")
    else:
        print(
            table([Load(options.rate, options.n, options.prompt, options.answer)], measured), end=""
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
