"""The restricted unpickler against files made to break it; tests/fuzz_pickles.py makes more of them."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import DatasetError
from pipeline.mmsa import pickles
from tests import test_mmsa

ROOT = Path(__file__).parents[1]
DEEP = b")" + b"\x85" * 200_000  # a tuple in a tuple in a tuple
LAUGHS = b")" + b"2\x86" * 60  # a tuple of itself twice, sixty times over
UNGUARDED = """
import importlib
from pipeline.errors import DatasetError
from pipeline.mmsa import pickles
from tests import fuzz_pickles

guarded = pickles._Reader.find_class

def find_class(reader, module, name):
    try:
        return guarded(reader, module, name)
    except DatasetError:
        return getattr(importlib.import_module(module), name)

pickles._Reader.find_class = find_class
print(fuzz_pickles.run(400, 1111, None))
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_a_thousand_mutated_pickles_end_in_content_or_in_a_refusal() -> None:
    done = python("-m", "tests.fuzz_pickles", "1000")
    assert done.returncode == 0, done.stdout + done.stderr
    total = done.stdout.splitlines()[-1]
    assert total.startswith("1,000 pickles: content ") and "wrong" not in total


@pytest.mark.slow
def test_the_fuzzer_sees_what_a_file_gets_done_where_names_are_not_guarded() -> None:
    done = python("-c", UNGUARDED)
    assert done.returncode == 0, done.stderr
    *told, wrong = done.stdout.splitlines()
    assert int(wrong) > 10
    for sign in ("os.system", "subprocess.Popen", "exec (<code", "the marker file is there"):
        assert sign in done.stdout, sign


def test_the_guards_hold_in_this_python() -> None:
    assert pickles._unfit() is None, (
        f"Python {platform.python_version()} has another pickle._Unpickler: fit _Reader to it"
    )


WITHOUT = """
import pickle
from pathlib import Path
{change}
from pipeline.errors import DatasetError
from pipeline.mmsa import pickles
Path("a.pkl").write_bytes(pickle.dumps([1]))
try:
    with pickles.opened(Path("a.pkl"), Path()) as content:
        print(content)
except DatasetError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("", "[1]\n"),
        ("del pickle._Unpickler", "lacks or has changed ("),
        ("del pickle._Unpickler.pop_mark", "has changed (AttributeError: "),
        (
            "pickle._Unpickler.load = lambda self: pickle.load(self._file_read.__self__._file)",
            "has changed (it reads other",
        ),
        ("pickle.SETITEM = b'!'", "has changed (its opcodes are not replaced)"),
    ],
)
def test_a_python_in_which_the_guards_do_not_hold_is_named_and_reads_nothing(change: str, said: str) -> None:
    done = python("-c", WITHOUT.format(change=change))
    assert said in done.stdout, done.stderr
    assert (
        not change or f"Python {platform.python_version()} lacks" in done.stdout and "a.pkl is not read" in done.stdout
    )


def refused(raw: bytes) -> str:
    Path("hostile.pkl").write_bytes(raw)
    with pytest.raises(DatasetError) as caught, pickles.opened(Path("hostile.pkl"), Path()):
        pass
    return str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        *(b"\x80\x04}" + key + b"K\x01s." for key in (DEEP, LAUGHS)),
        *(b"\x80\x04}(" + key + b"K\x01u." for key in (DEEP, LAUGHS)),
        *(b"\x80\x04(" + key + b"K\x01d." for key in (DEEP, LAUGHS)),
        *(b"\x80\x04ccollections\nOrderedDict\n](" + key + b"K\x01\x86e\x85R." for key in (DEEP, LAUGHS)),
    ],
)
def test_a_key_whose_hash_would_end_the_process_or_never_end_is_refused(raw: bytes) -> None:
    assert "has a dict with a tuple for a key, expected strings or numbers" in refused(raw)


@pytest.mark.parametrize("raw", [b"\x80\x04\x8f(" + DEEP + b"\x90.", b"\x80\x04(" + LAUGHS + b"\x91."])
def test_a_set_is_refused_before_it_is_made(raw: bytes) -> None:
    assert "holds a set, expected lists and dicts" in refused(raw)


@pytest.mark.parametrize("length", [b"\x8b\xff\xff\xff\x7f", b"\x95" + b"\xff" * 7 + b"\x00"])
def test_a_length_that_no_file_of_the_field_has_is_not_allocated(length: bytes) -> None:
    assert "bytes, expected 67,108,864 at the most" in refused(b"\x80\x04" + length + b".")


def test_a_number_that_the_end_cuts_is_damage() -> None:
    assert "is no pickle that can be read (it ends too early)" in refused(b"\x80\x04J\x01")


def test_a_message_quotes_the_beginning_of_what_a_file_says() -> None:
    name = "x" * 1000
    told = refused(b"\x80\x04cbuiltins\n" + name.encode() + b"\n.")
    assert "tries to use builtins.xxx" in told and "(1,009 characters)" in told and len(told) < 400
    told = refused(b"\x80\x04c_codecs\nencode\n\x8c\x03abc" + LAUGHS + b"\x86R.")
    assert "_codecs.encode with ((((" in told and len(told) < 400


def test_an_array_of_endless_rows_that_hold_nothing_is_damage() -> None:
    shape = b"\x8a\x07\xff\xff\xff\xff\xff\xff\x0fK\x00\x86"
    array = b"cnumpy._core.numeric\n_frombuffer\n(C\x00cnumpy\ndtype\n\x8c\x02f8\x85R" + shape + b"\x8c\x01CtR."
    assert "an array has the shape (4503599627370495, 0)" in refused(b"\x80\x05" + array)


def test_a_text_that_is_a_container_is_no_text() -> None:
    content = test_mmsa.made("mosi")
    content["train"]["raw_text"][0] = [[["GOOD"]]]
    test_mmsa.paths.RAW.mkdir(parents=True)
    with pytest.raises(DatasetError, match="train: raw_text is no list or array of one string a clip"):
        test_mmsa.importing.run(test_mmsa.written(content), "mosi", {})
