"""Every part that draws at random takes the largest seed that a recipe may have."""

from __future__ import annotations

from pathlib import Path

from fakes import FakeParts
from small_run import pipeline_of, recipe_document

from rlpost.pipeline.selection import Selection
from rlpost.recipe.sections import LARGEST_SEED


def test_a_whole_run_works_with_the_largest_seed_and_differs_from_one_with_another(tmp_path: Path) -> None:
    hashes: list[list[str]] = []
    for folder, seed in (("largest", LARGEST_SEED), ("again", LARGEST_SEED), ("other", LARGEST_SEED - 1)):
        (tmp_path / folder).mkdir()
        document = recipe_document(tmp_path / folder) | {"seed": seed}
        document["stages"][1] |= {"kind": "dpo", "sampler": {"kind": "mixture", "mix": {"sums": 1}}}
        document["stages"][2] |= {"minibatches": 2, "epochs": 2, "sampler": {"kind": "curriculum"}}
        own = {**document["stages"][1], "name": "scorer", "kind": "reward_model"}
        document["stages"].insert(2, {key: value for key, value in own.items() if key != "beta"})
        pipeline = pipeline_of(document, FakeParts())
        manifests = pipeline.execute(Selection.of(pipeline.recipe, first=None, last=None))
        hashes.append([manifest.model_hash for manifest in manifests])
    assert hashes[0] == hashes[1]
    assert all(one != other for one, other in zip(hashes[0], hashes[2], strict=True))
