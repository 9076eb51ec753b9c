"""The data sets of a recipe, without the rows that are held out for evaluation, tokenised once for every use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rlpost.data.chat import ChatFormat
from rlpost.data.examples import ExampleTable
from rlpost.data.held_out import questions_of
from rlpost.data.sources import Use, open_examples, require_columns
from rlpost.data.tables.cache import DataCache
from rlpost.data.token_files.build import TokenSettings, token_file
from rlpost.data.token_files.chunk import SEQUENCES, Shape, question_hash
from rlpost.data.token_files.token_file import TokenFile
from rlpost.data.token_files.workers import ChunkWorkers
from rlpost.data.tokenized import (
    JudgedRows,
    PairRows,
    PromptRows,
    SupervisedRows,
    TokenizedSet,
    demonstration_rows,
    document_rows,
    judged_rows,
    pair_rows,
    prompt_rows,
    used_examples,
)
from rlpost.data.trained_spans import TrainOn
from rlpost.errors import DataError
from rlpost.recipe.row_shapes import SHAPE_WORDS
from rlpost.recipe.schema import Recipe
from rlpost.records import Example
from rlpost.telemetry.console import Console

_USES: Mapping[Shape, Use] = {
    "document": "cpt",
    "conversation": "sft",
    "pair": "pairs",
    "labelled": "labelled",
    "rewarded": "rewarded",
    "prompt": "prompts_with_gold",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenPreparation:
    """How and where rows are tokenised."""

    model_dir: Path
    """The folder with tokenizer and chat template, from which other processes load them."""
    chat_identity: Mapping[str, Any]
    """Everything that decides the tokens of a conversation, as plain data."""
    data_identities: Mapping[str, Any]
    """Data set -> everything that decides its rows, as plain data."""
    cache: DataCache
    processes: int
    """Number of processes for large data sets."""


class DataLibrary:
    """The recipe's data. The pipeline makes it once the tokenizer is known; stages and evaluation take it."""

    def __init__(self, recipe: Recipe, chat: ChatFormat, *, preparation: TokenPreparation, console: Console) -> None:
        self.format = chat
        self._recipe, self._preparation, self._console = recipe, preparation, console
        self._tables: dict[str, ExampleTable] = {}
        self._files: dict[tuple[str, Shape, TrainOn], TokenFile] = {}
        self._told: set[str] = set()
        evaluated = recipe.evaluate.data if recipe.evaluate else []
        asked = {question_hash(text) for name in evaluated for row in self._table(name) for text in questions_of(row)}
        self._forbidden = np.array(sorted(asked), np.uint64)

    def documents(self, names: Sequence[str], *, stage: str) -> SupervisedRows:
        """Return rows for continued pre-training, without held-out prompts.

        Raises:
            DataError: a source cannot be read, is empty, or a row lacks what the stage needs or does not fit.
        """
        return document_rows(
            self._sets(names, "document", "completion", stage=stage), max_length=self._recipe.longest_row(stage)
        )

    def demonstrations(
        self, names: Sequence[str], *, stage: str, train_on: TrainOn, without: Collection[str] = ()
    ) -> SupervisedRows:
        """Return rows for supervised fine-tuning, without held-out prompts and the examples with the ids `without`.

        Raises:
            DataError: as for `documents`.
        """
        sets = self._sets(names, "conversation", train_on, stage=stage)
        return demonstration_rows(sets, max_length=self._recipe.longest_row(stage), without=without)

    def pairs(self, names: Sequence[str], *, stage: str) -> PairRows:
        """Return given preference pairs, without held-out prompts.

        Raises:
            DataError: as for `documents`.
        """
        return pair_rows(
            self._sets(names, "pair", "completion", stage=stage), max_length=self._recipe.longest_row(stage)
        )

    def judged(self, names: Sequence[str], shape: Literal["labelled", "rewarded"], *, stage: str) -> JudgedRows:
        """Return answers with their labels or rewards, without held-out prompts.

        Raises:
            DataError: as for `documents`.
        """
        return judged_rows(
            self._sets(names, shape, "completion", stage=stage), max_length=self._recipe.longest_row(stage)
        )

    def prompts(self, names: Sequence[str], *, stage: str, max_tokens: int) -> PromptRows:
        """Return prompts to sample from, with their references, each with room for `max_tokens` more tokens.

        Raises:
            DataError: as for `documents`.
        """
        sets = self._sets(names, "prompt", "completion", stage=stage, max_tokens=max_tokens)
        return prompt_rows(sets, max_length=self._recipe.longest_row(stage), max_tokens=max_tokens)

    def held_out_prompts(self, *, max_tokens: int) -> PromptRows:
        """Return the prompts of the evaluation."""
        evaluate = self._recipe.evaluate
        assert evaluate is not None, "only an evaluation has held-out prompts"
        sets = [self._tokenized(name, "prompt", "completion", stage="evaluate") for name in evaluate.data]
        return prompt_rows(sets, max_length=self._recipe.longest_row("evaluate"), max_tokens=max_tokens)

    def examples(self, names: Sequence[str], *, stage: str, train_on: TrainOn) -> Sequence[Example]:
        """Return the demonstrations of the data sets, in order, without held-out prompts."""
        return used_examples(self._sets(names, "conversation", train_on, stage=stage))

    def rows(self, name: str) -> Sequence[Example]:
        """Return all rows of a data set, held-out ones included, each read when it is asked for."""
        return self._table(name)

    def _sets(
        self, names: Sequence[str], shape: Shape, train_on: TrainOn, *, stage: str, max_tokens: int = 1
    ) -> list[TokenizedSet]:
        """Return the data sets of a training stage; `max_tokens` is the room that a prompt must leave."""
        sets = [self._tokenized(name, shape, train_on, stage=stage) for name in names]
        chosen = [one._replace(places=self._not_held_out(one)) for one in sets]
        trained = self._recipe.stage_called(stage)
        if trained is not None and trained.training is not None and trained.training.overlong_prompts == "drop":
            most = self._recipe.longest_row(stage) - max_tokens
            chosen = [self._with_room(one, stage=stage, shape=shape, most=most) for one in chosen]
        if not any(len(one.places) for one in chosen):
            raise DataError(f"stage {stage} needs rows; its data sets have none left: raise rows, or name more data")
        return chosen

    def _with_room(self, one: TokenizedSet, *, stage: str, shape: Shape, most: int) -> TokenizedSet:
        """Leave out the rows with a prompt of more than `most` tokens, and say how many they are."""
        each = SEQUENCES[shape]
        longest = one.tokens.prompt_lengths.reshape(-1, each).max(axis=1)[one.places]
        fits = longest <= most
        told = f"{stage}/{one.name}"
        if not fits.all() and told not in self._told:
            self._told.add(told)
            self._console.say(
                f"{stage}: {int((~fits).sum())} of {len(fits)} rows of {one.name} have a prompt of more than {most} "
                "tokens and are left out"
            )
        return one._replace(places=one.places[fits])

    def _not_held_out(self, one: TokenizedSet) -> NDArray[np.int64]:
        asks: NDArray[np.bool_] = np.asarray(np.isin(one.tokens.questions, self._forbidden).any(axis=1))
        if asks.any() and one.name not in self._told:
            self._told.add(one.name)
            self._console.say(
                f"{one.name}: {int(asks.sum())} of {len(asks)} rows ask a held-out question and are left out"
            )
        return np.flatnonzero(~asks)

    def _tokenized(self, name: str, shape: Shape, train_on: TrainOn, *, stage: str) -> TokenizedSet:
        table = self._table(name)
        key = (name, shape, train_on)
        if key not in self._files:
            self._files[key] = self._token_file(name, table, shape, train_on, stage=stage)
        return TokenizedSet.of(table, self._files[key], places=np.arange(len(table)))

    def _token_file(self, name: str, table: ExampleTable, shape: Shape, train_on: TrainOn, *, stage: str) -> TokenFile:
        prepared = self._preparation
        opens = {
            "name": name,
            "config": self._recipe.data[name].model_dump(mode="json"),
            "cache": str(prepared.cache.root),
            "model_dir": str(prepared.model_dir),
            "trust_remote_code": self._recipe.model.trust_remote_code,
            "shape": shape,
            "train_on": train_on,
            "stage": stage,
            "use": _USES[shape],
        }
        with self._console.progress(f"{name}: tokenising", total=len(table), done=0) as bar:
            return token_file(
                table,
                examples_identity=prepared.data_identities[name],
                settings=TokenSettings(
                    shape=shape,
                    train_on=train_on,
                    chat_identity=prepared.chat_identity,
                    check=partial(require_columns, stage=stage, use=_USES[shape]),
                ),
                chat=self.format,
                cache=prepared.cache,
                workers=lambda: ChunkWorkers(opens, count=prepared.processes),
                on_progress=lambda done: bar.step(done, {}),
            )

    def _table(self, name: str) -> ExampleTable:
        if name not in self._tables:
            table = open_examples(name, self._recipe.data[name], cache=self._preparation.cache)
            if table.shape != "plain":
                self._console.say(f"{name}: rows are read as {SHAPE_WORDS[table.shape]}")
            self._tables[name] = table
        return self._tables[name]
