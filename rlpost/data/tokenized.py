"""Rows to train on and prompts to sample from, as views of token files: a row is made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from rlpost.data.examples import ExampleTable
from rlpost.data.preference import PreferencePair
from rlpost.data.row_ids import RowIds
from rlpost.data.token_files.token_file import TokenFile
from rlpost.errors import DataError
from rlpost.records import Example, Prompt
from rlpost.train_records import TrainRow

_Made = TypeVar("_Made")


class TokenizedSet(NamedTuple):
    """A data set and its tokens."""

    name: str
    examples: Sequence[Example]
    """All rows, by place; see `ExampleTable`."""
    numbers: NDArray[np.int64]
    """The row of the source at each place."""
    tokens: TokenFile
    """The sequences of each place, one or two."""
    places: NDArray[np.int64]
    """The places that are used: those that ask no held-out question."""

    @classmethod
    def of(cls, examples: ExampleTable, tokens: TokenFile, *, places: NDArray[np.int64]) -> TokenizedSet:
        """Take the tokens of an `ExampleTable`."""
        return cls(examples.name, examples, examples.numbers, tokens, places)

    def id_of(self, place: int) -> str:
        """Return the id of the example at a place."""
        return f"{self.name}/{int(self.numbers[place])}"


class _View(Sequence[_Made]):
    """Things made of the entries of several sets when they are asked for."""

    def __init__(self, make: Callable[[int], _Made], *, length: int) -> None:
        self._make, self._length = make, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            chosen = range(self._length)[index]

            def of_chosen(place: int) -> _Made:
                return self._make(chosen[place])

            return _View(of_chosen, length=len(chosen))
        return self._make(range(self._length)[index])


class SupervisedRows(NamedTuple):
    """Rows to train on, and the number of examples that gave none because they are longer than `max_length`."""

    rows: Sequence[TrainRow]
    row_ids: RowIds
    """The example that each row is from."""
    dropped: int


def document_rows(sets: Sequence[TokenizedSet], *, max_length: int) -> SupervisedRows:
    """Make rows for continued pre-training: every token is trained except the first, which has no context.

    A document (`Example.text`) is cut into rows of `max_length` tokens. Prompt and response are one text, and dropped
    if they are too long. Documents come before conversations.

    Args:
        sets: Tokens of the shape `document`.
        max_length: Most tokens of a row.

    Raises:
        DataError: a prompt alone fills `max_length`, or no row is left.
    """
    documents: list[_Spans] = []
    conversations: list[_Spans] = []
    dropped = 0
    for which, one in enumerate(sets):
        is_text = one.tokens.prompt_lengths[one.places] == 0
        documents.append(_pieces(which, one, one.places[is_text], max_length=max_length))
        talks = one.places[~is_text]
        _check_prompts_fit(one, talks, sequences=talks, max_length=max_length, max_tokens=1)
        fits = one.tokens.lengths[talks] <= max_length
        dropped += int((~fits).sum())
        conversations.append(_whole(which, one, talks[fits], sequences=talks[fits]))
    return _supervised(sets, [*documents, *conversations], dropped=dropped, max_length=max_length)


def demonstration_rows(
    sets: Sequence[TokenizedSet], *, max_length: int, without: Collection[str] = ()
) -> SupervisedRows:
    """Make rows for supervised fine-tuning. Rows that are too long are dropped.

    Args:
        sets: Tokens of the shape `conversation`.
        max_length: Most tokens of a row.
        without: Ids of examples that are left out.

    Raises:
        DataError: a prompt alone fills `max_length`, or no row is left.
    """
    spans: list[_Spans] = []
    dropped = 0
    for which, one in enumerate(sets):
        places = _without(one, one.places, without)
        _check_prompts_fit(one, places, sequences=places, max_length=max_length, max_tokens=1)
        fits = one.tokens.lengths[places] <= max_length
        dropped += int((~fits).sum())
        spans.append(_whole(which, one, places[fits], sequences=places[fits]))
    return _supervised(sets, spans, dropped=dropped, max_length=max_length)


class PairRows(NamedTuple):
    """Given preference pairs, and the number of examples that gave none."""

    pairs: Sequence[PreferencePair]
    row_ids: RowIds
    dropped: int


def pair_rows(sets: Sequence[TokenizedSet], *, max_length: int) -> PairRows:
    """Make pairs of rows. A pair is dropped if either side is longer than `max_length`, or if both are equal.

    Args:
        sets: Tokens of the shape `pair`.
        max_length: Most tokens of a side.

    Raises:
        DataError: a prompt alone fills `max_length`, or no pair is left.
    """
    chosen: list[_Spans] = []
    seen = 0
    for which, one in enumerate(sets):
        places = one.places[one.tokens.differ[one.places]]
        for side in (0, 1):
            _check_prompts_fit(one, places, sequences=2 * places + side, max_length=max_length, max_tokens=1)
        lengths = one.tokens.lengths
        fits = (lengths[2 * places] <= max_length) & (lengths[2 * places + 1] <= max_length)
        seen += len(one.places)
        chosen.append(_whole(which, one, places[fits], sequences=2 * places[fits]))
    spans = _Spans.joined(chosen)
    if not len(spans.which):
        raise DataError(
            f"no preference pair fits in max_length = {max_length}: all {seen} are longer, or have equal sides; "
            "raise it or give other data"
        )

    def pair(index: int) -> PreferencePair:
        one, sequence = sets[int(spans.which[index])], int(spans.sequences[index])
        row_id = one.id_of(sequence // 2)
        return PreferencePair(
            chosen=_row(one, sequence, source=f"{row_id}, response"),
            rejected=_row(one, sequence + 1, source=f"{row_id}, rejected"),
        )

    row_ids = spans.row_ids(sets, ending=", response")
    return PairRows(_View(pair, length=len(row_ids)), row_ids, dropped=seen - len(row_ids))


class JudgedRows(NamedTuple):
    """Answers with the numbers that they are trained towards."""

    rows: Sequence[TrainRow]
    mismatched: Sequence[TrainRow]
    """For each row, its prompt with the answer of the next row of its data set, cut to the same limit."""
    targets: NDArray[np.float32]
    """One number for each row, see `data.judgements`."""
    row_ids: RowIds
    dropped: int


def judged_rows(sets: Sequence[TokenizedSet], *, max_length: int) -> JudgedRows:
    """Make rows of judged answers; those longer than `max_length` are dropped.

    Args:
        sets: Tokens of the shapes `labelled` or `rewarded`.
        max_length: Most tokens of a row.

    Raises:
        DataError: a prompt alone fills `max_length`, or no row is left.
    """
    made = demonstration_rows(sets, max_length=max_length)
    fitting = [one.places[one.tokens.lengths[one.places] <= max_length] for one in sets]
    which = np.concatenate([np.full(len(places), index) for index, places in enumerate(fitting)])
    places = np.concatenate(fitting)
    following = np.concatenate([np.roll(part, -1) for part in fitting])

    def mismatched(index: int) -> TrainRow:
        one = sets[int(which[index])]
        asked, answered = (one.tokens.sequence(int(found[index])) for found in (places, following))
        prompt, answer = asked.token_ids[: asked.prompt_length], answered.token_ids[answered.prompt_length :]
        weights_T = np.concatenate([np.zeros(len(prompt), np.float32), answered.weights_T[answered.prompt_length :]])
        token_ids = np.concatenate([prompt, answer])[:max_length]
        return TrainRow(token_ids=token_ids, weights_T=weights_T[:max_length], source=one.id_of(int(places[index])))

    targets = np.concatenate([one.tokens.targets[part] for one, part in zip(sets, fitting, strict=True)])
    return JudgedRows(made.rows, _View(mismatched, length=len(places)), targets, made.row_ids, made.dropped)


class PromptRows(NamedTuple):
    """Prompts to sample from."""

    prompts: Sequence[Prompt]
    row_ids: RowIds


def prompt_rows(sets: Sequence[TokenizedSet], *, max_length: int, max_tokens: int) -> PromptRows:
    """Make prompts for the generator, each with room for `max_tokens` sampled tokens.

    Args:
        sets: Tokens of the shape `prompt`.
        max_length: Most tokens of a prompt and its answer together.
        max_tokens: Most tokens of an answer.

    Raises:
        DataError: a prompt and `max_tokens` do not fit in `max_length` together.
    """
    chosen: list[_Spans] = []
    for which, one in enumerate(sets):
        _check_prompts_fit(one, one.places, sequences=one.places, max_length=max_length, max_tokens=max_tokens)
        chosen.append(_whole(which, one, one.places, sequences=one.places))
    spans = _Spans.joined(chosen)

    def prompt(index: int) -> Prompt:
        one, place = sets[int(spans.which[index])], int(spans.sequences[index])
        example = one.examples[place]
        return Prompt(
            id=example.id,
            dataset=example.dataset,
            messages=example.messages,
            token_ids=one.tokens.sequence(place).token_ids,
            gold=example.gold,
            meta=example.meta,
        )

    row_ids = spans.row_ids(sets)
    return PromptRows(_View(prompt, length=len(row_ids)), row_ids)


def used_examples(sets: Sequence[TokenizedSet]) -> Sequence[Example]:
    """Return the examples of all sets, in order, each read when it is asked for."""
    ends = np.cumsum([len(one.places) for one in sets])

    def example(index: int) -> Example:
        which = int(np.searchsorted(ends, index, side="right"))
        one = sets[which]
        return one.examples[int(one.places[index - int(ends[which])])]

    return _View(example, length=int(ends[-1]))


class _Spans(NamedTuple):
    """Spans of sequences, each of which becomes a row; all arrays have shape [rows]."""

    which: NDArray[np.uint16]
    numbers: NDArray[np.int64]
    sequences: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[_Spans]) -> _Spans:
        """Join several, in order."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def row_ids(self, sets: Sequence[TokenizedSet], *, ending: str = "") -> RowIds:
        """Return the ids of the examples."""
        return RowIds([one.name for one in sets], which=self.which, rows=self.numbers, ending=ending)


def _whole(which: int, one: TokenizedSet, places: NDArray[np.int64], *, sequences: NDArray[np.int64]) -> _Spans:
    return _Spans(
        np.full(len(places), which, np.uint16),
        one.numbers[places],
        sequences,
        np.zeros(len(places), np.int64),
        np.array(one.tokens.lengths[sequences]),
    )


def _pieces(which: int, one: TokenizedSet, places: NDArray[np.int64], *, max_length: int) -> _Spans:
    """Cut documents into rows; a last piece of one token has nothing to train and is left out."""
    lengths = np.array(one.tokens.lengths[places])
    counts = -(-(lengths - 1) // max_length)
    sequences = np.repeat(places, counts)
    order = np.arange(len(sequences)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = order * max_length
    stops = np.minimum(starts + max_length, np.repeat(lengths, counts))
    return _Spans(np.full(len(sequences), which, np.uint16), one.numbers[sequences], sequences, starts, stops)


def _supervised(
    sets: Sequence[TokenizedSet], parts: Sequence[_Spans], *, dropped: int, max_length: int
) -> SupervisedRows:
    spans = _Spans.joined(parts)
    if not len(spans.which):
        raise DataError(
            f"no row fits in max_length = {max_length}: all {dropped} are longer; raise it or give other data"
        )

    def row(index: int) -> TrainRow:
        one = sets[int(spans.which[index])]
        return _row(
            one,
            int(spans.sequences[index]),
            source=f"{one.name}/{int(spans.numbers[index])}",
            span=slice(int(spans.starts[index]), int(spans.stops[index])),
        )

    row_ids = spans.row_ids(sets)
    return SupervisedRows(_View(row, length=len(row_ids)), row_ids, dropped)


def _row(one: TokenizedSet, sequence: int, *, source: str, span: slice = slice(None)) -> TrainRow:
    stored = one.tokens.sequence(sequence)
    weights_T = stored.weights_T[span]
    weights_T[0] = 0  # The first token of a later piece of a document has no context either.
    return TrainRow(token_ids=stored.token_ids[span], weights_T=weights_T, source=source)


def _without(one: TokenizedSet, places: NDArray[np.int64], ids: Collection[str]) -> NDArray[np.int64]:
    if not ids:
        return places
    return np.array([place for place in places.tolist() if one.id_of(place) not in ids], np.int64)


def _check_prompts_fit(
    one: TokenizedSet,
    places: NDArray[np.int64],
    *,
    sequences: NDArray[np.int64],
    max_length: int,
    max_tokens: int,
) -> None:
    lengths = one.tokens.prompt_lengths[sequences]
    (too_long,) = np.nonzero(lengths + max_tokens > max_length)
    if len(too_long):
        first = int(too_long[0])
        raise DataError(
            f"a prompt and {max_tokens} more tokens must fit in max_length = {max_length}; the prompt of row "
            f"{one.id_of(int(places[first]))} has {int(lengths[first])} tokens: raise max_length, lower "
            "sampling.max_tokens, remove the row, or set the stage's overlong_prompts to drop"
        )
