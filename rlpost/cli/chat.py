"""`rlpost chat`: talk to a model that a run has trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rlpost.errors import ArtifactError, ModelError
from rlpost.pipeline.artifacts import MODEL, read_manifest
from rlpost.records import Example, Message
from rlpost.telemetry.plain_text import printable


def chat(
    run: Annotated[Path, typer.Argument(help="A run's folder, a stage's folder, or a model directory.")],
    stage: Annotated[str | None, typer.Option(help="The stage to talk to; by default the last one.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Answer this question and exit.")] = None,
    system: Annotated[str | None, typer.Option(help="A system message at the beginning of a conversation.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.", min=1)] = 256,
) -> None:
    """Answer questions greedily on the CPU. A line goes on with the conversation; an empty line begins a new one."""
    model_dir = _model_dir(run, stage)
    speaker = _Speaker(model_dir, system=system, max_tokens=max_tokens)
    if prompt is not None:
        typer.echo(printable(speaker.answer(prompt)))
        return
    typer.echo(f"{model_dir}: type a question; an empty line begins a new conversation, Ctrl-D ends")
    while True:
        try:
            question = input("> ")
        except EOFError:
            return
        if not question.strip():
            speaker.begin()
            continue
        try:
            typer.echo(printable(speaker.answer(question)))
        except ModelError as error:
            typer.echo(f"{printable(str(error))}; a new conversation begins", err=True)
            speaker.begin()


class _Speaker:
    """A model in a conversation."""

    def __init__(self, model_dir: Path, *, system: str | None, max_tokens: int) -> None:
        from transformers import AutoModelForCausalLM, logging

        from rlpost.data.chat import ChatFormat, model_stop_ids
        from rlpost.data.tokenizer import load_tokenizer

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        trusted = _is_trusted(model_dir)
        self._tokenizer: Any = load_tokenizer(str(model_dir), trust_remote_code=trusted)
        self._format = ChatFormat(self._tokenizer, model_stops=model_stop_ids(model_dir))
        try:
            self._model: Any = AutoModelForCausalLM.from_pretrained(
                model_dir, trust_remote_code=trusted, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise ModelError(
                f"chat needs a model that transformers can load; {model_dir}: {str(error).splitlines()[0]}"
            ) from error
        self._system, self._max_tokens = system, max_tokens
        self.begin()

    def begin(self) -> None:
        """Begin a new conversation."""
        self._turns = [Message(role="system", content=self._system)] if self._system else []

    def answer(self, question: str) -> str:
        """Answer the next question of the conversation.

        Raises:
            ModelError: the template rejects the conversation, or it no longer fits in the model.
        """
        turns = [*self._turns, Message(role="user", content=question)]
        [ids] = self._format.render_prompts([Example(id="question", dataset="chat", messages=tuple(turns))])
        longest = getattr(self._model.config, "max_position_embeddings", None)
        if isinstance(longest, int) and len(ids) >= longest:
            raise ModelError(
                f"a conversation must have fewer tokens than the model reads, {longest}; it has {len(ids)}: ask less"
            )
        room = self._max_tokens if not isinstance(longest, int) else min(self._max_tokens, longest - len(ids))
        rows = {"input_ids": [ids.tolist()], "attention_mask": [[1] * len(ids)]}
        output: Any = self._model.generate(
            **self._tokenizer.pad(rows, padding=False, return_tensors="pt"),
            max_new_tokens=room,
            do_sample=False,
            eos_token_id=list(self._format.stop_token_ids),
        )
        text = str(self._tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True))
        self._turns = [*turns, Message(role="assistant", content=text)]
        return text


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
    if read_manifest(run) is not None:
        return _model_dir(run / MODEL, stage)
    summary = run / "summary.json"
    if not summary.is_file():
        raise ArtifactError(
            "chat needs a run's folder (with summary.json), a finished stage's folder or a model directory; "
            f"{run} is none of them"
        )
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
