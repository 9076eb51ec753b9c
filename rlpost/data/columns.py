"""Turns one row of a file into an `Example`: finds the columns of the prompt, the answer, the pair, the gold or the
document.

It reads plain columns (`prompt` with `response`), conversations (`messages`), and TRL's conversational formats
(`prompt` as messages, `completion`, `chosen` and `rejected` with the prompt inside or beside, `tools` and
`chat_template_kwargs`). A column that is meant for the model but would not be rendered is rejected.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from rlpost.data.messages import is_empty, read_arguments, read_messages, read_tools, without_nulls
from rlpost.data.optional_library import required_library
from rlpost.data.plain_data import plain
from rlpost.data.row_shapes import in_our_columns, shape_of
from rlpost.data.tables import NumberedRow
from rlpost.errors import DataError
from rlpost.recipe.columns import JUDGEMENTS, USUAL_COLUMNS
from rlpost.recipe.nearest import some_of
from rlpost.records import Example, Message, assistant_turn

SEEN_BY_MODELS = frozenset(
    {"image", "images", "video", "videos", "audio", "audios", "documents", "functions", "function_call", "tool_calls"}
    | {"system", "system_prompt", "history", "conversation", "conversations", "reasoning_content", "input", "context"}
)
"""Columns that well-known formats show to the model: Alpaca's `input` and Dolly's `context` hold the text that an
instruction is about. A row's other columns are for verifiers and routing."""
_RENDERED = ("prompt", "messages", "response", "rejected", "tools", "template_arguments")
"""Roles whose column reaches the chat template."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnRules:
    """The rules for reading the columns of a data set."""

    columns: Mapping[str, str]
    """Role -> column, if the recipe names one."""
    not_rendered: frozenset[str] = frozenset()
    """Columns, and keys of messages, that are not for the model according to the recipe."""
    rendered_otherwise: frozenset[str] = frozenset()
    """Columns that the recipe's instruction names, or that its system message replaces."""
    null_is_absent: bool = False
    """Whether a null inside a value stands for a missing key."""


def example_of(row: NumberedRow, *, dataset: str, rules: ColumnRules) -> Example:
    """Read one row; columns without a role go to `meta`.

    Raises:
        DataError: a column that the recipe names is missing, no column gives a prompt or a text, a value has the wrong
            form, or a part of the conversation would be lost. The message names data set, row, the columns found and
            what to set.
    """
    try:
        columns = in_our_columns(row.columns, shape_of(row.columns, named=rules.columns))
        columns = _with_nested(columns, rules=rules)
        role_columns = _role_columns(columns, rules=rules)
        taken = {column for role, column in role_columns.items() if role not in JUDGEMENTS}
        _refuse_vanishing(columns, ignored={*taken, *rules.not_rendered, *rules.rendered_otherwise})
        values = {role: plain(columns[column]) for role, column in role_columns.items()}
        if rules.null_is_absent:
            values = {role: without_nulls(value) if role in _RENDERED else value for role, value in values.items()}
        return _example(
            values,
            id=f"{dataset}/{row.number}",
            dataset=dataset,
            ignored=rules.not_rendered,
            meta={column: plain(value) for column, value in columns.items() if column not in taken}
            | {role: values[role] for role in JUDGEMENTS if role in values},
        )
    except DataError as error:
        raise DataError(f"data.{dataset}, row {row.number} (columns: {some_of(row.columns)}): {error}") from error


def _with_nested(row: Mapping[str, Any], *, rules: ColumnRules) -> Mapping[str, Any]:
    """Return the row with the values that the recipe names by a path, such as `reward_model.ground_truth`."""
    found: dict[str, Any] = {}
    for column in rules.columns.values():
        if "." in column and column not in row:
            value: Any = row
            for part in column.split("."):
                value = cast("Mapping[str, Any]", value).get(part) if isinstance(value, Mapping) else None
            if value is not None:
                found[column] = value
    return {**row, **found} if found else row


def _role_columns(row: Mapping[str, Any], *, rules: ColumnRules) -> dict[str, str]:
    """Return role -> column; a column without a value (null) has no role."""
    columns = rules.columns
    found: dict[str, str] = {}
    for role, usual in USUAL_COLUMNS.items():
        if role in columns and columns[role] not in row:
            nearest = difflib.get_close_matches(columns[role], row, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise DataError(f"columns.{role} is {columns[role]!r}, which the row does not have{hint}")
        candidates = (columns[role],) if role in columns else usual
        present = [column for column in candidates if row.get(column) is not None and column not in rules.not_rendered]
        if len(present) > 1:
            raise DataError(
                f"{present[0]} and {present[1]} could both be the {role}: name one of them in columns.{role}"
            )
        if present:
            found[role] = present[0]
    for role, other in (("prompt", "messages"), ("messages", "prompt")):
        if role in columns and other not in columns:
            found.pop(other, None)  # The recipe decides which of the two is meant.
    return found


def _refuse_vanishing(row: Mapping[str, Any], *, ignored: Collection[str]) -> None:
    for column, value in row.items():
        if column in SEEN_BY_MODELS and column not in ignored and not is_empty(value):
            raise DataError(
                f"the column {column} is one that a model would see, and nothing here renders it: write it into the "
                f"messages, write {{{column}}} into the data set's instruction, or list {column} in not_rendered if "
                "verifiers alone read it"
            )


def _example(
    values: Mapping[str, Any], *, id: str, dataset: str, ignored: frozenset[str], meta: Mapping[str, Any]
) -> Example:
    messages, completion, rejected = _Turns(ignored).conversation(values)
    text = values.get("text")
    if text is not None and not isinstance(text, str):
        raise DataError(f"the text must be a string; found a {type(text).__name__}")
    if not messages and text is None:
        raise DataError(
            "a row needs a prompt, messages or a text: name the column that has it in columns.prompt, "
            "columns.messages or columns.text"
        )
    return Example(
        id=id,
        dataset=dataset,
        messages=messages,
        completion=completion,
        rejected=rejected,
        tools=() if is_empty(values.get("tools")) else read_tools(values["tools"]),
        template_arguments=read_arguments(values.get("template_arguments") or {}),
        gold=values.get("gold"),
        text=text,
        meta=meta,
    )


class _Turns:
    """Reads the prompt, the completion and the rejected turns of a row."""

    def __init__(self, ignored: frozenset[str]) -> None:
        self._ignored = ignored

    def conversation(
        self, values: Mapping[str, Any]
    ) -> tuple[tuple[Message, ...], tuple[Message, ...], tuple[Message, ...]]:
        """Return (prompt, completion, rejected) of a row."""
        is_pair = isinstance(values.get("response"), list) and isinstance(values.get("rejected"), list)
        shares_prompt = is_pair and not isinstance(values.get("prompt"), list)
        if is_pair:
            written = values.get("prompt")
            values = _with_prompt_extracted(values)
            if isinstance(written, str):
                self._refuse_other_prompt(written, self._messages(values["prompt"]))
        completion = self._answer(values.get("response"), role="response", is_pair=shares_prompt)
        rejected = self._answer(values.get("rejected"), role="rejected", is_pair=shares_prompt)
        if "messages" in values:
            messages = self._messages(values["messages"])
            self._refuse_other_prompt(values.get("prompt"), messages)
            if messages[-1].role == "assistant":
                if completion:
                    raise DataError(
                        "the messages end with an answer and there is a response besides: leave out one of the two"
                    )
                messages, completion = _split(messages)
        elif "prompt" in values:
            messages = self._prompt(values["prompt"], may_end_with_answer=shares_prompt)
        else:
            return (), completion, rejected
        if not any(message.role == "user" for message in messages):
            raise DataError(
                "a prompt needs a user turn; found roles " + ", ".join(message.role for message in messages)
            )
        return messages, completion, rejected

    def _messages(self, value: Any) -> tuple[Message, ...]:
        return read_messages(value, ignored=self._ignored)

    def _prompt(self, value: Any, *, may_end_with_answer: bool) -> tuple[Message, ...]:
        """Read a prompt. Its own answers are given, not demonstrated: SFT trains only those that are marked."""
        if isinstance(value, str):
            return (Message(role="user", content=value),)
        messages = self._messages(value)
        if messages[-1].role == "assistant" and not may_end_with_answer:
            raise DataError(
                "a prompt must end with a user turn; found an assistant turn: put the beginning of an answer into the "
                "response, or name a whole conversation in columns.messages"
            )
        return tuple(
            replace(turn, train=False) if turn.role == "assistant" and turn.train is None else turn for turn in messages
        )

    def _answer(self, value: Any, *, role: str, is_pair: bool) -> tuple[Message, ...]:
        if value is None:
            return ()
        if isinstance(value, str):
            return assistant_turn(value)
        if not isinstance(value, list):
            raise DataError(f"the {role} must be a string or a list of messages; found a {type(value).__name__}")
        turns = self._messages(cast("list[Any]", value))
        if turns[-1].role == "assistant" and (turns[0].role == "assistant" or is_pair):
            return turns
        raise DataError(
            f"the {role} must begin and end with an assistant turn; found turns of "
            + ", ".join(turn.role for turn in turns)
        )

    def _refuse_other_prompt(self, prompt: Any, messages: Sequence[Message]) -> None:
        """Check that a prompt beside messages, which many data sets have, contains nothing that the messages lack."""
        if prompt is None:
            return
        asked = [prompt] if isinstance(prompt, str) else [turn.text for turn in self._messages(prompt)]
        said = {turn.text.strip() for turn in messages}
        if any(text.strip() not in said for text in asked):
            raise DataError(
                "the row has a prompt beside its conversation, and the prompt is not in the conversation: name in "
                "columns the one that is meant, or list the prompt's column in not_rendered"
            )


def _split(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """Split into the turns before the answer to the user's last turn, and that answer with its tool calls."""
    users = [index for index, turn in enumerate(messages) if turn.role == "user"]
    cut = next(
        index for index, turn in enumerate(messages) if turn.role == "assistant" and index > max(users, default=-1)
    )
    return messages[:cut], messages[cut:]


def _with_prompt_extracted(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Extract the prompt of preference pairs of whole conversations: the turns with which both begin."""
    if not values["response"] or not values["rejected"]:
        raise DataError("chosen and rejected must hold messages; found an empty list")
    trl = required_library("trl.data_utils", purpose="a data set with conversations as chosen and rejected")
    pair = {"chosen": values["response"], "rejected": values["rejected"]}
    if values.get("prompt"):
        pair["prompt"] = values["prompt"]
    pair = trl.maybe_extract_prompt(pair)
    if not pair["prompt"]:
        raise DataError("chosen and rejected must begin with the same turns; their first turns differ")
    others = {role: value for role, value in values.items() if role not in ("messages", "prompt")}
    return {**others, "prompt": pair["prompt"], "response": pair["chosen"], "rejected": pair["rejected"]}
