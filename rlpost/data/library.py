"""The data sets of a recipe, read once, without the rows that are held out for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rlpost.data.chat import ChatFormat
from rlpost.data.held_out import remove_held_out
from rlpost.data.rows import prompts_of
from rlpost.data.sources import Use, load_examples, require_columns
from rlpost.recipe.schema import Recipe
from rlpost.records import Example, Prompt


class DataLibrary:
    """The recipe's data. The pipeline makes it once the tokenizer is known; stages and evaluation take it."""

    def __init__(self, recipe: Recipe, chat: ChatFormat, *, say: Callable[[str], None]) -> None:
        self.format = chat
        self._recipe, self._say = recipe, say
        self._cache: dict[str, list[Example]] = {}
        self._training: dict[str, list[Example]] = {}
        evaluate = recipe.evaluate
        self._held_out = [example for name in evaluate.data for example in self._read(name)] if evaluate else []

    def examples(self, names: Sequence[str], *, stage: str, use: Use) -> list[Example]:
        """Return the rows of the data sets, in order, without held-out prompts.

        Raises:
            DataError: a source cannot be read or is empty, or a row lacks a field that the stage needs.
        """
        rows = [example for name in names for example in self._training_rows(name)]
        require_columns(rows, stage=stage, use=use)
        return rows

    def prompts(self, names: Sequence[str], *, stage: str, max_tokens: int) -> list[Prompt]:
        """Return prompts to sample from, with their references, each with room for `max_tokens` more tokens."""
        return self._render(self.examples(names, stage=stage, use="prompts_with_gold"), max_tokens=max_tokens)

    def held_out_prompts(self, *, max_tokens: int) -> list[Prompt]:
        """Return the prompts of the evaluation."""
        require_columns(self._held_out, stage="evaluate", use="prompts_with_gold")
        return self._render(self._held_out, max_tokens=max_tokens)

    def _render(self, examples: Sequence[Example], *, max_tokens: int) -> list[Prompt]:
        max_length = self._recipe.model.max_length
        return prompts_of(examples, chat=self.format, max_length=max_length, max_tokens=max_tokens)

    def _training_rows(self, name: str) -> list[Example]:
        if name not in self._training:
            rows = self._read(name)
            split = remove_held_out(rows, held_out=self._held_out)
            if split.removed:
                self._say(f"{name}: {split.removed} of {len(rows)} rows ask a held-out question and are left out")
            self._training[name] = split.kept
        return self._training[name]

    def _read(self, name: str) -> list[Example]:
        if name not in self._cache:
            self._cache[name] = load_examples(name, self._recipe.data[name])
        return self._cache[name]
