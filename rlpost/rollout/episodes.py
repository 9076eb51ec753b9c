"""Turns completions of engines into episodes: the token-exact record of what the policy did from a prompt."""

from __future__ import annotations

import numpy as np

from rlpost.records import Completion, Episode, Prompt, Trajectory, Turn, VersionSpan


def single_turn(prompt: Prompt, completion: Completion) -> Episode:
    """Make the episode of a single answer: the prompt's tokens, then the sampled tokens, unchanged."""
    return Episode(
        sample=completion.key[1],
        trajectories=(answered(prompt, completion),),
        response=completion.text,
        seconds=completion.seconds,
    )


def answered(prompt: Prompt, completion: Completion) -> Trajectory:
    """Make one trajectory of a prompt and a sampled answer."""
    start = len(prompt.token_ids)
    stop = start + len(completion.token_ids)
    trained_T = np.zeros(stop, np.bool_)
    trained_T[start:] = True
    logprobs_T = np.zeros(stop, np.float32)
    logprobs_T[start:] = completion.logprobs_T
    return Trajectory(
        token_ids=np.concatenate((prompt.token_ids, completion.token_ids)),
        trained_T=trained_T,
        logprobs_T=logprobs_T,
        version_spans=tuple(
            [VersionSpan(start + first, start + end, version) for first, end, version in completion.version_spans]
        ),
        turns=(Turn(0, start, "user"), Turn(start, stop, "assistant")),
        finish=completion.finish,
    )
