"""Assigns rows to ranks and micro-batches. Pure: every rank computes the same plan from the same lengths."""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Sequence

import numpy as np

from rlpost.train_records import TrainBatch

MicroBatch = list[int]
"""Indices of rows; empty for a rank that has fewer micro-batches than another."""


def plan_micro_batches(batch: TrainBatch, *, ranks: int, token_budget: int) -> list[list[MicroBatch]]:
    """Plan the micro-batches of every rank: `plan[rank][k]` lists row indices.

    A unit (one row, or a preference pair) is never split. The ranks get nearly equal attention-weighted cost, and every
    rank gets the same number of micro-batches, because collectives need that. Only a single unit larger than the budget
    may exceed it.
    """
    units = np.arange(len(batch.row_lengths_B)).reshape(-1, batch.rows_per_unit)
    lengths = batch.row_lengths_B[units].astype(np.int64)
    unit_tokens = lengths.sum(axis=1)
    # The cost has a linear and a quadratic term: dense layers per token, attention per pair of tokens.
    unit_costs = unit_tokens + (lengths**2).sum(axis=1) / 4096

    per_rank = _balance(unit_costs.tolist(), ranks)
    plan = [_fill(rank_units, unit_tokens.tolist(), token_budget) for rank_units in per_rank]
    count = max(len(micro_batches) for micro_batches in plan)
    return [
        [[int(row) for unit in micro_batch for row in units[unit]] for micro_batch in micro_batches]
        + [[] for _ in range(count - len(micro_batches))]
        for micro_batches in plan
    ]


def _balance(costs: Sequence[float], ranks: int) -> list[list[int]]:
    """Assign the longest units first, each to the rank with the least work; each rank keeps the original order."""
    loads: list[tuple[float, int]] = [(0.0, rank) for rank in range(ranks)]
    assigned: list[list[int]] = [[] for _ in range(ranks)]
    for unit in sorted(range(len(costs)), key=lambda unit: (-costs[unit], unit)):
        load, rank = heapq.heappop(loads)
        assigned[rank].append(unit)
        heapq.heappush(loads, (load + costs[unit], rank))
    return [sorted(units) for units in assigned]


def _fill(units: Sequence[int], tokens: Sequence[int], budget: int) -> list[list[int]]:
    """Group units within the budget: in order, or by best fit where that needs fewer groups."""
    in_order = _fill_in_order(units, tokens, budget)
    if len(in_order) <= max(1, -(-sum(tokens[unit] for unit in units) // budget)):
        return in_order
    best_fit = _fill_by_best_fit(units, tokens, budget)
    return best_fit if len(best_fit) < len(in_order) else in_order


def _fill_by_best_fit(units: Sequence[int], tokens: Sequence[int], budget: int) -> list[list[int]]:
    """Put the longest units first, each into the fullest group that has room for it; keep the order within groups."""
    rooms: list[tuple[int, int]] = []
    """(room, number) of each group, in order."""
    filled: list[list[int]] = []
    for unit in sorted(units, key=lambda unit: (-tokens[unit], unit)):
        place = bisect.bisect_left(rooms, (tokens[unit], -1))
        if place < len(rooms):
            room, number = rooms.pop(place)
        else:
            room, number = budget, len(filled)
            filled.append([])
        filled[number].append(unit)
        bisect.insort(rooms, (room - tokens[unit], number))
    return sorted(sorted(group) for group in filled)


def _fill_in_order(units: Sequence[int], tokens: Sequence[int], budget: int) -> list[list[int]]:
    filled: list[list[int]] = []
    room = 0
    for unit in units:
        if not filled or tokens[unit] > room:
            filled.append([])
            room = budget
        filled[-1].append(unit)
        room -= tokens[unit]
    return filled
