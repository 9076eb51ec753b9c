"""A few unscored responses beside the normal work, for the parity canary when no fresh groups arrive by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

from rlpost.records import Completion, Episode, GenerationRequest, Prompt, RolloutGroup, Sampling
from rlpost.rollout.episodes import single_turn


class Probe:
    """One response to each of some prompts, under separate keys.

    Args:
        prompts: At least one prompt; a prompt may occur twice.
        max_tokens: Longest response.
        name: Distinguishes the keys from those of all other requests in flight.
    """

    def __init__(self, prompts: Sequence[Prompt], *, max_tokens: int, name: str) -> None:
        assert prompts, "a probe needs at least one prompt"
        self.answered: Future[list[RolloutGroup]] = Future()
        """One group per prompt, in their order, each with one episode and no verdict; `index` is the prompt's
        position."""
        self.name = name
        self._prompts, self._max_tokens = prompts, max_tokens
        self._places = {f"{name}/{place}:{prompt.id}": place for place, prompt in enumerate(prompts)}
        self._episodes: dict[int, Episode] = {}

    @property
    def keys(self) -> list[str]:
        """The first part of each request's key."""
        return list(self._places)

    def requests(self, sampling: Sampling, *, seed: int) -> list[GenerationRequest]:
        """Return the requests for the generator."""
        return [
            GenerationRequest(
                key=(key, 0),
                prompt_token_ids=self._prompts[place].token_ids,
                sampling=replace(sampling, max_tokens=self._max_tokens),
                seed=seed + place,
                urgent=True,
            )
            for key, place in self._places.items()
        ]

    def file(self, completion: Completion) -> None:
        """Store one answer; the last one completes `answered`."""
        place = self._places[completion.key[0]]
        assert place not in self._episodes, f"{completion.key[0]} came twice"
        self._episodes[place] = single_turn(self._prompts[place], completion)
        if len(self._episodes) == len(self._prompts):
            self.answered.set_result(
                [
                    RolloutGroup(prompt=prompt, index=place, episodes=(self._episodes[place],))
                    for place, prompt in enumerate(self._prompts)
                ]
            )
