"""A stage that merges several language models into one by arithmetic on their weights; nothing is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from rlpost.recipe.sections import Section
from rlpost.recipe.stages.stage import BASE, Parent, Product, RecipePart, Role, Stage

MergeMethod = Literal["linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties"]
_OF_TASK_VECTORS = ("task_arithmetic", "ties", "dare_linear", "dare_ties")
_TIES_DENSITY = 0.2
"""TIES, arXiv 2306.01708, section 5: the largest 20 % of each task vector."""


class MergeSource(Section):
    """One of the merged models."""

    model: str
    """`base`, an earlier stage, or a model directory."""
    weight: float = Field(default=1.0, allow_inf_nan=False)


class MergeStage(Stage):
    """A merge of language models of one architecture, tensor by tensor in float32.

    The merged model has the configuration of the first source, and the run's tokenizer and chat template.
    """

    without_effect: ClassVar[Mapping[str, Any]] = {
        **Stage.without_effect,
        "base": True,
        "sources": {"__all__": {"model": True}},
    }

    kind: Literal["merge"]
    sources: list[MergeSource] = Field(min_length=1)
    method: MergeMethod = "linear"
    """`linear`: weighted mean. `slerp`: weighted arc between two models. `task_arithmetic`: sum of task vectors (arXiv
    2212.04089). `ties`: mean of the task vectors where their signs agree (arXiv 2306.01708). `dare_linear`,
    `dare_ties`: the last two methods after dropping a random part of each vector (arXiv 2311.03099)."""
    base: str | None = None
    """The model from which task vectors are differences: an earlier stage, a model directory, or by default `base`."""
    density: float | None = Field(default=None, gt=0, le=1)
    """Share of each task vector that is kept: its largest entries in `ties` (by default 0.2, as published), random
    entries in `dare_linear` and `dare_ties`, which require it."""
    scale: float | None = Field(default=None, allow_inf_nan=False)
    """Factor of the merged task vector; by default 1."""

    @model_validator(mode="after")
    def _keys_of_the_method(self) -> MergeStage:
        uses_density = self.method in ("ties", "dare_linear", "dare_ties")
        for key, used in (
            ("base", self.method in _OF_TASK_VECTORS),
            ("scale", self.method in _OF_TASK_VECTORS),
            ("density", uses_density),
        ):
            if getattr(self, key) is not None and not used:
                raise ValueError(f"{key} has no meaning for method: {self.method}: remove it, or choose another method")
        if self.density is None and self.method in ("dare_linear", "dare_ties"):
            raise ValueError(f"method {self.method} needs density: the share of each task vector that is kept")
        return self

    @model_validator(mode="after")
    def _weights_of_the_method(self) -> MergeStage:
        weights = [source.weight for source in self.sources]
        if self.method == "slerp" and (len(weights) != 2 or min(weights) < 0 or sum(weights) <= 0):
            raise ValueError(
                f"slerp goes from one model to another: give 2 sources with weights of at least 0, one of them above; "
                f"found {len(weights)} with {weights}"
            )
        if self.method == "linear" and (len(weights) < 2 or sum(weights) <= 0):
            raise ValueError(
                f"a linear merge is a mean: give at least 2 sources whose weights add up to more than 0; found "
                f"{len(weights)} with {weights}"
            )
        return self

    @property
    def parents(self) -> tuple[Parent, ...]:
        """See `Stage`."""
        accepts: frozenset[Product] = frozenset({"language_model"})

        def parent(*key: str | int, role: Role, name: str) -> Parent:
            return Parent(key, role=role, name=name, accepts=accepts)

        sources = [
            parent("sources", place, "model", role="source", name=source.model)
            for place, source in enumerate(self.sources)
        ]
        if self.method not in _OF_TASK_VECTORS:
            return tuple(sources)
        return (*sources, parent("base", role="task_base", name=self.base or BASE))

    @property
    def depends_on(self) -> frozenset[RecipePart]:
        """See `Stage`. The tokenizer comes from `base`."""
        always: frozenset[RecipePart] = frozenset({"model.dtype", "base"})
        drawn: frozenset[RecipePart] = frozenset({"seed"} if self.drops_at_random else ())
        return always | drawn

    @property
    def drops_at_random(self) -> bool:
        """Whether a random part of each task vector is dropped."""
        return self.method in ("dare_linear", "dare_ties")

    @property
    def kept_share(self) -> float:
        """The density in force; 1 if the method drops nothing."""
        if self.density is not None:
            return self.density
        return _TIES_DENSITY if self.method == "ties" else 1.0

    @property
    def factor(self) -> float:
        """The scale in force."""
        return 1.0 if self.scale is None else self.scale

    def words(self, data_rows: int | None) -> Iterator[str]:
        """See `Stage`."""
        models = ", ".join(f"{source.weight:g} x {source.model}" for source in self.sources)
        if self.method not in _OF_TASK_VECTORS:
            how = {"linear": "weighted mean", "slerp": "weighted arc"}[self.method]
            yield f"{self.method} merge, the {how} of {models}; nothing is trained"
            return
        kept = "" if self.kept_share == 1 else f", {self.kept_share:.3g} of each kept"
        yield (
            f"{self.method} merge: {self.base or BASE} + {self.factor:g} x the task vectors of {models}{kept}; nothing "
            "is trained"
        )
