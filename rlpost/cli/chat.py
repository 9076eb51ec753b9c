"""`rlpost chat`: talk to a model that a run has trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rlpost.errors import ArtifactError
from rlpost.pipeline.artifacts import read_manifest
from rlpost.records import Example, Message


def chat(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a model directory.")],
    stage: Annotated[str | None, typer.Option(help="The stage to talk to; by default the last one.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Answer this question and exit.")] = None,
    system: Annotated[str | None, typer.Option(help="A system message to put before every question.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 256,
) -> None:
    """Answer questions greedily on the CPU; each line starts a new conversation."""
    model_dir = _model_dir(run, stage)
    from transformers import AutoModelForCausalLM, AutoTokenizer, logging

    from rlpost.data.chat import ChatFormat, model_stop_ids

    logging.disable_progress_bar()

    trusted = _is_trusted(model_dir)
    tokenizer = AutoTokenizer.from_pretrained(model_dir, trust_remote_code=trusted)
    model = AutoModelForCausalLM.from_pretrained(model_dir, trust_remote_code=trusted, use_safetensors=True)
    generate: Any = getattr(model, "generate")  # noqa: B009 - transformers types it for its mixin only

    chat_format = ChatFormat(tokenizer, model_stops=model_stop_ids(model_dir))

    def answer(question: str) -> str:
        turns = [Message(role="system", content=system)] if system else []
        turns.append(Message(role="user", content=question))
        [ids] = chat_format.render_prompts([Example(id="question", dataset="chat", messages=tuple(turns))])
        rows = {"input_ids": [ids.tolist()], "attention_mask": [[1] * len(ids)]}
        output: Any = generate(
            **tokenizer.pad(rows, padding=False, return_tensors="pt"),
            max_new_tokens=max_tokens,
            do_sample=False,
            eos_token_id=list(chat_format.stop_token_ids),
        )
        return str(tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True))

    if prompt is not None:
        typer.echo(answer(prompt))
        return
    typer.echo(f"{model_dir}: type a question, Ctrl-D to leave")
    while True:
        try:
            question = input("> ")
        except EOFError:
            return
        typer.echo(answer(question))


def _is_trusted(model_dir: Path) -> bool:
    """Whether the recipe of the run that made this model allows the model's own Python code to run."""
    manifest = read_manifest(model_dir.parent)
    return manifest is not None and manifest.trust_remote_code


def _model_dir(run: Path, stage: str | None) -> Path:
    if (run / "config.json").is_file():
        architectures: list[str] = json.loads((run / "config.json").read_text()).get("architectures") or []
        if any(name.endswith("ForSequenceClassification") for name in architectures):
            raise ArtifactError(
                f"chat needs a language model; {run} is a reward model, which scores and does not answer"
            )
        return run
    summary = run / "summary.json"
    if not summary.is_file():
        raise ArtifactError(f"chat needs a run's folder (with summary.json) or a model directory; {run} is neither")
    content = json.loads(summary.read_text())
    records = {record["name"]: record for record in (content["base"], *content["stages"])}
    speaking = [name for name, record in records.items() if record.get("produces") != "reward_model"]
    if stage is not None and stage not in speaking:
        named = f"{stage!r}, a reward model, which scores and does not answer" if stage in records else repr(stage)
        raise ArtifactError(f"--stage must be a finished stage of the run ({', '.join(speaking)}); found {named}")
    model = Path(records[stage or speaking[-1]]["model"])
    # The run's folder may have been moved since the run.
    moved = run / "stages" / model.parent.name / model.name
    found = moved if moved.is_dir() else model
    if not found.is_dir():
        raise ArtifactError(f"the model of a stage must be where the run wrote it; {found} is not there")
    return found
