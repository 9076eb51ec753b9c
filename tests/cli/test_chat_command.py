"""`rlpost chat` answers from the prompt that training renders, and ends where sampling ends."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import byte_tokenizer, save_tiny_model
from transformers import AutoModelForCausalLM

from rlpost.cli.chat import chat
from rlpost.data.chat import ChatFormat
from rlpost.errors import ModelError
from rlpost.pipeline.artifacts import Manifest, hash_model, write_manifest
from rlpost.records import Example, Message


def test_an_answer_ends_at_the_models_own_stop_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tiny_model(tmp_path, tied=True, seed=0)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    turns = (Message(role="system", content="s"), Message(role="user", content="hello"))
    [ids] = ChatFormat(byte_tokenizer()).render_prompts([Example(id="q", dataset="q", messages=turns)])
    free = model.generate(torch.tensor(ids.astype(np.int64))[None], do_sample=False, max_new_tokens=9)[0, len(ids) :]
    stop = int(free[4])
    ChatFormat(byte_tokenizer(), model_stops=(stop,)).save(tmp_path)
    chat(tmp_path, prompt="hello", system="s", max_tokens=9)
    kept = free[: free.tolist().index(stop) + 1]
    assert len(kept) < 9
    assert capsys.readouterr().out == byte_tokenizer().decode(kept, skip_special_tokens=True) + "\n"


def talk(model_dir: Path, *lines: str, monkeypatch: pytest.MonkeyPatch, max_tokens: int = 4) -> list[str]:
    """Type lines at the prompt; returns the conversations that the model was asked to answer."""
    asked: list[str] = []
    usual = ChatFormat.render_prompts

    def rendered(self: ChatFormat, examples: Sequence[Example]) -> Any:
        asked.extend("|".join(turn.text for turn in example.messages if turn.role == "user") for example in examples)
        return usual(self, examples)

    typed = iter(lines)

    def line(_: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(ChatFormat, "render_prompts", rendered)
    monkeypatch.setattr("builtins.input", line)
    chat(model_dir, max_tokens=max_tokens)
    return asked


def test_a_conversation_goes_on_until_an_empty_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny_model(tmp_path, tied=True, seed=0)
    ChatFormat(byte_tokenizer()).save(tmp_path)
    assert talk(tmp_path, "a", "b", "", "c", monkeypatch=monkeypatch) == ["a", "a|b", "c"]


def test_a_conversation_that_no_longer_fits_is_ended_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tiny_model(tmp_path, tied=True, seed=0)
    ChatFormat(byte_tokenizer()).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 40}))
    assert talk(tmp_path, "a", "b" * 40, "c", monkeypatch=monkeypatch)[-1] == "c"
    assert "fewer tokens than the model reads, 40; it has" in capsys.readouterr().err


def test_a_stages_folder_is_talked_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "01-sft" / "model"
    save_tiny_model(model, tied=True, seed=0)
    ChatFormat(byte_tokenizer()).save(model)
    digest, files = hash_model(model)
    manifest = Manifest(
        stage="sft",
        kind="sft",
        inputs_hash="",
        parents={},
        model_hash=digest,
        files=files,
        rlpost_version="",
        trust_remote_code=False,
        seconds=0,
    )
    write_manifest(model.parent, manifest)
    chat(model.parent, prompt="a", max_tokens=2)
    of_stage = capsys.readouterr().out
    chat(model, prompt="a", max_tokens=2)
    assert capsys.readouterr().out == of_stage


def test_a_model_without_weights_or_template_is_refused_in_words(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, tied=True, seed=0)
    tokenizer = byte_tokenizer()
    ChatFormat(tokenizer).save(tmp_path)
    for weights in tmp_path.glob("*.safetensors"):
        weights.unlink()
    with pytest.raises(ModelError, match="chat needs a model that transformers can load"):
        chat(tmp_path, prompt="a", max_tokens=2)
    tokenizer.chat_template = None
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="chat template"):
        chat(tmp_path, prompt="a", max_tokens=2)
