"""Label files, transcripts, descriptions and names that somebody got wrong, or means ill with: each is refused with a
message that says where, what was found, what was expected and what to do; or it goes through as it is."""

import csv
import inspect
import os
import re
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import answers
from pipeline import datasets, media, params, paths, tables
from pipeline.datasets import Dataset, Shares, ingest
from pipeline.datasets.description import MOST as DESCRIPTION_BYTES
from pipeline.datasets.refusal import LONGEST, NOT_PRINTABLE
from pipeline.errors import DatasetError
from stages import audio
from tests import clips

pytestmark = pytest.mark.slow  # whole stages or figures, a second or more each

SHARES = Shares(train=0.6, valid=0.1, test=0.3, seed=1111)
PARAMS = Path(__file__).parents[1] / "params.yaml"
HEADER = "video_id,clip_id,text,label\n"
GOOD = "w,1,fine,2\n"  # a row that is always used
REMEDY = re.compile(r"\b(Add|Allow|Correct|Fill|Move|Name|Put|Remove|Rename|Restore|Save|Shorten|Split|Write|rename)\b")
LONGEST_MESSAGE = 600  # characters, whatever was found
RIGHT_TO_LEFT = "\u200f\u05d0\u202eabc"
NUMBER = "expected a number from -3 to 3, with a point for decimals. Correct it."


@dataclass(frozen=True)
class Case:
    """Files of a data set by name, and what must be told of them; no reason: the data set as a whole is refused."""

    what: str
    files: dict[str, str | bytes]
    reason: str
    parts: tuple[str, ...]
    used: tuple[str, ...] = ("w/1",)  # ids of the clips that are left
    videos: tuple[str, ...] = field(default=())


def row(
    what: str, cells: str, reason: str, *parts: str, header: str = HEADER, used: tuple[str, ...] = ("w/1",)
) -> Case:
    """A row between the header and a good one."""
    return Case(what, {"label.csv": f"{header}{cells}\n{GOOD}"}, reason, ("label.csv, line 2", *parts), used)


def label(what: str, found: str, told: str | None = None) -> Case:
    return row(what, f"v,1,said,{found}", "label", "column label", f"found {told or found}, {NUMBER}")


def whole(what: str, content: str | bytes, *parts: str, file: str = "label.csv") -> Case:
    """A file that cannot be used at all."""
    return Case(what, {file: content}, "", (file, *parts), ())


def sidecar(what: str, content: str | bytes, *parts: str, file: str = "w.srt") -> Case:
    return Case(what, {file: content}, "sidecar", (file, *parts), ("w/0",), ("w.mp4",))


def name(what: str, video: str, *parts: str) -> Case:
    return Case(what, {}, "name", parts, ("w/1",), (video, "w/1.mp4"))


CASES = [
    label("label nan", "nan"),
    label("label NaN", "NaN"),
    label("label NA", "NA"),
    label("label NULL", "NULL"),
    label("label inf", "inf"),
    label("label -inf", "-inf"),
    label("label in words", "good"),
    label("label above the range", "3.01"),
    label("label below the range", "-99"),
    label("label with a decimal comma", '"1,5"', "1,5"),
    label("label in full-width digits", "\uff11"),
    label("label beyond every float", "1e400"),
    label("label in hexadecimal", "0x1"),
    label("label with an underscore", "1_0"),
    label("label is a formula", "=1+1"),
    label("label of 100,000 digits", "1" * 100_000, "1" * LONGEST + "… (100,000 characters)"),
    label("label acts on the terminal", "\x1b[2J", r"\x1b[2J"),
    row("neither label nor text", "v,1,,", "no clip", "expected a text, or a video as Raw/v/1.<ext>"),
    row("unimodal label out of range", "v,1,t,1,7", "label_T", "column label_T: found 7", header=HEADER.replace("label\n", "label,label_T\n"), used=()),
    row("no video_id", ",1,t,1", "video_id", "column video_id: found nothing, expected the id. Fill it in."),
    row("no clip_id", "v,,t,1", "clip_id", "column clip_id: found nothing, expected the id. Fill it in."),
    row("id ../", "../v,1,t,1", "video_id", "found '../v', expected no slash, '..' or control character. Rename the clip."),
    row("id climbs out", "v/../../w,1,t,1", "video_id", "found 'v/../../w', expected no slash"),
    row("id with an empty part", "v//w,1,t,1", "video_id", "found 'v//w', expected no slash"),
    row("id that ends in a slash", "v/,1,t,1", "video_id", "found 'v/', expected no slash"),
    row("clip id with a slash", "v,a/1,t,1", "clip_id", "found 'a/1', expected no slash"),
    row("id is absolute", "/etc/passwd,1,t,1", "video_id", "found '/etc/passwd', expected no slash"),
    row("id ..\\", "..\\v,1,t,1", "video_id", "found '..\\v', expected no slash"),
    row("id is a share", "\\\\server\\x,1,t,1", "video_id", "expected no slash"),
    row("id ..", "v,..,t,1", "clip_id", "column clip_id: found '..'"),
    row("id with a newline", '"a\nb",1,t,1', "video_id", r"found 'a\x0ab', expected no slash, '..' or control character"),
    row("id with NUL", "v\0,1,t,1", "video_id", r"found 'v\x00'"),
    row("id acts on the terminal", "\x1b[2Jv,1,t,1", "video_id", r"found '\x1b[2Jv'"),
    row("id acts on the terminal in one character", "\x9b2Jv,1,t,1", "video_id", r"found '\x9b2Jv'"),
    row("id of 256 characters", "v" * 256 + ",1,t,1", "video_id", "(256 characters), expected at most 255 characters. Shorten it."),
    row("text with NUL", "v,1,a\0b,1", "text", r"column text: found 'a\x00b', expected no NUL character. Remove it."),
    Case("duplicate id", {"label.csv": f"{HEADER}{GOOD}w,1,t,1\n"}, "duplicate id", ("label.csv, line 3: the id w/1 is line 2's already. Ids must be unique: rename or remove one.",)),
    Case("duplicate id, its accent composed in another way", {"label.csv": f"{HEADER}cafe\u0301,1,a,1\ncaf\u00e9,1,b,1\n"}, "duplicate id", ("label.csv, line 3", "is line 2's already"), ("cafe\u0301/1",)),
    Case("two files with one key", {}, "duplicate id", ("v/1.mp4 has the key v/1, as v/1.avi has. Rename or remove one.",), ("v/1", "w/1"), ("v/1.avi", "v/1.mp4", "w/1.mp4")),
    row("too many cells (decimal comma)", "v,1,t,1,5", "cells", "found 5 cells, expected 4. Put a cell that holds the delimiter"),
    row("too few cells", "v,1", "cells", "found 2 cells, expected 4"),
    row("text after a quote", 'v,1,"t" t,1', "cells", "found text after a closing quote, expected the next cell"),
    row("cell of 200,000 characters", f"v,1,{'t' * 200_000},1", "cells", "found a cell of more than 131,072 characters, expected fewer (is a quote not closed?)"),
    Case("quote that never ends", {"label.csv": f'{HEADER}{GOOD}v,1,"t,1\nx,1,t,1\n'}, "cells", ("label.csv, lines 3 to 4", "found a quote that is not closed, expected one at the end of the cell")),
    *(
        Case(f"file {file[:20]!r}", {"label.csv": f"file,text\n{file},t\nw/1.mp4,fine\n"}, "file", ("label.csv, line 2, column file", "expected a path below the data set's folder. Move the clip there."), ("v/1", "w/1"), ("w/1.mp4", "v/1.mp4"))
        for file in ("../x.mp4", "/etc/passwd", "..\\x.mp4", "C:\\x.mp4", "\\\\server\\x.mp4", "file:///etc/passwd", "https://example.org/x.mp4", "v.mp4\0", "\x1b]0;x\x07.mp4", "/" * 1000)
    ),
    *(
        Case(f"file {file!r}", {"label.csv": f"file,text\n{file},t\nw/1.mp4,fine\n"}, "no clip", ("label.csv, line 2", f"found no video for it, expected {file}. Add it, correct the row, or remove the row."), ("v/1", "w/1"), ("w/1.mp4", "v/1.mp4"))
        for file in ("~/x.mp4", "~", "x%2F..%2Fy.mp4", "$HOME/x.mp4")
    ),
    Case("row and video differ in case", {"label.csv": f"{HEADER}V,1,t,1\n{GOOD}"}, "no clip", ("label.csv, line 2", "found v/1.MP4, which differs in upper and lower case, expected Raw/V/1.<ext>", "Add it, correct the row, or remove the row."), ("v/1", "w/1"), ("v/1.MP4", "w/1.mp4")),
    Case("file lacks its extension", {"label.csv": "file,text\nw/1,t\nw/2.mp4,t\n"}, "no clip", ("found w/1.mp4, which has an extension, which the row lacks, expected w/1. Add it, correct the row, or",), ("w/1", "w/2", "x/1"), ("w/1.mp4", "w/2.mp4", "x/1.mp4")),
    Case("file differs in case", {"label.csv": "file,text\nW/1.mp4,t\nw/2.mp4,t\n"}, "no clip", ("found w/1.mp4, which differs in upper and lower case, expected W/1.mp4",), ("w/1", "w/2", "x/1"), ("w/1.mp4", "w/2.mp4", "x/1.mp4")),
    Case("mode unknown", {"label.csv": "video_id,clip_id,text,label,mode\nv,1,t,1,\x1b[2Jhold\nw,1,t,1,test\n"}, "mode", ("label.csv, line 2, column mode", r"found \x1b[2Jhold, expected train, valid or test. Fill it in")),
    Case("column misspelt", {"label.csv": "video_id,clip_id,txt,label\nw,1,t,1\n"}, "column", ("label.csv, line 1", "found 'txt', expected 'text'; rename it"), (), ()),
    Case("segment ends before it starts", {"label.csv": "video_id,clip_id,text,start,end\nv,1,t,2,1\nw,1,t,0,1\n"}, "end", ("label.csv, line 2, column end", "found 1, expected a time after start. Correct either."), videos=("v.mp4", "w.mp4")),
    Case("segment at an absurd time", {"label.csv": "video_id,clip_id,text,start,end\nv,1,t,1e300,\nw,1,t,0,1\n"}, "start", ("label.csv, line 2, column start", "found 1e300, expected a number from 0 to 1e+06"), videos=("v.mp4", "w.mp4")),
    Case("rows without text of a set without videos", {"label.csv": f"{HEADER}v,1,,1\n{GOOD}"}, "no clip", ("label.csv, line 2", "expected a text, or a video as Raw/v/1.<ext>")),
    Case("two videos of a row", {"label.csv": f"{HEADER}v,1,t,1\n{GOOD}"}, "ambiguous", ("label.csv, line 2", "the clip may be v/1.avi, v/1.mp4. Remove all but one"), videos=("v/1.avi", "v/1.mp4", "w/1.mp4")),
    Case("sheet under another name", {"labels.csv": HEADER}, "not in its place", ("labels.csv is not read, expected", "Rename it, or move it there."), ("w/0",), ("w.mp4",)),
    whole("no bytes", b"", "has the columns (none); expected video_id and clip_id (or file), and text or label. Name them so in its first line"),
    whole("columns of other names", "id,sentence\n1,a\n", "has the columns id, sentence; expected video_id and clip_id"),
    whole("column missing", "video_id,clip_id\nv,1\n", "has the columns video_id, clip_id; expected"),
    whole("column misspelt that decides", "video_id,clip_id,text,lable\nw,1,t,1\n", "line 1: the column 'lable' (it holds 1) would not be read, and there is no column 'label': did you mean label? Rename it to label if so"),
    whole("column twice", "video_id,clip_id,text,TEXT\n", "names a column twice: video_id, clip_id, text, TEXT; expected each once. Remove one."),
    whole("header acts on the terminal", "\x1b[2J,x\n", r"has the columns \x1b[2J, x; expected"),
    whole("header of 100,000 characters", "x" * 100_000, "… (100,000 characters); expected video_id"),
    whole("Latin-1", (HEADER + "v,1,café,1\n").encode("latin-1"), "is not UTF-8: line 2 holds the byte 0xe9 after 'v,1,caf' (GB18030 or Windows-1252, perhaps). Save it as UTF-8"),
    whole("Windows-1252", f"{HEADER}v,1,t,1\r\nv,2,“so”,1\r\n".encode("cp1252"), "line 3 holds the byte 0x93 after 'v,2,'", "Save it as UTF-8"),
    whole("GB18030", (HEADER + "v,1,我不想,1\n").encode("gb18030"), "line 2 holds the byte 0xce after 'v,1,' (GB18030", "Save it as UTF-8"),
    whole("UTF-16 (Excel: Unicode text)", (HEADER + GOOD).encode("utf-16"), "line 1 holds the byte 0xff at its start (UTF-16). Save it as UTF-8 (in Excel: 'CSV UTF-8')."),
    whole("UTF-16 without its mark", (HEADER + GOOD).encode("utf-16-le"), r"has the columns v\x00i\x00d", "expected video_id"),
    whole("Latin-1, lines end in CR", (HEADER + "v,1,a,1\nv,2,é,1\n").replace("\n", "\r").encode("latin-1"), "line 3 holds the byte 0xe9 after 'v,2,'"),
    whole("cell of 100 MB", (HEADER + "v,1," + "t" * 100_000_000 + ",1\n").encode(), "has 100,000,035 bytes, expected at most 67,108,864. Split or shorten it."),
    whole("more faults than anybody reads", HEADER + "x\n" * 100_001, "has more than 100,000 faults, expected rows of 4 cells below its header. Correct it; the first is: ", "label.csv, line 2: found 1 cells, expected 4"),
    whole("YAML not closed", "language: [en", "is not YAML, line 1, column 14: expected", "Write lines such as 'language: en'.", file="dataset.yaml"),
    whole("YAML is a list", "- en\n- zh", "holds ['en', 'zh'], expected lines such as 'language: en'. Correct it.", file="dataset.yaml"),
    whole("YAML is a number", "0", "holds 0, expected lines such as", file="dataset.yaml"),
    whole("YAML makes an object", "language: !!python/object/apply:os.system ['touch pwned']", "is not YAML, line 1", "could not determine a constructor", "Write lines such as", file="dataset.yaml"),
    whole("YAML bomb of aliases", "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{f'*{a}, ' * 9}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)), "is not YAML, line 2", "found an alias, expected a value. Write lines such as", file="dataset.yaml"),
    whole("YAML bomb of merges", "a: &a {x: 1}\n" + "".join(f"{b}: &{b} {{<<: [{f'*{a}, ' * 9}]}}\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)), "found an alias", file="dataset.yaml"),
    whole("YAML refers to itself", "&a [*a]", "found an alias", file="dataset.yaml"),
    whole("YAML nested 60,000 deep", "[" * 60_000, "is not YAML: maximum recursion depth", "Write lines such as", file="dataset.yaml"),
    whole("YAML says a key twice", "language: en\nlanguage: zh", "line 2, column 1: found the key 'language' again, expected it once", file="dataset.yaml"),
    whole("YAML of another key", "langauge: en", "the key 'langauge' is not known; allowed are language, convention", "Correct it there.", file="dataset.yaml"),
    whole("YAML of another value", "language: fr", "language is 'fr': input should be 'en' or 'zh'. Correct it there.", file="dataset.yaml"),
    whole("YAML with an endless range", "label_range: [-.inf, .inf]", "label_range is [-inf, inf]: input should be a finite number", file="dataset.yaml"),
    whole("YAML with a number of 10,000 digits", "language: " + "9:" * 5000 + "9", "language is a number of thousands of digits: input should be 'en' or 'zh'. Correct it there.", file="dataset.yaml"),
    whole("YAML with half a character", '"\\uD800": 1', "is not known; allowed are language", "Correct it there.", file="dataset.yaml"),
    whole("YAML with an impossible date", "language: 2020-13-45", "is not YAML: month must be in 1..12", file="dataset.yaml"),
    whole("YAML with an odd tag", "language: !!timestamp x", "is not YAML", "Write lines such as", file="dataset.yaml"),
    whole("YAML with NUL", "language: e\0n", "is not YAML", "Write lines such as", file="dataset.yaml"),
    whole("YAML in Latin-1", "# café\nlanguage: en".encode("latin-1"), "is not UTF-8: line 1 holds the byte 0xe9 after '# caf'", "Save it as UTF-8.", file="dataset.yaml"),
    whole("YAML too large", "#" * (DESCRIPTION_BYTES + 1), "has 65,537 bytes, expected at most 65,536. Split or shorten it.", file="dataset.yaml"),
    sidecar("transcript of 100 MB", b"x" * 100_000_000, "has 100,000,000 bytes, expected at most 16,777,216. Split or shorten it."),
    sidecar("transcript with NUL", "1\n00:00:00,000 --> 00:00:01,000\na\0b\n", "line 3 holds the byte 0x00, expected text. Save it as UTF-8."),
    sidecar("transcript in Latin-1", "1\n00:00:00,000 --> 00:00:01,000\ncafé\n".encode("latin-1"), "is not UTF-8: line 3 holds the byte 0xe9 after 'caf'", "Save it as UTF-8."),
    sidecar("transcript in UTF-16", "1\n00:00:00,000 --> 00:00:01,000\nso\n".encode("utf-16"), "(UTF-16). Save it as UTF-8."),
    sidecar("transcript without times", "just words", "has no cue, expected lines such as '00:00:01,000 --> 00:00:02,500', text below each. Correct or remove it."),
    sidecar("transcript at an absurd time", "1\n" + "9" * 5000 + ":00:00,000 --> 99:00:00,000\nso\n", "has no cue, expected lines such as"),
    sidecar("text of another coding", b"caf\xe9", "is not UTF-8", file="w.txt"),
    name("name with a newline", "v/a\nb.mp4", r"The name of v/a\x0ab.mp4 holds a control character, expected none. Rename it."),
    name("name acts on the terminal", "v/\x1b[2J.mp4", r"The name of v/\x1b[2J.mp4 holds a control character"),
    name("folder acts on the terminal", "\x9b2J/1.mp4", r"The name of \x9b2J/1.mp4 holds a control character"),
    name("name is not UTF-8", "v/\udcff.mp4", r"The name of v/\xff.mp4 is not UTF-8, which DVC and Parquet need. Rename it."),
]  # fmt: skip


def make(folder: Path, files: dict[str, str | bytes], videos: tuple[str, ...] = ()) -> Path:
    folder.mkdir(exist_ok=True)
    for video in videos:
        (folder / video).parent.mkdir(parents=True, exist_ok=True)
        (folder / video).write_bytes(b"v")
    for file, content in files.items():
        (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def ids(dataset: Dataset) -> list[str]:
    return [clip.id for clip in dataset.clips]


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_what_is_wrong_is_told_with_its_place_and_a_remedy_and_the_rest_is_used(case: Case, tmp_path: Path) -> None:
    folder = make(tmp_path / "d", case.files, case.videos)
    if case.reason:
        dataset = datasets.read(folder, SHARES)
        assert ids(dataset) == list(case.used)
        (refusal,) = (one for one in dataset.refused if one.reason == case.reason)
        message = refusal.message
        assert not NOT_PRINTABLE.search(refusal.file)
    else:
        with pytest.raises(DatasetError) as error:
            datasets.read(folder, SHARES)
        message = str(error.value)
    for part in case.parts:
        assert part in message
    assert REMEDY.search(message)
    assert not NOT_PRINTABLE.search(message), "nothing that a terminal acts on"
    assert len(message.replace(str(folder), "")) < LONGEST_MESSAGE


@pytest.mark.parametrize(
    ("found", "value"), [("+1", 1), (" 1 ", 1), ("-.5", -0.5), ("2.", 2), ("1e-1", 0.1), ("-0", 0)]
)
def test_numbers_as_spreadsheets_write_them_are_labels(tmp_path: Path, found: str, value: float) -> None:
    dataset = datasets.read(make(tmp_path / "d", {"label.csv": f"{HEADER}v,1,t,{found}\n"}), SHARES)
    assert [clip.row and clip.row.label for clip in dataset.clips] == [value]
    assert not dataset.refused


def test_a_label_file_whose_lines_end_in_cr_is_read(tmp_path: Path) -> None:
    sheet = "video_id;clip_id;text;label\rv;1;a, b;1\rw;1;;9\r"
    dataset = datasets.read(make(tmp_path / "d", {"label.csv": sheet}), SHARES)
    assert [(clip.id, clip.row and clip.row.text) for clip in dataset.clips] == [("v/1", "a, b")]
    assert [refusal.row for refusal in dataset.refused if refusal.reason == "label"] == [3]


def test_ids_that_differ_in_case_alone_are_two_clips(tmp_path: Path) -> None:
    sheet = f"{HEADER}aBc,1,one,1\nabC,1,other,-1\n"  # as ids of online videos do
    dataset = datasets.read(make(tmp_path / "d", {"label.csv": sheet}, ("aBc/1.mp4", "abC/1.mp4")), SHARES)
    assert [(clip.id, clip.video and clip.video.path) for clip in dataset.clips] == [
        ("aBc/1", "aBc/1.mp4"),
        ("abC/1", "abC/1.mp4"),
    ]
    assert not dataset.refused


@pytest.mark.parametrize("file", ["label.csv", "dataset.yaml"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nothing"])
def test_what_is_no_file_is_not_taken_for_one_that_is_not_there(tmp_path: Path, file: str, kind: str) -> None:
    folder = make(tmp_path / "d", {}, ("w.mp4",))
    if kind == "folder":
        (folder / file).mkdir()
    elif kind == "pipe":
        os.mkfifo(folder / file)
    else:
        (folder / file).symlink_to("nowhere")
    with pytest.raises(DatasetError, match=rf"{file} .*expected a regular file\. (Restore or r|R)emove it"):
        datasets.read(folder, SHARES)


def test_folders_nested_deeper_than_python_recurses_are_listed(tmp_path: Path) -> None:
    deep = "/".join(["a"] * 200)
    folder, usual = make(tmp_path / "d", {}, (f"{deep}/1.mp4", "w/1.mp4")), sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 150)
    try:
        dataset = datasets.read(folder, SHARES)
    finally:
        sys.setrecursionlimit(usual)
    assert ids(dataset) == [f"{deep}/1", "w/1"]


def test_a_folder_that_cannot_be_listed_refuses_its_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path / "d", {}, ("v/1.mp4",))

    def shut(path: Path) -> NoReturn:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", shut)
    with pytest.raises(DatasetError, match=r"d cannot be listed \(Permission denied\), expected .* Allow it"):
        datasets.read(folder, SHARES)


@pytest.mark.parametrize("odd", ["con", "a" * 64, "A.b-c_d", "1"])
def test_a_name_of_letters_digits_dots_and_dashes_is_a_data_set(tmp_path: Path, odd: str) -> None:
    make(tmp_path / odd, {}, ("w.mp4",))
    assert datasets.discover(tmp_path) == ([tmp_path / odd], [])


@pytest.mark.parametrize(
    "odd", ["a" * 65, "-a", "_a", "a b", "a;b", "a@b", "a\nb", "a\x1b[2J", "\u00e9", "$(touch x)", "%03d"]
)
def test_another_name_is_told_with_what_is_allowed(tmp_path: Path, odd: str) -> None:
    (tmp_path / odd).mkdir()
    folders, (refusal,) = datasets.discover(tmp_path)
    assert not folders and refusal.reason == "data set name"
    assert "it must start with a letter or digit" in refusal.message and "Rename the folder." in refusal.message
    assert not NOT_PRINTABLE.search(refusal.message)


def test_data_sets_whose_names_differ_in_case_alone_are_two(tmp_path: Path) -> None:
    for folder in ("Own", "own"):
        (tmp_path / folder).mkdir()
    assert [folder.name for folder in datasets.discover(tmp_path)[0]] == ["Own", "own"]


# Whatever bytes there are

BITS = st.sampled_from(
    [b"video_id", b"clip_id", b"text", b"label", b"file", b"start", b"mode", b",", b";", b"\t", b"\n", b"\r", b'"', b"v", b"1",
     b"-", b".", b"e", b"=", b"/", b"..", b"\\", b"\0", b"\x1b", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3\xa9", b": ", b"[", b"]",
     b"{", b"}", b"&a ", b"*a", b"<<", b"!!timestamp ", b"!!int ", b"? ", b"- ", b"|", b">", b"#", b"%", b"language", b"label_range",
     b"00:00:01,000", b" --> ", b"00:00:09,000", b"WEBVTT", b"<", b"&#99999999999;", b'"\\uD800"', b"9" * 5000, b"9:" * 5000 + b"9"]
)  # fmt: skip
HOSTILE = st.one_of(st.binary(max_size=200), st.lists(BITS, max_size=40).map(b"".join))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(HOSTILE, st.booleans())
@pytest.mark.parametrize("file", ["label.csv", "dataset.yaml", "w.srt", "w.vtt", "w.txt"])
def test_any_bytes_make_a_data_set_or_a_dataset_error(
    tmp_path_factory: pytest.TempPathFactory, file: str, content: bytes, headed: bool
) -> None:
    folder = tmp_path_factory.mktemp("any") / "d"
    start = {"label.csv": HEADER.encode(), "w.srt": b"00:00:01,000 --> 00:00:02,000\n"}.get(file, b"")
    make(folder, {file: start + content if headed else content}, ("w.mp4",))
    try:
        dataset = datasets.read(folder, SHARES)
    except DatasetError as error:
        assert not NOT_PRINTABLE.search(str(error))
        return
    tables.rows(tables.REFUSED, [{"dataset": "d", **asdict(refusal)} for refusal in dataset.refused])
    tables.rows(
        tables.TEXTS,
        [{"dataset": "d", "id": id, "language": "en", **asdict(text)} for id, text in dataset.texts.items()],
    )
    assert not any(NOT_PRINTABLE.search(refusal.message) for refusal in dataset.refused)


# The whole way

ODD = [
    "plain",
    'it\'s "quoted"',
    "%03d",
    "%s%n{name}",
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned",
    "-dash",
    "--help",
    "concat:x",
    "data:text",
    "http",
    "* ? [a-z]",
    "=1+1",
    "@SUM(A1)",
    "n" * 240,
    "\U0001f600",
    RIGHT_TO_LEFT,
    "\u6211\u4e0d\u60f3",
    "cafe\u0301",
    " spaces ",
    "a.b.c.",
    "<script>alert(1)",
    "[bold red]",
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with a cache of its own; audio is the cheapest extractor's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAWMSA_CACHE", "cache")
    paths.PARAMS.write_text(
        PARAMS.read_text()
        .replace("extractor: egemaps", "extractor: mfcc")
        .replace("extractor: covarep", "extractor: mfcc")
    )
    paths.RAW.mkdir(parents=True)
    return tmp_path


def ingested(capsys: pytest.CaptureFixture[str]) -> str:
    ingest.run(params.load("ingest", ingest.Params))
    return capsys.readouterr().out


def rows(path: Path) -> list[dict[str, Any]]:
    return tables.read(path).to_pylist()


@pytest.mark.slow
def test_odd_names_go_the_whole_way_and_stay_as_they_are(
    project: Path, in_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, odd in enumerate(ODD):
        clips.make(paths.RAW / "odd" / f"{odd}.mp4", seconds=0.3, colour=5 * number, tone=200 + 10 * number)
    expected = sorted(f"{odd}/0" for odd in ODD)
    assert f"odd {len(ODD)} clips; {len(ODD)} computed, 0 from cache, 0 failed; 0 refused" in ingested(capsys)
    for table in (paths.CLIPS, paths.TEXTS, paths.LABELS):
        assert [row["id"] for row in rows(table)] == expected
    audio.main()
    features = rows(paths.features("audio", "odd"))
    assert [(row["id"], row["status"], row["reason"]) for row in features] == [(id, "ok", None) for id in expected]
    for clip in rows(paths.CLIPS):
        (frame,) = media.frames(Path(clip["path"]), np.array([0.1]))
        assert frame is not None and frame.shape == (48, 64, 3)
    assert not list(project.rglob("pwned")), "nothing in a name is run"


def test_a_label_file_names_odd_clips_too(project: Path, in_process: None, capsys: pytest.CaptureFixture[str]) -> None:
    named = [odd for odd in ODD if odd == odd.strip()]  # a cell's outer spaces are not its own
    for number, odd in enumerate(named):
        clips.make(paths.RAW / "odd" / f"Raw/{odd}/1.mp4", seconds=0.3, colour=5 * number, audio=False)
    with (paths.RAW / "odd" / "label.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEADER.strip().split(","), *([odd, "1", odd, "1"] for odd in named)])
    assert f"odd {len(named)} clips" in ingested(capsys)
    assert [row["id"] for row in rows(paths.LABELS)] == [f"{odd}/1" for odd in sorted(named)]
    assert {row["id"]: row["text"] for row in rows(paths.TEXTS)} == {f"{odd}/1": odd for odd in named}
    assert not rows(paths.REFUSED)


def test_nothing_that_acts_on_a_terminal_is_printed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = paths.RAW / "own"
    make(folder, {"label.csv": f"{HEADER}\x1b[2J,1,\x1b]0;title\x07,\x9b9\n"}, ("\x1b[2J.mp4", "\x9b.mp4", "a\nb.mp4"))
    (paths.RAW / "\x1b[31mred").mkdir()
    make(paths.RAW / "words", {"label.csv": f"{HEADER}v,1,fine,1\n"})
    told = ingested(capsys)
    assert r"found '\x1b[2J'" in told
    assert not NOT_PRINTABLE.search(told.replace("\n", ""))
    assert not any(NOT_PRINTABLE.search(f"{row['file']}{row['message']}") for row in rows(paths.REFUSED))


def test_predict_prints_no_name_that_acts_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    one = answers.Prediction(
        clip="\x1b[2Jcl\udcffp.mp4",
        prediction=0.5,
        transcript="fine",
        run="own/self_mm-1",
        synthetic=False,
        label_range=(-3, 3),
    )
    answers.show([one], as_json=False, csv=None)
    told = capsys.readouterr().out
    assert r"\x1b" in told and not NOT_PRINTABLE.search(told.replace("\n", ""))
