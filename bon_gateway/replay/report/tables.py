"""The tables of a replay. Pure."""

from __future__ import annotations

from bon_gateway.compare.figures.words import number, signed, spread
from bon_gateway.compare.report.table import NOTHING, Columns, Table, table
from bon_gateway.compare.statistics import Interval
from bon_gateway.replay.results import ReplayResults, ReplayRow


def tables(results: ReplayResults) -> list[Table]:
    return [_answers(results), _costs(results), _times(results)]


def _answers(results: ReplayResults) -> Table:
    columns: Columns[ReplayRow] = {
        "strategy": lambda row: row.name,
        "tokens, % of base": lambda row: (
            spread(row.beside.tokens_percent) if row.beside else NOTHING
        ),
    }
    if results.known_golds:
        columns["gold"] = lambda row: _known(row.gold)
        columns["gold minus base"] = lambda row: _more(row.beside.gold if row.beside else None)
    columns["reward"] = lambda row: _known(row.reward)
    columns["reward minus base"] = lambda row: _more(row.beside.reward if row.beside else None)
    note = (
        f"The base is {results.base}. Intervals ({results.confidence:.0%}) are over"
        f" {results.prompts} prompts, and differences are prompt by prompt. A difference whose"
        " interval holds zero is not decided."
    )
    return table("What is answered", note, results.rows, columns)


def _costs(results: ReplayResults) -> Table:
    columns: Columns[ReplayRow] = {
        "strategy": lambda row: row.name,
        "candidates": lambda row: number(row.drawn),
        "rounds": lambda row: number(row.rounds),
        "tokens": lambda row: spread(row.tokens),
        "answers scored": lambda row: number(row.scored),
        "their tokens": lambda row: number(row.scored_tokens),
        "errors": lambda row: f"{row.failed}",
    }
    note = (
        "Means of a request. Tokens are those that all candidates generated, the stopped ones until"
        " then. Answers scored: equal ones count once. Their tokens are what the reward model"
        " reads, by the policy's count, with the prompt only where the pools say its length."
    )
    return table("What it costs", note, results.rows, columns)


def _times(results: ReplayResults) -> Table:
    columns: Columns[ReplayRow] = {
        "strategy": lambda row: row.name,
        "mean": lambda row: spread(row.latency),
        "mean, % of base": lambda row: (
            spread(row.beside.latency_percent) if row.beside else NOTHING
        ),
        "p95": lambda row: number(row.latency_p95),
    }
    note = (
        f"Simulated milliseconds: {results.setup['Time']}. It compares strategies; it is no"
        " forecast for a machine."
    )
    return table("How long it takes", note, results.rows, columns)


def _known(found: Interval | None) -> str:
    return NOTHING if found is None else spread(found)


def _more(found: Interval | None) -> str:
    return NOTHING if found is None else signed(found)
