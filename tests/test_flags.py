"""Flags and reasons: every one has a text, and the text gives it back."""

import ast
import re
from pathlib import Path

import pytest

from pipeline.errors import Reason, TableError, coded
from pipeline.flags import Flag, Flagged

ROOMS = [Path(__file__).parents[1] / room for room in ("app", "model", "pipeline", "report", "stages")]
DATA = {"columns": ("VUV", "NAQ"), "reason": "no sound read: the rest\nof it", "count": 64, "whole": 1012.5}


def with_data(flag: Flag) -> Flagged:
    return Flagged(flag, **{name: value for name, value in DATA.items() if f"{{{name}}}" in flag.value})


@pytest.mark.parametrize("flag", Flag)
def test_a_flag_is_stored_as_its_wording_and_read_back(flag: Flag) -> None:
    assert Flagged.parse(str(with_data(flag))) == with_data(flag)


def test_a_flag_with_data_is_told_with_it() -> None:
    flagged = Flagged(Flag.COLUMNS_NOT_FINITE, ("VUV", "NAQ"), count=1000)
    assert str(flagged) == "VUV, NAQ not finite in 1,000 frames"
    assert flagged.uncounted == "VUV, NAQ not finite in … frames"
    assert not flagged.odd and Flagged(Flag.NO_FACE).odd
    assert str(Flagged(Flag.RECOGNITION_FAILED, reason="timeout")) == "recognition failed: timeout"


@pytest.mark.parametrize(
    ("used", "whole", "told"),
    [
        (64, 1012, "first 64 of 1,012 s"),
        (16, 413.7, "first 16 of 414 s"),
        (16, 16.3, "first 16 of 16.3 s"),
        (16, 16.04, "first 16 of 16.04 s"),
    ],
)
def test_what_is_cut_is_told_in_as_few_digits_as_tell_it(used: float, whole: float, told: str) -> None:
    flagged = Flagged.cut(Flag.SOUND_CUT, used, whole)
    assert str(flagged) == f"sound: {told}"
    assert Flagged.parse(str(flagged)) == flagged


@pytest.mark.parametrize("text", ["", "No face", "no face at all", "VUV not finite in frames", "recognition failed"])
def test_a_text_that_is_no_flag_is_refused(text: str) -> None:
    with pytest.raises(TableError, match=f"the flag '{text}'.*dvc repro"):
        Flagged.parse(text)


def test_a_reason_is_read_back_with_and_without_a_failure() -> None:
    assert coded(Reason.GIVEN_UP, "timeout") == "given up: timeout"
    assert all(Reason.of(coded(reason, failure)) is reason for reason in Reason for failure in ("", "timeout: 9 s"))


def test_a_code_of_another_version_is_refused() -> None:
    with pytest.raises(TableError, match="the reason 'too odd: 3'.*dvc repro"):
        Reason.of("too odd: 3")


def test_no_other_module_words_a_flag() -> None:
    worded = {flag.value for flag in Flag if "{" not in flag.value} - set(Reason)
    for file in (file for room in ROOMS for file in room.rglob("*.py") if file.name != "flags.py"):
        found = {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
        assert not found & worded, f"{file} words a flag: import it from pipeline.flags"
        assert not re.search(r"startswith\((Reason|Flag)", file.read_text())
