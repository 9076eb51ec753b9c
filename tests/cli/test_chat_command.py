"""`rlpost chat` answers from the prompt that training renders, and ends where sampling ends."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import byte_tokenizer, save_tiny_model
from transformers import AutoModelForCausalLM

from rlpost.cli.chat import chat
from rlpost.data.chat import ChatFormat
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
