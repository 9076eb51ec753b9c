"""The stages that a command selects by `--from`, `--until` and `--go-on-with`."""

from __future__ import annotations

from dataclasses import dataclass

from rlpost.errors import RecipeError
from rlpost.recipe.schema import Recipe


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A range of stages, both ends included; stages before the first are reused if finished, and run otherwise."""

    names: tuple[str, ...]
    first: str | None
    last: str | None
    go_on_with: str | None = None

    @classmethod
    def of(cls, recipe: Recipe, *, first: str | None, last: str | None, go_on_with: str | None = None) -> Selection:
        """Check the names against the recipe.

        Raises:
            RecipeError: a name is not a stage of the recipe, or the last stage comes before the first.
        """
        names = tuple(stage.name for stage in recipe.stages)
        for option, name in (("--from", first), ("--until", last), ("--go-on-with", go_on_with)):
            if name is not None and name not in names:
                raise RecipeError(f"{option} must name a stage of the recipe ({', '.join(names)}); found {name!r}")
        if first and go_on_with and names.index(go_on_with) >= names.index(first):
            raise RecipeError(f"--from {first} runs {go_on_with} again, and --go-on-with {go_on_with} keeps its work")
        if first and last and names.index(first) > names.index(last):
            raise RecipeError(f"--until {last} comes before --from {first} in the recipe ({', '.join(names)})")
        return cls(names=names, first=first, last=last, go_on_with=go_on_with)

    def must_redo(self, name: str) -> bool:
        """Whether the stage runs again even if it is finished."""
        return self.first is not None and self.names.index(name) >= self.names.index(self.first)

    def goes_on_with(self, name: str) -> bool:
        """Whether the stage goes on with earlier work although its inputs differ."""
        return name == self.go_on_with

    def is_after_end(self, name: str) -> bool:
        """Whether the stage comes after the last selected one."""
        return self.last is not None and self.names.index(name) > self.names.index(self.last)
