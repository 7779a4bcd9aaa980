"""What a folder below data/raw becomes: clips, texts, splits, and refusals that say what to do."""

import os
from collections import Counter
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import datasets, tables
from pipeline.datasets import Dataset, Shares, sidecars, split
from pipeline.datasets.scale import Observed
from pipeline.errors import DatasetError
from pipeline.tables.spoken import Cue

SHARES = Shares(train=0.6, valid=0.1, test=0.3, seed=1111)
MOSI = Path(__file__).parents[2] / "shared" / "mosi" / "label.csv"


def make(folder: Path, *videos: str, sheet: str | bytes | None = None, **texts: str) -> Path:
    """A data set's folder. Videos hold a byte (nothing opens them here); texts are written by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    for video in videos:
        (folder / video).parent.mkdir(parents=True, exist_ok=True)
        (folder / video).write_bytes(b"v")
    if sheet is not None:
        (folder / "label.csv").write_bytes(sheet.encode() if isinstance(sheet, str) else sheet)
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def read(folder: Path, *videos: str, sheet: str | bytes | None = None, **texts: str) -> Dataset:
    return datasets.read(make(folder, *videos, sheet=sheet, **texts), SHARES)


def ids(dataset: Dataset) -> list[str]:
    return [clip.id for clip in dataset.clips]


def reasons(dataset: Dataset) -> list[str]:
    return [refusal.reason for refusal in dataset.refused]


# Which folders are data sets


def test_folders_are_data_sets_and_odd_names_are_refused(tmp_path: Path) -> None:
    for name in ("b", "a-1.x_Y", "semi;echo PWNED", "-dash", "n" * 65, ".hidden"):
        (tmp_path / name).mkdir()
    for name in ("loose.mp4", "raw.dvc", ".gitignore", "notes.md"):
        (tmp_path / name).write_text("x")
    folders, refused = datasets.discover(tmp_path)
    assert [folder.name for folder in folders] == ["a-1.x_Y", "b"]
    assert sorted((r.reason, Path(r.file).name) for r in refused) == [
        ("data set name", "-dash"),
        ("data set name", "n" * 65),
        ("data set name", "semi;echo PWNED"),
        ("not in a data set", "loose.mp4"),
    ]
    assert "Rename the folder" in refused[0].message


def test_without_data_raw_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no folder .*rawmsa demo"):
        datasets.discover(tmp_path / "raw")


# Clips without label.csv


def test_paths_give_the_keys(tmp_path: Path) -> None:
    dataset = read(tmp_path / "d", "Raw/v1/1.mp4", "Raw/v1/02.MKV", "a/b/c.webm", "top.avi")
    assert ids(dataset) == ["a/b/c", "top/0", "v1/02", "v1/1"]
    assert dataset.split == "none" and not dataset.splits and not dataset.refused


@pytest.mark.parametrize("where", ["", "Raw/", "clips/"])
def test_videos_flat_in_one_folder_are_clips_of_their_own(tmp_path: Path, where: str) -> None:
    dataset = read(tmp_path / "d", f"{where}x.mp4", f"{where}y.mp4")
    assert ids(dataset) == ["x/0", "y/0"]


def test_what_is_no_video_is_passed_over_or_named(tmp_path: Path) -> None:
    ignored = [".DS_Store.mp4", "Thumbs.db", "v.mp4.dvc", ".cache/x.mp4"]
    others = ["a.docx", "b.DOCX", "c.pdf", "d.mp4 ", "e.mp4.crdownload", "f.mp4.part", "g", "1. My talk", "notes.md"]
    named = ["labels.csv", "sub/label.csv", "dataset.yml"]
    dataset = read(tmp_path / "d", "v.mp4", *ignored, *others, "v.wav", "w.wav", "x.Opus", *named)
    assert ids(dataset) == ["v/0", "w/0", "x/0"]  # sound alone is a clip; v.wav is the sound of v.mp4
    assert Counter(reasons(dataset)) == {"not in its place": 3}
    notes = " ".join(dataset.notes)
    assert "files that are not read: 1 .wav: they have the names of videos" in notes
    kinds = "1 '.mp4 ' (a blank at its end), 1 .crdownload, 2 .docx, 1 .md, 1 .part, 1 .pdf, 2 without an extension"
    assert f"files that are not read: {kinds}: expected videos, sounds" in notes
    messages = " ".join(refusal.message for refusal in dataset.refused)
    assert "labels.csv is not read, expected" in messages and "dataset.yml is not read" in messages


def test_only_regular_files_with_bytes_and_readable_names_become_clips(tmp_path: Path) -> None:
    folder = make(tmp_path / "d", "good.mp4")
    (folder / "empty.mp4").touch()
    (folder / "folder.mp4").mkdir()
    (folder / "broken.mp4").symlink_to("nowhere.mp4")
    os.mkfifo(folder / "pipe.mp4")
    Path(os.fsdecode(os.fsencode(folder) + b"/bad\xff.mp4")).write_bytes(b"v")
    dataset = datasets.read(folder, SHARES)
    assert ids(dataset) == ["good/0"]
    assert {Path(r.file).name: r.reason for r in dataset.refused} == {
        "bad\\xff.mp4": "name",
        "broken.mp4": "missing",
        "empty.mp4": "empty",
        "folder.mp4": "not a file",
        "pipe.mp4": "not a file",
    }


def test_links_are_followed_but_not_in_a_circle(tmp_path: Path) -> None:
    elsewhere = make(tmp_path / "disk", "1.mp4")
    folder = make(tmp_path / "d", "w/1.mp4")
    (folder / "v").symlink_to(elsewhere)
    (folder / "again").symlink_to(folder)
    (folder / "self.mp4").symlink_to("self.mp4")
    dataset = datasets.read(folder, SHARES)
    assert ids(dataset) == ["v/1", "w/1"]
    assert reasons(dataset) == ["missing"]


def test_two_files_with_one_key_are_not_both_used(tmp_path: Path) -> None:
    dataset = read(tmp_path / "d", "v/1.avi", "v/1.mp4", "w/1.mp4")
    assert ids(dataset) == ["v/1", "w/1"]
    assert [r.message for r in dataset.refused] == ["v/1.mp4 has the key v/1, as v/1.avi has. Rename or remove one."]


# Rows and their videos


@pytest.mark.parametrize("video", ["Raw/001/NA.mp4", "raw/001/NA.MOV", "001/NA.mkv", "001_NA.webm"])
def test_rows_find_their_clip_in_each_layout_and_ids_stay_strings(tmp_path: Path, video: str) -> None:
    dataset = read(tmp_path / "d", video, sheet="video_id,clip_id,text,label\n001,NA,fine,1\n")
    (clip,) = dataset.clips
    assert (clip.video_id, clip.clip_id) == ("001", "NA")
    assert clip.video and clip.video.path == video
    assert not dataset.refused


def test_accents_match_however_they_are_composed(tmp_path: Path) -> None:
    dataset = read(tmp_path / "d", "cafe\u0301/1.mp4", sheet="video_id,clip_id,label\ncaf\u00e9,1,0\n")
    assert ids(dataset) == ["caf\u00e9/1"]


def test_a_file_column_names_the_clip_with_or_without_ids(tmp_path: Path) -> None:
    named = "file,video_id,clip_id,label\n./x/a.mp4,v,1,0\nx\\b.mp4,v,2,1\n"
    assert ids(read(tmp_path / "named", "x/a.mp4", "x/b.mp4", sheet=named)) == ["v/1", "v/2"]
    alone = read(tmp_path / "alone", "x/a.mp4", "x/b.mp4", sheet="file,text\nx/a.mp4,one\nx/b.mp4,two\n")
    assert ids(alone) == ["a/0", "b/0"]


def test_segments_are_cut_from_a_long_video(tmp_path: Path) -> None:
    sheet = "video_id,clip_id,label,start,end\nv,1,0,0,1.5\nv,2,1,1.5,\nw,1,1,2,3\n"
    dataset = read(tmp_path / "d", "v.mp4", "Raw/w.mp4", sheet=sheet)
    cuts = [(clip.id, clip.video and clip.video.path, clip.start, clip.end) for clip in dataset.clips]
    assert cuts == [("v/1", "v.mp4", 0.0, 1.5), ("v/2", "v.mp4", 1.5, None), ("w/1", "Raw/w.mp4", 2.0, 3.0)]


def test_a_set_without_any_video_is_text_alone(tmp_path: Path) -> None:
    dataset = read(tmp_path / "d", sheet="video_id,clip_id,text,label\nv,1,good,1\nv,2,,1\n")
    assert [(clip.id, clip.video) for clip in dataset.clips] == [("v/1", None)]
    assert reasons(dataset) == ["no clip"]
    assert "expected a text, or a video as Raw/v/2.<ext>" in dataset.refused[0].message


def test_rows_without_video_are_refused_and_videos_without_row_have_no_label(tmp_path: Path) -> None:
    sheet = "video_id,clip_id,text,label,mode\nv,1,a,1,train\nv,2,b,-1,train\nv,3,c,9,train\nv,4,d,1,train\nv,6,,,\n"
    videos = ("v/1.mp4", "v/3.mp4", "v/4.mp4", "v/4.avi", "v/5.mp4", "v/6.mp4")
    dataset = read(tmp_path / "d", *videos, sheet=sheet)
    assert ids(dataset) == ["v/1", "v/5", "v/6"] and dataset.splits == {"v/1": "train"}
    found = {r.reason: (r.row, r.id, r.message) for r in dataset.refused}
    assert found.keys() == {"no clip", "label", "ambiguous"}
    assert found["no clip"][:2] == (3, "v/2")
    assert "expected Raw/v/2.<ext>, v/2.<ext> or v_2.<ext>" in found["no clip"][2]
    assert "v/4.avi, v/4.mp4" in found["ambiguous"][2]


def test_a_row_whose_video_is_damaged_keeps_its_id(tmp_path: Path) -> None:
    folder = make(tmp_path / "d", sheet="video_id,clip_id,text,label\nv,1,a,1\n")
    (folder / "v_1.mp4").touch()
    dataset = datasets.read(folder, SHARES)
    assert [(r.reason, r.row, r.id) for r in dataset.refused] == [("empty", 2, "v/1")]


def test_the_second_row_with_an_id_is_refused(tmp_path: Path) -> None:
    dataset = read(tmp_path / "d", sheet="video_id,clip_id,text,label\nv,1,a,1\nv,1,b,2\n")
    assert [clip.row and clip.row.text for clip in dataset.clips] == ["a"]
    assert dataset.refused[0].row == 3
    assert "the id v/1 is line 2's already" in dataset.refused[0].message


# Faults of label.csv


@pytest.mark.parametrize(
    ("row", "reason", "message"),
    [
        ("v,1,t,nan", "label", "found nan, expected a number from -3 to 3"),
        ("v,1,t,good", "label", "found good, expected a number from -3 to 3, with a point for decimals"),
        ("v,1,t,3.2", "label", "found 3.2, expected a number from -3 to 3"),
        ("v,1,t,inf", "label", "found inf"),
        (",1,t,1", "video_id", "column video_id: found nothing, expected the id"),
        ("v,,t,1", "clip_id", "column clip_id: found nothing, expected the id"),
        ("../secret,1,t,1", "video_id", "found '../secret', expected no slash"),
        ("/etc,1,t,1", "video_id", "found '/etc', expected no slash"),
        ("v,..,t,1", "clip_id", "found '..', expected no slash, '..' or control character"),
        ("v\x00,1,t,1", "video_id", r"found 'v\x00', expected no slash"),
        ("v,1,t, yes,1", "cells", "found 5 cells, expected 4. Put a cell that holds the delimiter"),
        ("v,1", "cells", "found 2 cells, expected 4"),
        ('v,1,"t" t,1', "cells", "line"),
    ],
)
def test_a_bad_row_is_refused_and_the_rest_goes_on(tmp_path: Path, row: str, reason: str, message: str) -> None:
    dataset = read(tmp_path / "d", sheet=f"video_id,clip_id,text,label\n\n{row}\nw,1,fine,2\n")
    assert ids(dataset) == ["w/1"]
    (refusal,) = dataset.refused
    assert (refusal.reason, refusal.row, refusal.file) == (reason, 3, str(tmp_path / "d" / "label.csv"))
    assert message in refusal.message and "line 3" in refusal.message.replace("lines", "line")


@pytest.mark.parametrize("file", ["../secret.mp4", "/etc/hostname", "C:\\x.mp4", "..\\x.mp4", "a/../../x.mp4"])
def test_files_outside_the_data_set_are_refused(tmp_path: Path, file: str) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"v")
    dataset = read(tmp_path / "d", "x.mp4", sheet=f"file,text\n{file},t\nx.mp4,t\n")
    assert ids(dataset) == ["x/0"]
    assert reasons(dataset) == ["file"]
    assert "expected a path below the data set's folder" in dataset.refused[0].message


@pytest.mark.parametrize(("start", "end"), [("2", "1"), ("1", "1"), ("-1", "2"), ("a", "2"), ("0", "nan")])
def test_impossible_segments_are_refused(tmp_path: Path, start: str, end: str) -> None:
    dataset = read(tmp_path / "d", "v.mp4", sheet=f"video_id,clip_id,label,start,end\nv,1,0,{start},{end}\n")
    assert not dataset.clips
    assert reasons(dataset)[0] in ("start", "end")


def test_every_fault_of_a_row_is_told(tmp_path: Path) -> None:
    dataset = read(tmp_path / "d", sheet="video_id,clip_id,text,label,label_T\n../v,1,t,7,bad\n")
    assert reasons(dataset) == ["video_id", "label", "label_T"]


def test_an_open_quote_costs_no_row_before_it(tmp_path: Path) -> None:
    dataset = read(tmp_path / "d", sheet='video_id,clip_id,text,label\nv,1,a,1\nv,2,"b,1\nv,3,c,1\n')
    assert ids(dataset) == ["v/1"]
    assert "lines 3 to 4" in dataset.refused[0].message


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_bom_and_line_ends(tmp_path: Path, mark: str, bom: str, end: str) -> None:
    lines = [["video_id", "clip_id", "text", "label"], ["v", "1", '"two\nlines"', "1.5"], ["v", "2", "x", "-1"]]
    sheet = bom + end.join(mark.join(cells) for cells in lines)
    dataset = read(tmp_path / "d", sheet=sheet)
    assert [(c.row.text, c.row.label, c.row.line) for c in dataset.clips if c.row] == [
        ("two\nlines", 1.5, 2),
        ("x", -1.0, 4),
    ]


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        ("video_id,clip_id,text,label\nv,1,caf\xe9,1\n".encode("latin-1"), "line 2 holds the byte 0xe9"),
        ("video_id,clip_id,text,label\nv,1,a,1\n".encode("utf-16"), r"\(UTF-16\). Save it as UTF-8"),
        ("id,text\n1,a\n", r"has the columns id, text; expected video_id and clip_id \(or file\)"),
        ("video_id,clip_id\n1,2\n", "and text or label"),
        ("", r"\(none\)"),
        ("video_id,clip_id,text,Text\n", "names a column twice"),
    ],
)
def test_a_label_file_that_cannot_be_used_says_why(tmp_path: Path, sheet: str | bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read(tmp_path / "d", sheet=sheet)


def test_labels_and_texts_may_be_missing(tmp_path: Path) -> None:
    sheet = "video_id,clip_id,text,label,label_T,label_A,label_V,annotation\nv,1,,1,0.5,,-1,Positive\nv,2,said,,,,,\n"
    dataset = read(tmp_path / "d", "v/1.mp4", "v/2.mp4", sheet=sheet)
    first, second = (clip.row for clip in dataset.clips)
    assert first and (first.text, first.label, first.label_T, first.label_A, first.label_V) == (None, 1, 0.5, None, -1)
    assert first.annotation == "Positive"
    assert second and (second.text, second.label) == ("said", None)
    assert dataset.splits == {"v/1": "train"}
    assert not dataset.refused


# Columns and files that are not read


@pytest.mark.parametrize(("found", "expected"), [("transcript", "text"), ("Txt", "text"), ("label-t", "label_T")])
def test_a_column_of_another_name_is_asked_about(tmp_path: Path, found: str, expected: str) -> None:
    dataset = read(tmp_path / "d", "v/1.mp4", sheet=f"video_id,clip_id,label,{found}\nv,1,1,1\n")
    assert ids(dataset) == ["v/1"], "the row is used, without that column"
    (refusal,) = dataset.refused
    assert (refusal.reason, refusal.row) == ("column", 1)
    assert f"line 1: found '{found}', expected '{expected}'; rename it" in refusal.message


@pytest.mark.parametrize(
    ("header", "row", "meant"),
    [
        ("label,split", "1,test", "mode"),
        ("label,Data Split", "1,hold", "mode"),
        ("label,fold", "1,3", "mode"),
        ("label,mod", "1,dev", "mode"),
        ("text,lable", "t,1", "label"),
        ("text,sentiment", "t,positive", "label"),
        ("text,y", "t,0.5", "label"),
        ("label,begin", "1,3", "start"),
        ("label,end_time", "1,3.5", "end"),
    ],
)
def test_a_column_that_may_decide_what_is_learned_is_never_passed_over(
    tmp_path: Path, header: str, row: str, meant: str
) -> None:
    """A test clip that is trained on is the worst case."""
    name, cell = header.partition(",")[2], row.partition(",")[2]
    with pytest.raises(DatasetError) as error:
        read(tmp_path / "d", "v.mp4", sheet=f"file,{header}\nv.mp4,{row}\n")
    said = f"line 1: the column '{name}' (it holds {cell}) would not be read, and there is no column '{meant}'"
    assert said in str(error.value) and f"Rename it to {meant} if so" in str(error.value)


def test_a_column_of_splits_is_found_by_what_it_holds(tmp_path: Path) -> None:
    sheet = "file,label,what for\na.mp4,1,training\nb.mp4,-1,testing\n"
    with pytest.raises(DatasetError, match=r"'what for' \(it holds testing, training\) .*did you mean mode"):
        read(tmp_path / "d", "a.mp4", "b.mp4", sheet=sheet)
    by_video = read(tmp_path / "d", dataset__yaml="split: by_video")
    assert by_video.split == "by_video" and by_video.notes == ["1 column of label.csv is not read: what for."]
    (tmp_path / "d" / "label.csv").write_text(sheet.replace("what for", "mode"))
    (tmp_path / "d" / "dataset.yaml").unlink()
    assert read(tmp_path / "d").splits == {"a/0": "train", "b/0": "test"}


def test_what_is_not_read_is_named_once_a_kind(tmp_path: Path) -> None:
    sheet = "video_id,clip_id,text,label,speaker,title,time,labels,code\nv,1,good,1,x,y,z,0,7\n"
    names = ("truth.csv", "other/a.csv", "old.xls", "README.txt", "b.srt", "v/1.srt")
    dataset = read(tmp_path / "d", "v/1.mp4", *names, sheet=sheet)
    assert ids(dataset) == ["v/1"] and dataset.split == "by_video" and not dataset.refused
    assert [note.split(". ")[0] for note in dataset.notes] == [
        "2 .csv files are not read (other/a.csv, truth.csv)",
        "1 .xls file is not read (old.xls)",
        "5 columns of label.csv are not read: speaker, title, time, labels, code.",
        "labels go from 1 to 1: all on one side, none below 0, the neutral label",
        "1 .srt file is not read (b.srt): no video has the name.",
        "1 .txt file is not read (README.txt): no video has the name.",
    ]


# Label files that are no CSV


def workbook(file: Path, *sheets: list[list[object]]) -> None:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets, 1):
        sheet = book.create_sheet(f"Sheet{number}")
        for row in rows:
            sheet.append(row)
    book.save(file)


def test_an_excel_sheet_is_read_as_a_csv_is(tmp_path: Path) -> None:
    folder = make(tmp_path / "d", "1/001.mp4", "1/2.mp4")
    rows = [
        ["video_id", "clip_id", "text", "label", "mode", None],
        [1, "001", "so\nso", 1.5, "train", None],
        [],
        [1, 2, "x", -1, "test"],
        [1, 3, "y", 7, "test"],
    ]
    workbook(folder / "label.xlsx", rows, [["old"]])
    dataset = datasets.read(folder, SHARES)
    assert [(c.id, c.row.text, c.row.label, c.row.line) for c in dataset.clips if c.row] == [
        ("1/001", "so\nso", 1.5, 2),
        ("1/2", "x", -1, 4),
    ]
    assert dataset.splits == {"1/001": "train", "1/2": "test"}
    assert [(r.row, r.message) for r in dataset.refused] == [
        (
            5,
            f"{folder}/label.xlsx, line 5, column label: found 7, expected a number from -3 to 3, with a point for decimals. Correct it.",
        )
    ]
    assert dataset.notes == [
        "1 sheet of label.xlsx is not read (Sheet2): only the first sheet is. Put all rows that count in it."
    ]


def test_a_tsv_is_read_and_two_label_files_are_not(tmp_path: Path) -> None:
    folder = make(tmp_path / "d", "a.mp4")
    (folder / "label.tsv").write_text("file\tlabel\na.mp4\t1\n")
    assert [clip.row and clip.row.label for clip in datasets.read(folder, SHARES).clips] == [1]
    (folder / "label.xlsx").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"has the label files label.tsv, label.xlsx; expected one"):
        datasets.read(folder, SHARES)
    (folder / "label.tsv").unlink()
    with pytest.raises(DatasetError, match=r"label.xlsx cannot be read as an Excel workbook .*Save it again"):
        datasets.read(folder, SHARES)


# On what scale the labels are


def rated(folder: Path, labels: list[object], yaml: str = "") -> Dataset:
    """Rows of text with these labels."""
    sheet = "video_id,clip_id,text,label\n" + "".join(f"v{n},1,t,{label}\n" for n, label in enumerate(labels))
    return read(folder, sheet=sheet, **({"dataset__yaml": yaml} if yaml else {}))


@pytest.mark.parametrize(
    ("labels", "yaml", "parts"),
    [
        ([1, 2, 3, 4, 5] * 12, "", ["24 labels are not a number from -3 to 3", "the numbers go from 1 to 5", "'label_range: [1, 5]' and 'neutral: 3'"]),
        ([1, 2, 3, 5], "", ["from 1 to 5, all on one side of 0", "'label_range: [1, 5]' and 'neutral: 3'"]),
        ([1, 2, 3, 1, 2, 3, 4], "", ["all on one side of 0", "'label_range: [1, 4]' and 'neutral: 2.5'"]),
        ([0, 1] * 30, "", ["from 0 to 1, all on one side of 0", "'label_range: [0, 1]' and 'neutral: 0.5'", "'label_range: [-3, 3]' if 0 is neutral"]),
        ([0, 50, 100, 70, 20, 99], "", ["'label_range: [0, 100]' and 'neutral: 50'"]),
        ([-5, 5, 4, -4, 1, -1], "", ["4 labels are not", "'label_range: [-5, 5]' and 'neutral: 0'"]),
        ([-2, 0, 2, 1] * 3, "language: zh", ["6 labels are not a number from -1 to 1", "and 'convention: mosi'"]),
        (["positive", "negative", "neutral"] * 4, "", ["12 of 12 labels are not a number", "'labels: {positive: 1, negative: -1, neutral: 0}'"]),
        (["joy", "anger", "joy", "fear"], "", ["joy (2), anger (1), fear (1)", "classes such as emotions are not supported", "'labels: {negative: -1, neutral: 0, positive: 1}'", "remove the column"]),
        (["good", "bad", "so so", "good"], "labels: {good: 1, bad: -1, meh: 0}", ["expected"]),
        (['"1,5"', '"-0,5"'], "", ["Write the decimals with a point"]),
    ],
)  # fmt: skip
def test_labels_of_another_scale_refuse_the_data_set_with_the_lines_to_write(
    tmp_path: Path, labels: list[object], yaml: str, parts: list[str]
) -> None:
    if parts == ["expected"]:
        dataset = rated(tmp_path / "d", labels, yaml)
        assert [r.message.split("found ")[1] for r in dataset.refused] == [
            "so so, expected one of good, bad, meh (`labels` in dataset.yaml). Correct it."
        ]
        return
    with pytest.raises(DatasetError) as error:
        rated(tmp_path / "d", labels, yaml)
    assert all(part in str(error.value) for part in parts), str(error.value)
    assert len(str(error.value)) < 900


def test_the_lines_that_the_messages_show_are_right(tmp_path: Path) -> None:
    """Labels are kept less the neutral one, so that 0 is neutral behind ingest."""
    stars = rated(tmp_path / "stars", [1, 2, 3, 4, 5, 5], "label_range: [1, 5]\nneutral: 3")
    assert [row.label for row in stars.rows.values()] == [-2, -1, 0, 1, 2, 2] and not stars.refused
    assert stars.description.kept_range == (-2, 2) and stars.observed == Observed(1, 5, 6) and not stars.notes
    binary = rated(tmp_path / "binary", [0, 1, "1.0", 0], "labels: {0: -1, 1: 1}")
    assert [row.label for row in binary.rows.values()] == [-1, 1, 1, -1]
    words = rated(
        tmp_path / "words", ["Positive", "negative", "NEUTRAL"], "labels: {negative: -1, neutral: 0, positive: 1}"
    )
    assert [row.label for row in words.rows.values()] == [1, -1, 0]
    assert words.description.label_range == (-1, 1)
    graded = rated(tmp_path / "graded", ["low", "mid", "top"], "labels: {low: 0, mid: 1, top: 2}\nneutral: 1")
    assert [row.label for row in graded.rows.values()] == [-1, 0, 1]


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        (
            "neutral: 3",
            "label_range is (-3.0, 3.0): the neutral label is 3, expected a range with labels on both sides",
        ),
        ("labels: {a: 1, b: 5}", "write 'neutral: 3' beside it"),
        ("labels: {a: 7}\nlabel_range: [-3, 3]", "`labels` gives a the number 7, which is outside"),
        ("labels: {yes: 1, no: -1}", "labels is {False: -1, True: 1}: a key is read as true; write yes, no"),
        ("labels: {a: b}", "labels is {'a': 'b'}: input should be a valid number"),
    ],
)
def test_a_scale_that_means_nothing_says_so(tmp_path: Path, yaml: str, message: str) -> None:
    with pytest.raises(DatasetError) as error:
        rated(tmp_path / "d", [1], yaml)
    assert message in str(error.value)


def test_one_wrong_label_costs_its_row_and_a_narrow_scale_is_doubted(tmp_path: Path) -> None:
    typo = rated(tmp_path / "typo", [24, -1, 2.4, 1, -2, 0.2])
    assert reasons(typo) == ["label"] and len(typo.clips) == 5 and not typo.notes
    narrow = rated(tmp_path / "narrow", [-1, 1, 0.5, -0.5, 0, 1])
    assert len(narrow.clips) == 6
    (note,) = narrow.notes
    assert (
        "labels go from -1 to 1, a third or less of the label range -3 to 3" in note
        and "'label_range: [-1, 1]'" in note
    )
    few = rated(tmp_path / "few", [1, 2, 0.5])
    assert len(few.clips) == 3 and "all on one side, none below 0" in few.notes[0]


# Segments without ids


def test_segments_of_one_file_are_clips_by_their_times(tmp_path: Path) -> None:
    sheet = "file,start,end,label\ntalk.mp4,0,4,1\ntalk.mp4,4,8.25,-1\ntalk.mp4,8.25,,0\na/talk.mp4,,4,1\ntalk.mp4,4,8.25,2\n"
    dataset = read(tmp_path / "d", "talk.mp4", "a/talk.mp4", sheet=sheet)
    assert ids(dataset) == ["a/talk/0-4", "talk/0-4", "talk/4-8.25", "talk/8.25-end"]
    assert len({split for id, split in dataset.splits.items() if id.startswith("talk/")}) == 1, "one video, one split"
    assert [(r.reason, r.row) for r in dataset.refused] == [("duplicate id", 6)]
    speakers = read(tmp_path / "e", "x.mp4", "y.mp4", sheet="file,video_id,label,end\nx.mp4,ann,1,\ny.mp4,ann,-1,2\n")
    assert ids(speakers) == ["ann/x", "ann/y-0-2"], "the video_id keeps a speaker in one split"


# dataset.yaml and what a name tells


@pytest.mark.parametrize(
    ("name", "yaml", "language", "convention", "label_range"),
    [
        ("mosei", "", "en", "mosi", (-3, 3)),
        ("sims", "", "zh", "sims", (-1, 1)),
        ("CH-SIMSv2", "", "zh", "sims", (-1, 1)),
        ("own", "language: zh", "zh", "sims", (-1, 1)),
        ("own", "language: zh\nconvention: mosi", "zh", "mosi", (-3, 3)),
        ("own", "convention: sims\nlabel_range: [-0.5, 1]", "en", "sims", (-0.5, 1)),
        ("sims-mini", "", "zh", "sims", (-1, 1)),
        ("ch_simsv2.s", "", "zh", "sims", (-1, 1)),
        ("simson", "", "en", "mosi", (-3, 3)),
    ],
)
def test_conventions(tmp_path: Path, name: str, yaml: str, language: str, convention: str, label_range: tuple) -> None:
    told = read(tmp_path / name, "v.mp4", dataset__yaml=yaml).description
    assert (told.language, told.convention, told.label_range) == (language, convention, label_range)
    assert not told.redistribute and not told.synthetic and told.split == "mode"


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        (
            "languag: en",
            "the key 'languag' is not known; allowed are language, convention, neutral, labels, label_range",
        ),
        ("language: fr", "language is 'fr': input should be 'en' or 'zh'"),
        ("label_range: [3, -3]", "the first number must be below the second"),
        ("convention: sims\nlabel_range: [-3, 3]", "label_range is [-3, 3]"),
        ("language: zh\nlabel_range: [-1, 2]", "clip to [-1, 1], expected numbers within. Scale the labels"),
        ("- a\n- b", "expected lines such as 'language: en'"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_dataset_yaml_says_what_is_allowed(tmp_path: Path, yaml: str, message: str) -> None:
    with pytest.raises(DatasetError) as error:
        read(tmp_path / "d", "v.mp4", dataset__yaml=yaml)
    assert message in str(error.value)


def test_ch_sims_as_distributed_needs_no_configuration(tmp_path: Path) -> None:
    sheet = (
        "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode\n"
        "video_0001,0001,我不想嫁给李茶,-1,-1,-0.8,-1,Negative,train\n"
        "video_0001,0002,好,0.2,0,0,0.4,Positive,valid\n"
        "video_0002,0001,好,0,0,0,0,Neutral,test\n"
    )
    videos = [f"Raw/video_000{v}/000{c}.mp4" for v, c in ((1, 1), (1, 2), (2, 1))]
    dataset = read(tmp_path / "CH-SIMS", *videos, sheet=sheet)
    assert list(dataset.splits.values()) == ["train", "valid", "test"]
    assert dataset.split == "mode" and not dataset.refused
    assert dataset.texts["video_0001/0001"].text == "我不想嫁给李茶"


@pytest.mark.skipif(not MOSI.is_file(), reason="CMU-MOSI's label.csv is not at hand")
def test_cmu_mosi_as_distributed_needs_no_configuration(tmp_path: Path) -> None:
    dataset = read(tmp_path / "mosi", sheet=MOSI.read_bytes())
    assert len(dataset.clips) == 2199 and not dataset.refused
    counts = [list(dataset.splits.values()).count(name) for name in ("train", "valid", "test")]
    assert counts == [1284, 229, 686]


# Splits


def test_modes_in_other_words_and_rows_without_one(tmp_path: Path) -> None:
    rows = ["v,1,a,1,Train", "v,2,b,1,VAL", "v,3,c,1,dev", "v,4,d,1,test", "v,5,e,1,", "v,6,f,1,hold", "v,7,g,,"]
    dataset = read(tmp_path / "d", sheet="video_id,clip_id,text,label,mode\n" + "\n".join(rows))
    assert list(dataset.splits.values()) == ["train", "valid", "valid", "test"]
    assert ids(dataset)[-1] == "v/7", "a clip without a label needs no mode"
    assert [(r.reason, r.row) for r in dataset.refused] == [("mode", 6), ("mode", 7)]
    assert "found hold, expected train, valid or test" in dataset.refused[1].message


def test_a_row_finds_its_video_in_nested_folders(tmp_path: Path) -> None:
    dataset = read(tmp_path / "d", "a/b/1.mp4", sheet="video_id,clip_id,text,label\na/b,1,t,1\n")
    assert ids(dataset) == ["a/b/1"] and not dataset.refused


def test_split_by_video_overrides_the_mode(tmp_path: Path) -> None:
    sheet = "video_id,clip_id,text,label,mode\nv,1,a,1,train\nv,2,b,1,test\nw,1,c,1,train\n"
    dataset = read(tmp_path / "d", sheet=sheet, dataset__yaml="split: by_video")
    assert dataset.split == "by_video"
    assert dataset.splits["v/1"] == dataset.splits["v/2"] != dataset.splits["w/1"]


@given(st.sets(st.text(min_size=1, max_size=6), min_size=1, max_size=60), st.integers(0, 9), st.randoms())
def test_a_draw_by_video_is_whole_stable_and_served_in_order(videos: set[str], seed: int, random) -> None:  # type: ignore[no-untyped-def]
    shares = SHARES.model_copy(update={"seed": seed})
    drawn = split.by_video(videos, shares)
    shuffled = sorted(videos)
    random.shuffle(shuffled)
    assert split.by_video(shuffled, shares) == drawn
    assert drawn.keys() == videos
    needed = ("train", "test", "valid")[: len(videos)]
    assert set(needed) <= set(drawn.values())
    for name in ("valid", "test"):
        wanted = len(videos) * getattr(shares, name)
        assert abs(list(drawn.values()).count(name) - wanted) <= 1


def test_the_seed_decides_the_draw() -> None:
    videos = [str(number) for number in range(40)]
    assert split.by_video(videos, SHARES) != split.by_video(videos, SHARES.model_copy(update={"seed": 1}))


def test_a_share_of_nothing_gets_nothing() -> None:
    shares = Shares(train=0.8, valid=0.2, test=0, seed=1)
    assert set(split.by_video("abcde", shares).values()) == {"train", "valid"}
    for count in range(1, 8):  # two shares of a half, and one of all
        videos = "abcdefg"[:count]
        halves = split.by_video(videos, Shares(train=0, valid=0.5, test=0.5, seed=1))
        assert halves.keys() == set(videos) and set(halves.values()) == ({"test"} if count == 1 else {"test", "valid"})
        for all_to in tables.SPLITS:
            whole = {name: float(name == all_to) for name in tables.SPLITS}
            assert set(split.by_video(videos, Shares(**whole, seed=1)).values()) == {all_to}


def test_shares_must_make_a_whole() -> None:
    with pytest.raises(ValueError, match="must add up to 1"):
        Shares(train=0.8, valid=0.2, test=0.2, seed=1)


# Sidecars

SRT = "1\r\n00:00:00,500 --> 00:00:01,250\r\n<i>Well</i>,\r\nhello.\r\n\r\n2\r\n00:00:02,000 --> 00:00:03,000\r\nYes &amp; no\r\n"
VTT = "WEBVTT\n\nNOTE a remark\nof two lines\n\nintro\n00:00.500 --> 00:01.250 align:start\nWell, hello.\n"


def test_sidecars_give_the_text_that_label_csv_lacks(tmp_path: Path) -> None:
    sheet = "video_id,clip_id,text,label\nv,1,from the sheet,1\nv,2,,1\nv,3,,1\nv,4,,1\n"
    folder = make(tmp_path / "d", *(f"v/{number}.mp4" for number in (1, 2, 3, 4)), sheet=sheet)
    (folder / "v/1.txt").write_text("from beside it")
    (folder / "v/2.TXT").write_text("\ufeff only words \n")
    (folder / "v/3.txt").write_text("words without times")
    (folder / "v/3.srt").write_text(SRT)
    texts = datasets.read(folder, SHARES).texts
    assert (texts["v/1"].source, texts["v/1"].text) == ("label", "from the sheet")
    assert (texts["v/2"].source, texts["v/2"].text, texts["v/2"].cues) == ("sidecar", "only words", [])
    assert texts["v/3"].text == "Well, hello. Yes & no"
    assert texts["v/3"].cues[0] == Cue(0.5, 1.25, "Well, hello.")
    assert (texts["v/4"].source, texts["v/4"].text) == (None, None)


def test_webvtt_notes_and_settings_are_no_text() -> None:
    assert sidecars.parse(VTT) == [{"start": 0.5, "end": 1.25, "text": "Well, hello."}]


@pytest.mark.parametrize(
    ("file", "said"),
    [  # where pysubs2 1.8.1 gives other words, times or no end
        ("WEBVTT\n\n00:01.000 --> 00:02.000\nHi\n\nNOTE he laughs\n\nSTYLE\n::cue { color: red }\n\nintro\n00:03.000 --> 00:04.000\nYes\n", [(1, 2, "Hi"), (3, 4, "Yes")]),
        ("1\n00:00:01,000 --> 00:00:02,000\nI was born in\n1984\n", [(1, 2, "I was born in 1984")]),
        ("1\n00:00:01,000 --> 00:00:02,000\nfrom 10:00:00.0 to 11:00:00.0\n", [(1, 2, "from 10:00:00.0 to 11:00:00.0")]),
        ("1\n00:01,000 --> 00:02,000\nno hours\n", [(1, 2, "no hours")]),
        ("1\n100:00:01,000 --> 100:00:02,000\nlate\n", [(360001, 360002, "late")]),
        ("1\n00:00:02,000 --> 00:00:01,000\nbackwards\n", []),
        ("1\n00:00:01,000 --> 00:00:02,000\nso" + "\n" * 1_000_000 + "<a" * 100_000, [(1, 2, "so")]),
    ],
)  # fmt: skip
def test_cues_are_what_is_said_and_nothing_else(file: str, said: list[tuple[float, float, str]]) -> None:
    assert [(cue["start"], cue["end"], cue["text"]) for cue in sidecars.parse(file)] == said


def test_a_segment_takes_the_cues_that_lie_in_it(tmp_path: Path) -> None:
    sheet = "video_id,clip_id,label,start,end\nv,1,0,0,1\nv,2,1,1.5,4\n"
    folder = make(tmp_path / "d", "v.mp4", sheet=sheet, v__srt=SRT)
    texts = datasets.read(folder, SHARES).texts
    assert texts["v/1"].cues == [Cue(0.5, 1.0, "Well, hello.")]
    assert texts["v/2"].cues == [Cue(0.5, 1.5, "Yes & no")]
    (folder / "v.srt").rename(folder / "v.txt")
    assert datasets.read(folder, SHARES).texts["v/1"].text is None, "a .txt does not tell which part is the clip's"


def test_a_sidecar_that_cannot_be_read_costs_its_text_alone(tmp_path: Path) -> None:
    folder = make(tmp_path / "d", "a.mp4", "b.mp4")
    (folder / "a.txt").write_bytes(b"caf\xe9")
    (folder / "b.srt").write_text("nothing timed")
    dataset = datasets.read(folder, SHARES)
    assert ids(dataset) == ["a/0", "b/0"]
    assert [(r.reason, r.id) for r in dataset.refused] == [("sidecar", "a/0"), ("sidecar", "b/0")]
    assert "is not UTF-8" in dataset.refused[0].message and "has no cue" in dataset.refused[1].message
