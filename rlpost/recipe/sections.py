"""The sections that recipes share: model, data, optimisation, sampling, evaluation.

All defaults of the project are in this package; other packages take arguments without defaults.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from rlpost.recipe.plugin_reference import names_python_itself
from rlpost.records import Sampling

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=100)]
"""A name that is safe as a folder and as a key: lower case, digits, `.`, `_`, `-`."""
Reference = Annotated[str, StringConstraints(pattern=r"^\w+(\.\w+)*(:\w+)?$")]
"""`module:name` of an importable object, or a short name from an entry-point group."""

MOST_PER_STEP = 10_000_000
"""Upper limit for every number per step; a larger number fits in no memory and is a slip."""
PerStep = Annotated[int, Field(ge=1, le=MOST_PER_STEP)]
Steps = Annotated[int, Field(ge=1, le=1_000_000_000)]
LARGEST_SEED = 2**62 - 1
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
"""A seed, for instance a time stamp; whoever needs a smaller number folds it."""


class Section(BaseModel):
    """Base of all sections: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class TokenizerTraining(Section):
    """Builds a byte-level BPE tokenizer, with separate digits, from data sets of the recipe."""

    data: list[Name] = Field(min_length=1)
    vocab_size: int = Field(ge=260, le=200_000)


class ModelConfig(Section):
    """The base model: a Hugging Face directory, or a new model from a config."""

    path: str | None = None
    """A Hugging Face model directory; hub names work if a hub can be reached."""
    config: dict[str, Any] | None = None
    """Arguments of `AutoConfig.for_model` (with `model_type`) for a new model with random weights."""
    tokenizer: str | TokenizerTraining | None = None
    """A tokenizer directory, or settings to build one; by default the tokenizer in `path`."""
    chat_template: str | None = None
    """A Jinja file, or `rlpost:plain` / `rlpost:tulu` / `rlpost:tulu_bos`; by default the tokenizer's own template."""
    max_length: int = Field(ge=8, le=100_000_000)
    """Longest sequence, prompt and response together, in tokens."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Dtype of the weights that the learner computes with and the generator serves."""
    trust_remote_code: bool = False

    @model_validator(mode="after")
    def _one_origin(self) -> ModelConfig:
        if (self.path is None) == (self.config is None):
            raise ValueError("model needs exactly one of `path` (a model directory) and `config` (a new model)")
        if self.config is not None and "model_type" not in self.config:
            raise ValueError("model.config needs `model_type`, for example qwen3")
        if self.config is not None and self.tokenizer is None:
            raise ValueError("a new model (model.config) needs model.tokenizer")
        if self.config is not None and self.chat_template is None and isinstance(self.tokenizer, TokenizerTraining):
            raise ValueError("a tokenizer built in the run needs model.chat_template, for example rlpost:plain")
        return self


FILE_KINDS = ("jsonl", "json", "parquet", "csv", "tsv")
SOURCE_KINDS = ("reasoning_gym", "hf", *FILE_KINDS)
PACKED = (".gz", ".zst", ".bz2")
"""Endings of packed files."""


class DataConfig(Section):
    """One data set: the source of its rows, and the roles of its columns."""

    source: str
    """`reasoning_gym:<task>`, `jsonl:<path>`, `json:<path>` (one array), `parquet:<path>`, `csv:<path>`, `tsv:<path>`
    or `hf:<name>`. A path that ends in .jsonl, .json, .parquet, .csv or .tsv needs no kind; JSON lines may be packed
    (.gz, .zst, .bz2)."""
    split: str = "train"
    """The split of an `hf:` source."""
    rows: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """Number of rows to use; required for generated sources, otherwise all rows by default."""
    seed: Seed = 0
    """Seed for generated rows, or for the order of the rows of other sources."""
    params: dict[str, Any] = {}
    """Parameters that are passed to the source, for example the task parameters of reasoning-gym."""
    columns: dict[
        Literal[
            "prompt",
            "messages",
            "response",
            "rejected",
            "gold",
            "text",
            "tools",
            "template_arguments",
            "label",
            "reward",
            "reference_rewards",
        ],
        str,
    ] = {}
    """Role -> column, for columns whose name differs from their role."""
    template_arguments: dict[str, Any] = {}
    """Variables of the chat template for all rows, for example `{enable_thinking: false}`. A row's own variables, in a
    column `chat_template_kwargs`, take precedence."""
    not_rendered: list[str] = []
    """Columns, and keys of messages, that look as if a model should see them, and that only verifiers read."""
    solution: Reference | None = None
    """A function that writes a worked solution for a row, which becomes the response."""
    instruction: str | None = None
    """Replaces the task's own wording; it may contain `{question}` and fields of the row's metadata."""
    system: str | None = None
    """A system message that is put before every prompt, in place of the row's own if it has one."""

    @field_validator("solution")
    @classmethod
    def _no_function_of_python(cls, solution: str | None) -> str | None:
        if solution is not None and names_python_itself(solution):
            raise ValueError(
                f"solution must name a function that writes a solution; found {solution!r} of Python's standard "
                "library: give module:function of yours or of rlpost"
            )
        return solution

    @field_validator("source")
    @classmethod
    def _with_kind(cls, source: str) -> str:
        """Add the kind to a path that shows it by its ending."""
        if source.partition(":")[0] in SOURCE_KINDS:
            return source
        endings = source.rpartition("/")[2].split(".")
        kind = endings[-2] if len(endings) > 2 and f".{endings[-1]}" in PACKED else endings[-1]
        return f"{kind}:{source}" if kind in FILE_KINDS else source

    @model_validator(mode="after")
    def _known_source(self) -> DataConfig:
        kind, _, rest = self.source.partition(":")
        if kind not in SOURCE_KINDS or not rest:
            raise ValueError(
                "source must be reasoning_gym:<task>, hf:<name>, or a file of rows (jsonl:, json:, parquet:, csv: or "
                f"tsv:<path>); found {self.source!r}"
            )
        if kind == "reasoning_gym" and self.rows is None:
            raise ValueError(f"{self.source} generates rows without end: set rows")
        return self


class LoraConfig(Section):
    """Trains a low-rank adapter through peft; the artifact has it merged, and also contains the adapter."""

    rank: int = Field(ge=1)
    alpha: float = Field(gt=0)
    target_modules: list[str] | Literal["all-linear"] = "all-linear"
    sync: Literal["merged", "adapter"] = "merged"
    """The weights that engines get in RL: the whole model with the adapter merged, or the adapter alone."""


class LearnerConfig(Section):
    """How a stage's batches are computed; none of these settings changes the gradient beyond rounding."""

    micro_batch_tokens: int = Field(default=8192, ge=16, le=1_000_000_000)
    """Most tokens that one rank runs through the model at once."""
    activation_checkpointing: bool = False
    compute_dtype: Literal["float32", "bfloat16"] | None = None
    """Dtype of matrix products; weights and optimizer stay in float32 master copies. By default the model's dtype."""
    checkpoint_every: int = Field(default=50, ge=1)
    """Optimizer steps between checkpoints inside a stage."""
    max_skipped_steps: int = Field(default=3, ge=0)
    """Most consecutive optimizer steps that are skipped, with a message that names the samples, because their loss or
    gradient is not finite; one more ends the run."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Number of checkpoints that are kept while the stage runs; an older one is deleted once a newer one is
    complete."""


class SamplingConfig(Section):
    """How responses are sampled."""

    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    max_tokens: int = Field(ge=1)

    def sampling(self, stop_token_ids: tuple[int, ...]) -> Sampling:
        """Return the record that is sent to the generator."""
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            max_tokens=self.max_tokens,
            stop_token_ids=stop_token_ids,
        )


class EvaluateConfig(Section):
    """Held-out evaluation after every stage. Its prompts are removed from all training data."""

    data: list[Name] = Field(min_length=1)
    samples: PerStep = 1
    """Responses per prompt; pass@k is reported for k = 1 and k = samples."""
    sampling: SamplingConfig
    pass_score: float = 1.0
    """A response passes if its score is at least this."""
