from __future__ import annotations

from fakes import make_prompt

from rlpost.stages.rl.sampling import PromptOrder

PROMPTS = [make_prompt(number) for number in range(7)]


def order(seed: int = 0, *, prompts_per_step: int = 3) -> PromptOrder:
    return PromptOrder(PROMPTS, prompts_per_step, seed)


def ids(places: range, seed: int = 0) -> list[str]:
    return [order(seed)(place).id for place in places]


def test_every_epoch_has_every_prompt_once_in_an_order_of_its_own() -> None:
    epochs = [ids(range(7 * epoch, 7 * (epoch + 1))) for epoch in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == sorted(prompt.id for prompt in PROMPTS)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_resumed_stage_goes_on_in_the_same_order() -> None:
    whole, again = order(), order()
    before = [whole(place).id for place in range(11)]
    assert [again(place).id for place in range(5, 11)] == before[5:]


def test_the_seed_decides_the_order() -> None:
    assert ids(range(14)) != ids(range(14), seed=1)
