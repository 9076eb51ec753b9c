"""Quantities among words, in the units of pharmacy, and in units that only look alike."""

from __future__ import annotations

import pytest

from rewards.units import quantity
from rlpost.records import Sample


def score(response: str, gold: str) -> float | None:
    sample = Sample(id="s", prompt="", response=response, gold=gold)
    return quantity.judge(sample, params=quantity.validated({})).score


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("32 °F", "0 °C"),
        ("212 °F", "100 °C"),
        ("273.15 K", "0 °C"),
        ("-40 °F", "-40 °C"),
        ("$5 \\times 10^{3}$ J", "5 kJ"),
        ("$5$ m", "5 m"),
        ("5 $\\text{m}$", "5 m"),
        ("$5\\,\\text{m/s}$", "5 m/s"),
        ("minus 5 m", "-5 m"),
        ("negative 5 °C", "-5 °C"),
        ("5000 IU", "5000 units"),
        ("20 mEq", "20 mEq"),
        ("0.02 Eq", "20 mEq"),
        ("20 drops/min", "20 gtt/min"),
        ("20 drops per minute", "20 gtt/min"),
        ("2 tablets", "2 tablets"),
        ("2 tabs", "2 tablets"),
        ("1 capsule", "1 cap"),
        ("10 units", "10 IU"),
        ("10 U/mL", "10 IU/mL"),
        ("250 mcg", "0.25 mg"),
        ("5 mL", "5 cc"),
        ("125 mL/h", "125 ml/hr"),
        ("125 mL per hour", "125 mL/h"),
        ("60 beats per minute", "60 bpm"),
        ("9.8 meters per second squared", "9.8 m/s^2"),
        ("5 square meters", "5 m^2"),
        ("5 cubic centimeters", "5 cm^3"),
        ("60 mph", "60 miles per hour"),
        ("<answer>5 m</answer>", "5 m"),
        ("The answer is 5 m.", "5 m"),
        ("\\boxed{5\\text{ m}} = \\boxed{500\\text{ cm}}", "5 m"),
        ("\\boxed{\\text{5 m}}", "5 m"),
        ("5 rad/s", "5 rad/s"),
        ("60 rpm", "6.2831853 rad/s"),
        ("12 Hz", "12 1/s"),
        ("1 Sv", "1000 mSv"),
        ("3 kHz", "3000 Hz"),
        ("The force is 5 N.", "5 N"),
        ("so v = 5 m/s", "5 m/s"),
        ("5 N·m", "5 N m"),
        ("5 mmol/L", "5 mM"),
        ("5 kcal", "5000 cal"),
        ("5 ohms", "5 Ω"),
        ("100 mg/dL", "1 g/L"),
        ("2 puffs", "2 puffs"),
        ("5 million IU", "5000000 IU"),
        ("5\u00d710³ J", "5 kJ"),
        ("5 x 10^3 J", "5 kJ"),
        ("about 5 m", "5 m"),
        ("290 mOsm/L", "290 mOsm/L"),
        ("1/2 tablet", "0.5 tablets"),
        ("0.5 tablet", "1/2 tablet"),
        ("1 1/2 tablets", "1.5 tablets"),
        ("$\\frac{1}{2}$ m", "0.5 m"),
        ("25 °C", "25 degrees Celsius"),
        ("5 µg", "5 micrograms"),
        ("5 l", "5 L"),
        ("**5 m**", "5 m"),
        ("0.5 L", "500 mL"),
        ("5 m.", "5 m"),
        ("5 N", "5 kg m/s^2"),
        ("37 deg C", "37 °C"),
    ],
)
def test_a_right_quantity_is_read(response: str, gold: str) -> None:
    assert score(response, gold) == 1.0


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("minus 5 m", "5 m"),
        ("negative 5 m", "5 m"),
        ("half of 5 m", "5 m"),
        ("twice 5 m", "5 m"),
        ("5 Hz", "5 rad/s"),
        ("5 rad/s", "5 Hz"),
        ("5 Bq", "5 Hz"),
        ("5 Gy", "5 Sv"),
        ("5 lm", "5 cd"),
        ("20 drops", "20 tablets"),
        ("20 mEq", "20 mmol"),
        ("20 mg", "20 IU"),
        ("5 mL", "5 mg"),
        ("5 dozen m", "5 m"),
        ("5 thousand m", "5 m"),
        ("5 m and 6 m", "5 m"),
        ("1 °C", "0 °C"),
        ("33 °F", "0 °C"),
        ("5 kJ", "5 J"),
        ("5 m/s^2", "5 m/s"),
        ("$5 \\times 10^{4}$ J", "5 kJ"),
        ("5", "5 IU"),
        ("5 IU", "5 mEq"),
        ("\\boxed{5 m} \\boxed{6 m}", "5 m"),
        ("the square of 5 m", "5 m"),
        ("10 tablets", "1 tablet"),
        ("5 mm", "5 m"),
        ("5 M", "5 m"),
        ("60 rpm", "1 rad/s"),
        ("-5 m", "5 m"),
        ("<think>5 m", "5 m"),
        ("5 m?", "6 m"),
        ("5 degrees", "5 °C"),
        ("5 mEq/mL", "5 mEq/L"),
        ("5 kg", "5 lb"),
        ("5 gal", "5 L"),
    ],
)
def test_another_quantity_is_not_paid(response: str, gold: str) -> None:
    assert score(response, gold) == 0.0
