"""What keeps `make check` quick, and what lets the tests run beside any folder."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import conftest

FOLDER = Path(__file__).parent


def report(name: str, seconds: float, *marks: str) -> pytest.TestReport:
    return pytest.TestReport(name, ("", None, ""), dict.fromkeys(marks, 1), "passed", None, "call", duration=seconds)


def test_tests_that_take_long_without_the_marker_are_listed() -> None:
    lines: list[str] = []
    stats = {
        "": [report("by its fixture", 3.0), report("quick", 1.0)],
        "passed": [report("by its fixture", 3.5), report("marked", 60.0, "slow"), report("quick", 1.0)],
        "deselected": [SimpleNamespace(nodeid="not run")],
    }
    conftest.pytest_terminal_summary(SimpleNamespace(stats=stats, write_line=lines.append))  # type: ignore[arg-type]
    assert lines == ["by its fixture takes 6.5 s. Make it faster, or mark it slow."]


def test_no_test_skips_by_the_name_of_a_folder() -> None:
    """A neighbour folder of that name may hold anything: the file that a test reads has to be there."""
    for file in sorted(FOLDER.glob("test_*.py")):
        for line in file.read_text().splitlines():
            assert not re.search(r"skipif\(.*is_dir\(\)", line), f"{file.name}: {line}"
