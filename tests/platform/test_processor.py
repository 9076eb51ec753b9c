"""A processor without instructions for bfloat16 is named before it makes a run many times slower."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from rlpost.cli.main import app
from rlpost.platform import processor
from rlpost.platform.processor import has_bfloat16_kernels, slow_format_lines
from rlpost.recipe.load import load_cluster, load_recipe

ROOT = Path(__file__).parents[2]
VALID = ROOT / "tests" / "recipe" / "valid.yaml"
LAPTOP = ROOT / "ray_configs" / "laptop.yaml"
ZEN_3 = "processor : 0\nmodel name : AMD EPYC\nflags\t\t: fpu sse2 avx avx2 fma vaes\n"
ZEN_4 = "processor : 0\nflags\t\t: fpu avx2 avx512f avx512bw avx512_bf16\n"
GRAVITON = "processor : 0\nFeatures\t: fp asimd sve bf16 i8mm\n"
IN_BFLOAT16 = "model.dtype=bfloat16"


@pytest.fixture
def on_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that tells the processor; a test writes it."""
    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "cpuinfo")
    return tmp_path / "cpuinfo"


def told(*overrides: str, on: tuple[str, ...] = ()) -> list[str]:
    recipe = load_recipe(VALID, overrides=list(overrides)).recipe
    return slow_format_lines(recipe, load_cluster(LAPTOP, overrides=list(on)).cluster)


@pytest.mark.parametrize(("text", "expected"), [(ZEN_3, False), (ZEN_4, True), (GRAVITON, True), ("cpu\t: 1\n", None)])
def test_the_flags_tell(on_processor: Path, text: str, expected: bool | None) -> None:
    on_processor.write_text(text)
    assert has_bfloat16_kernels() is expected


def test_where_nothing_tells_nothing_is_claimed(on_processor: Path) -> None:
    assert not on_processor.exists()
    assert has_bfloat16_kernels() is None
    assert told(IN_BFLOAT16) == []


def test_it_agrees_with_what_torch_finds_on_this_machine() -> None:
    assert has_bfloat16_kernels() is torch.ops.mkldnn._is_mkldnn_bf16_supported()


def test_a_recipe_in_bfloat16_is_told_what_to_set(on_processor: Path) -> None:
    on_processor.write_text(ZEN_3)
    (line,) = told(IN_BFLOAT16)
    assert line.startswith("SLOW: training and generation on cpu in bfloat16")
    assert line.endswith("set model.dtype: float32")


def test_only_what_is_slow_is_named(on_processor: Path) -> None:
    on_processor.write_text(ZEN_3)
    assert told() == []
    (line,) = told("stages.sft.learner.compute_dtype=bfloat16")
    assert line.startswith("SLOW: training on cpu")
    assert line.endswith("set model.dtype: float32 and learner.compute_dtype: float32")
    (line,) = told(IN_BFLOAT16, on=("learner.device=cuda", "gpus_per_node=1"))
    assert line.startswith("SLOW: generation on cpu")
    on_processor.write_text(ZEN_4)
    assert told(IN_BFLOAT16) == []


def test_check_says_it(on_processor: Path) -> None:
    on_processor.write_text(ZEN_3)
    result = CliRunner().invoke(app, ["check", str(VALID), "--cluster", str(LAPTOP), "--set", IN_BFLOAT16])
    assert result.exit_code == 0, result.stderr
    assert "SLOW: training and generation on cpu" in result.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ZEN_3, "cores WITHOUT bfloat16 (use model.dtype: float32), "),
        (ZEN_4, "cores with bfloat16, "),
        (None, "cores, "),
    ],
)
def test_doctor_says_it(on_processor: Path, text: str | None, words: str) -> None:
    if text is not None:
        on_processor.write_text(text)
    result = CliRunner().invoke(app, ["doctor"])
    (machine,) = [line for line in result.stdout.splitlines() if line.startswith("machine: ")]
    assert words in machine
