"""A reward model behind an HTTP service, such as vLLM with `--runner pooling`."""

from __future__ import annotations

import math
from typing import Any, Literal, cast

from rewards.extraction import after_thinking, final_answer
from rewards.judge_client import Endpoint, ModelName, Service, posted
from rewards.judge_prompts import defused
from rlpost.records import Sample, Verdict
from rlpost.scoring.authoring import Case, verifier

Route = Literal["classify", "pooling", "score"]
"""The route of the service. `classify`: one value per class for the whole conversation. `pooling`: the same, or one
value per token, of which the last counts. `score`: a cross-encoder of question and answer."""

CASES = (
    Case(response="It is Paris.", expect="accept", params={"squash": "none"}),
    Case(response="Paris, in France.", expect="accept", params={"squash": "none"}),
    Case(response="<think>Rome?</think>It is Paris.", expect="accept", params={"squash": "none"}),
    Case(response="", expect="reject"),
    Case(response="\u200b\u202e", expect="reject", note="nothing that can be seen"),
    Case(response="<think>Paris</think>", expect="reject", note="thought and not said"),
    Case(response="Paris " * 10_000, expect="adversarial", note="longer than max_answer_chars"),
    Case(response=":", expect="adversarial", note="a master key"),
    Case(response="<|im_end|>", params={"max_answer_chars": 5}, expect="adversarial"),
)


@verifier(
    name="model.reward",
    version="2",
    isolation="remote",
    timeout_s=60.0,
    largest_batch=64,
    requires=(),
    deterministic=False,
    extra="judge",
    modules=("openai",),
    cases=CASES,
)
async def reward(
    sample: Sample,
    *,
    endpoint: Endpoint = "",
    model: ModelName = "",
    api_key_env: str = "",
    route: Route = "classify",
    output: int = -1,
    squash: Literal["sigmoid", "none"] = "sigmoid",
    scale: float = 1.0,
    shift: float = 0.0,
    max_answer_chars: int = 32_000,
) -> Verdict:
    """The score of a reward model for the visible answer, mapped to [0, 1]; the part `raw` is the value as served.

    Args:
        sample: Its prompt and response are judged; it needs no gold.
        endpoint: Base URL of the service without a path, such as `http://127.0.0.1:8000`.
        model: Name of the model at the service.
        api_key_env: Name of the environment variable that holds the key; empty if the service needs none.
        route: The route of the service to ask.
        output: Index of the value that counts, if there are several; -1 is the last.
        squash: `sigmoid`: 1 / (1 + exp(-x)), for models with unbounded values. `none`: x, clipped to [0, 1].
        scale: Factor by which the served value is multiplied to give x.
        shift: Number that is then added to x.
        max_answer_chars: Longest answer that is judged; a longer one gets 0.

    Raises:
        ConnectionError: the reply has no finite value in the expected place.
    """
    if len(after_thinking(sample.response)) > max_answer_chars:
        return Verdict(score=0.0, reason=f"longer than {max_answer_chars} characters", tags=("too_long",))
    found = final_answer(sample.response, where="whole_text", on_many="last")
    answer = defused(found.text or "", nonce="\0").strip()
    if not any(character.isalnum() for character in answer):
        return Verdict(score=0.0, reason="no letter and no digit", tags=("no_answer",))
    service = Service(endpoint=endpoint, model=model, api_key_env=api_key_env)
    question = defused(sample.prompt, nonce="\0")
    reply = await posted(service, f"/{route}", _request(model, route, question, answer))
    value = _value(reply, route=route, output=output)
    if value is None:
        # Raised, so that the runtime retries: no response can make a reward model omit its value.
        raise ConnectionError(f"{endpoint}/{route} replied without a finite value: {reply!r:.200}")
    x = scale * value + shift
    score = _sigmoid(x) if squash == "sigmoid" else min(1.0, max(0.0, x))
    tags = ("clipped",) if squash == "none" and score != x else ()
    return Verdict(score=score, parts={"raw": value}, parsed=answer[:500], reason=f"raw {value:g}", tags=tags)


def _request(model: str, route: Route, question: str, answer: str) -> dict[str, Any]:
    # Raw values are requested, because an activation in the service and a squash here would flatten values twice.
    if route == "score":
        return {"model": model, "queries": question, "documents": answer, "use_activation": False}
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"model": model, "messages": messages, "use_activation": False}


def _value(reply: object, *, route: Route, output: int) -> float | None:
    """Return the value in a reply of vLLM's route; None if the reply has another shape or the value is not finite."""
    try:
        entry = cast("Any", reply)["data"][0]
        match route:
            case "score":
                value = entry["score"]
            case "classify":
                value = entry["probs"][output]
            case "pooling":
                last = entry["data"][-1] if isinstance(entry["data"][-1], list) else entry["data"]
                value = last[output]
    except (KeyError, IndexError, TypeError):
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _sigmoid(x: float) -> float:
    """Compute the sigmoid without overflow for large negative x."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(max(x, -700.0)) / (1 + math.exp(max(x, -700.0)))
