"""The section `rewards`: it says which verifier, or which composition of verifiers, judges which sample.

A route is a tree. Its leaves are verifiers; every other node is one of these operators:

    gate/else/then   `then` if the gate passes; otherwise the number `else`, and nothing below `then` runs
    sum              weighted sum; each child has its own `weight`, which may change over a stage
    product, min     product or minimum of the children; once a product is 0, no further child runs
    first            the first child that does not abstain; later children run only for the remaining samples
    clip, scale      one child, limited to [low, high]; or multiplied by `by`, with `offset` added

Any node below the root may have `when: NAME`; it then runs only if the part of that name, which must precede it,
passed. A part passes if its value reaches its `least`, by default the top score of its verifier. A node is worth 0 if
none of its children ran.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, StringConstraints, model_serializer, model_validator

from rlpost.recipe.sections import Section
from rlpost.recipe.yaml_tree import KeyPath

VerifierReference = Annotated[str, StringConstraints(pattern=r"^(\w+(\.\w+)*(:\w+)?|[^\n]+\.py(:\w+)?)$")]
"""A short name, `module:name` of an importable object, or `path/to/file.py:name`."""
PartName = Annotated[str, StringConstraints(pattern=r"^[\w.:-]+$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
OPERATORS = ("verifier", "gate", "sum", "product", "min", "first", "clip", "scale")
_BELONGS_TO = {"params": "verifier", "timeout_s": "verifier", "then": "gate", "otherwise": "gate"}


class WeightSchedule(Section):
    """A weight that changes linearly over the first steps of an RL stage and then stays constant.

    Wherever else a sample is judged (evaluation, own samples, `least_score`), the weight is the one at the end.
    """

    start: float = Field(alias="from", ge=0, allow_inf_nan=False)
    end: float = Field(alias="to", ge=0, allow_inf_nan=False)
    steps: int = Field(ge=1)

    @model_validator(mode="after")
    def _weighs_something(self) -> WeightSchedule:
        if self.start == self.end == 0:
            raise ValueError("a weight that is always 0 counts for nothing: remove the node, or raise `from` or `to`")
        return self

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        return {"from": self.start, "to": self.end, "steps": self.steps}

    def at(self, step: int | None) -> float:
        """Return the weight of a sample whose prompt was issued at this step of an RL stage; None is the end."""
        if step is None:
            return self.end
        return self.start + (self.end - self.start) * min(1.0, step / self.steps)


class ClipNode(Section):
    """A child whose value is limited to a range."""

    of: RewardNode
    low: Finite = 0.0
    high: Finite = 1.0

    @model_validator(mode="after")
    def _bounds(self) -> ClipNode:
        if self.low >= self.high:
            raise ValueError(f"low must be below high; found low {self.low:g} and high {self.high:g}")
        return self


class ScaleNode(Section):
    """A child times `by`, plus `offset`; a negative `by` turns it into a penalty."""

    of: RewardNode
    by: Finite = 1.0
    offset: Finite = 0.0


class RewardNode(Section):
    """One verifier, or one operator over other nodes."""

    verifier: VerifierReference | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    timeout_s: float | None = Field(default=None, gt=0)
    """Limit per sample; by default the verifier's own."""
    gate: RewardNode | None = None
    then: RewardNode | None = None
    otherwise: float = Field(default=0.0, alias="else", allow_inf_nan=False)
    sum: list[RewardNode] | None = Field(default=None, min_length=1)
    product: list[RewardNode] | None = Field(default=None, min_length=1)
    min: list[RewardNode] | None = Field(default=None, min_length=1)
    first: list[RewardNode] | None = Field(default=None, min_length=1)
    clip: ClipNode | None = None
    scale: ScaleNode | None = None
    name: PartName | None = None
    """Name of the part in logs, in `when` and in advantage.parts; by default a verifier's short name."""
    least: Finite | None = None
    """The smallest value that passes; by default the top score of the verifier."""
    when: str | None = None
    """Name of a part; the node runs only if that part passed."""
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] | WeightSchedule = 1.0
    """Weight of a child in a sum, or of a whole route."""

    @model_validator(mode="after")
    def _one_operator(self) -> RewardNode:
        found = [key for key in OPERATORS if getattr(self, key) is not None]
        if len(found) != 1:
            what = " and ".join(f"`{key}`" for key in found) or "none"
            raise ValueError(
                f"a node is exactly one of {', '.join(f'`{key}`' for key in OPERATORS)}; found {what}: "
                "put the one below the other, or remove it"
            )
        for field, owner in _BELONGS_TO.items():
            if owner != found[0] and field in self.model_fields_set and getattr(self, field) not in (None, {}):
                raise ValueError(f"`{_written(field)}` belongs to `{owner}`; found it beside `{found[0]}`: move it")
        if self.gate is not None and self.then is None:
            raise ValueError("a gate needs `then`: what counts where it passes")
        for part, child in self.children():
            if part[0] != "sum" and "weight" in child.model_fields_set:
                raise ValueError(
                    f"a weight belongs to a child of `sum`, or to a whole route; found one at {_shown(part)}: "
                    "use `scale` there"
                )
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = dump(self)
        fields = type(self).model_fields.items()
        defaults = {name: field.get_default(call_default_factory=True) for name, field in fields}
        return {_written(key): value for key, value in values.items() if key not in defaults or value != defaults[key]}

    @property
    def operator(self) -> str:
        """The one of `OPERATORS` that this node is."""
        return next(key for key in OPERATORS if getattr(self, key) is not None)

    def children(self) -> Iterator[tuple[KeyPath, RewardNode]]:
        """Yield the direct children in the order in which they run, each with its key path."""
        if self.gate is not None and self.then is not None:
            yield ("gate",), self.gate
            yield ("then",), self.then
        for key, several in (("sum", self.sum), ("product", self.product), ("min", self.min), ("first", self.first)):
            for index, child in enumerate(several or ()):
                yield (key, index), child
        for key, one in (("clip", self.clip), ("scale", self.scale)):
            if one is not None:
                yield (key, "of"), one.of

    def with_children(self, children: Mapping[KeyPath, RewardNode]) -> RewardNode:
        """Return the same operator over other children, given by key path."""
        update: dict[str, Any] = {}
        for (key, *below), child in children.items():
            if isinstance(below[0] if below else None, int):
                update.setdefault(str(key), []).append(child)
            elif below:
                update[str(key)] = getattr(self, str(key)).model_copy(update={"of": child})
            else:
                update[str(key)] = child
        return self.model_copy(update=update)

    def nodes(self) -> Iterator[tuple[KeyPath, RewardNode]]:
        """Yield this node and all its descendants with their key paths; a node comes after those that run before it."""
        for path, child in self.children():
            yield from (((*path, *deeper), node) for deeper, node in child.nodes())
        yield (), self

    def verifiers(self) -> list[str]:
        """The references of the leaves, in the order in which they run."""
        return [node.verifier for _, node in self.nodes() if node.verifier is not None]

    def weight_at(self, step: int | None) -> float:
        """Return the weight of a sample whose prompt was issued at this step of an RL stage; None is the end."""
        return self.weight.at(step) if isinstance(self.weight, WeightSchedule) else self.weight


class OnFaultsConfig(Section):
    """Limits on missing verdicts, which a service or a worker could not give, as shares of the last `window` verdicts.

    Gold faults and policy faults do not count here: a row that cannot be read is set aside, and a response that broke
    its verifier gets the floor score.
    """

    pause_above: float = Field(default=0.05, ge=0, lt=1)
    """Above this share, no new prompts are issued, and failed samples are judged again from time to time."""
    stop_above: float = Field(default=0.2, gt=0, lt=1)
    """If the share is above this after a pause, the run stops."""
    window: int = Field(default=200, ge=20)
    longest_pause_s: float = Field(default=600.0, gt=0)
    """Longest pause; a pause is also limited to half of the cluster's step_timeout_s."""

    @model_validator(mode="after")
    def _pauses_first(self) -> OnFaultsConfig:
        if self.pause_above > self.stop_above:
            raise ValueError(
                f"pause_above must not exceed stop_above; found {self.pause_above:g} and {self.stop_above:g}"
            )
        return self


class RewardsConfig(Section):
    """The verifiers for each sample, and the limits on missing verdicts."""

    route_by: str = "dataset"
    """`dataset`, or a column of the rows."""
    routes: dict[str, RewardNode]
    """Value of the routing column -> verifier or composition. `*` applies to all values without a route."""
    on_faults: OnFaultsConfig = OnFaultsConfig()

    @model_validator(mode="after")
    def _roots(self) -> RewardsConfig:
        for value, node in self.routes.items():
            if node.when is not None:
                raise ValueError(f"routes.{value}: no part runs before a whole route: remove `when`")
        return self


# Their annotations name a class that is defined after them.
ClipNode.model_rebuild()
ScaleNode.model_rebuild()


def _written(field: str) -> str:
    return "else" if field == "otherwise" else field


def _shown(path: KeyPath) -> str:
    return ".".join(map(str, path))
