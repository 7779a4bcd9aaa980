"""report: what the page, the tables and the plots say, and what they keep to themselves."""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.networks import find
from pipeline import paths, tables
from pipeline.errors import TableError
from report.tables import model_name
from tests import networks
from tests.projects import (
    SECRET,
    SIMS,
    clips,
    content,
    explored,
    features,
    film,
    ingest,
    measured,
    predict,
    scored,
    train,
    trained,
    write,
)

MOSI = {
    "mae": 0.5,
    "corr": 0.7,
    "acc2_nonneg": 0.8,
    "f1_nonneg": 0.8,
    "acc2_pos": 0.8,
    "f1_pos": 0.8,
    "acc5": 0.4,
    "acc7": 0.4,
}
pytestmark = pytest.mark.slow  # whole stages or figures, a second or more each


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_main_table_has_the_papers_form_and_rounding() -> None:
    scored("mosi")
    write()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in _lines("tables.md") if line.startswith("|")]
    assert rows[0] == ["Data set", "Model", "MAE", "Corr", "Acc-2", "F1", "Acc-5", "Acc-7", "Seeds"]
    assert rows[2][:6] == ["mosi", "Train median (floor)", "1.456", "-", "84.00 / 85.98", "84.42 / 85.95"]
    assert rows[3] == [
        "mosi", "Self-MM", "0.713 ± 0.010", "0.798", "84.00 / 85.98 ± 0.40", "84.42 / 85.95", "50.00", "45.79", "5",
    ]  # fmt: skip


def test_the_main_table_calls_a_network_as_it_calls_itself() -> None:
    assert {name: model_name(name) for name in networks.FILES} == {name: find(name).TITLE for name in networks.FILES}


def test_the_page_shows_the_same_cells_as_the_table() -> None:
    scored("mosi")
    page = write()
    assert "<td>0.713 ± 0.010</td>" in page
    assert "<td>84.00 / 85.98 ± 0.40</td>" in page
    assert "zeros left out" in page


def test_sims_has_its_own_metrics() -> None:
    ingest(({"name": "sims", "convention": "sims", "label_range": [-1, 1]}, clips("sims")))
    measured(sims={"self_mm": SIMS | {"std": {}, "seeds": 1}, "train_median": SIMS})
    write()
    heading = next(line for line in _lines("tables.md") if line.startswith("|"))
    assert re.findall(r"[\w-]+", heading)[3:] == ["Acc-2", "F1", "Acc-3", "Acc-5", "MAE", "Corr", "Seeds"]
    assert "80.74" in _text("tables.md")


def test_a_run_of_another_data_set_is_a_row_that_says_so() -> None:
    scored("mosi")
    crossing = SIMS | {"std": {}, "seeds": 1, "split": "all", "mapped": [[-1.0, 1.0], [-3.0, 3.0]]}
    measured(mosi={"self_mm from sims": crossing})
    write()
    assert "| Self-MM, trained on sims |" in _text("tables.md")
    note = "Self-MM, trained on sims, on mosi: predictions mapped from [-1, 1] to [-3, 3], 0 to 0; all labelled clips"
    assert note in _text("tables.md") and note in _text("index.html")


def test_csv_keeps_mean_and_deviation_apart_and_what_is_undefined_empty() -> None:
    scored("mosi")
    write()
    floor, self_mm = csv.DictReader(_lines("tables.csv"))
    assert (self_mm["mae"], self_mm["mae_std"], self_mm["acc2_pos"]) == ("0.713", "0.010", "85.98")
    assert (floor["corr"], floor["mae_std"], floor["acc3"]) == ("", "", "")


def test_latex_uses_booktabs_and_escapes() -> None:
    scored("my_set")
    write()
    written = _text("tables.tex")
    assert [rule in written for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [True] * 3
    assert r"my\_set & Self-MM & 0.713 $\pm$ 0.010 & 0.798 & 84.00 / 85.98 $\pm$ 0.40" in written


def test_synthetic_numbers_say_so_wherever_they_show() -> None:
    trained(synthetic=True, redistribute=True)
    page = write()
    for line in _lines("tables.md"):
        assert not re.search(r"\d\.\d", line) or "synthetic demo" in line
    for name in ("tables.csv", "tables.tex"):
        assert all("synthetic demo" in line for line in _lines(name) if "0.713" in line or "1.456" in line)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert all("demo (synthetic demo)" in caption for caption in captions if "Self-MM" in caption)
    assert "<td>demo (synthetic demo)</td><td>Self-MM</td>" in page


def test_a_data_set_that_may_not_travel_is_named_by_ids_alone() -> None:
    rows = trained("mosi", shared_texts=["they said it twice"])
    film(rows)
    page = write()
    assert "they said" not in page
    assert "image/jpeg" not in page
    assert "v1/1" in page
    assert "does not say redistribute: true" in page


def test_what_a_refusal_quotes_is_left_out_where_texts_may_not_travel() -> None:
    found = {
        "dataset": "mosi", "file": "label.csv", "row": 7, "id": "a/1", "reason": "label",
        "message": "line 7, column label: found so I told <them>, expected a number. Correct it.",
    }  # fmt: skip
    ingest(({"name": "mosi"}, clips("mosi")), refused=[found])
    page = write()
    assert "so I told" not in page
    assert "<td>label.csv</td><td>7</td><td>a/1</td><td>may quote a transcript: see data/ingest/refused.parquet" in page
    assert "<td>line 7, column label: found so I told &lt;them&gt;, expected a number." in write(show_all=True)


@pytest.mark.parametrize(
    ("settings", "options"), [({"redistribute": True}, {}), ({"redistribute": False}, {"show_all": True})]
)
def test_texts_and_pictures_show_where_they_may_or_the_user_asks(
    settings: dict[str, Any], options: dict[str, Any]
) -> None:
    film(trained(**settings))
    page = write(**options)
    assert "they said &lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; went 1" in page
    assert page.count("data:image/jpeg;base64,") == 2
    assert "<script>alert" not in page
    assert explored(page)[0]["texts"][1] == f"{SECRET} 1"


def test_thumbnails_can_be_switched_off() -> None:
    film(trained(redistribute=True))
    page = write(thumbnails=False)
    assert "image/jpeg" not in page
    assert "they said" in page


def test_a_clip_whose_picture_cannot_be_read_has_none() -> None:
    rows = trained(redistribute=True)
    film(rows)
    for row in rows:
        Path(row["path"]).write_bytes(b"no video")
    page = write()
    assert "image/jpeg" not in page
    assert "they said" in page


def test_examples_are_the_clips_whose_ulabels_part_most_in_the_last_epoch() -> None:
    trained()
    page = write()
    examples = re.findall(
        r"m-label ([-+.\d]+)</b>(.*?)</p>.*?<p class=\"id\"><a href=.*?>(.*?)</a></p>", page, re.DOTALL
    )
    assert [(clip, label) for label, _, clip in examples] == [("v1/1", "-1.00"), ("v3/1", "+0.00")]
    assert re.findall(r"(\w+) ([-+]\d\.\d\d)", examples[0][1]) == [("text", "-1.00"), ("audio", "-2.75")]


def test_the_best_seed_on_the_validation_split_is_shown() -> None:
    rows = trained()
    train("demo", 1112, 0.7)
    predict(rows, trained_on="demo", seeds=(1111, 1112))
    assert "seed 1112, predicted against true" in write()


def test_the_page_loads_nothing_from_elsewhere() -> None:
    film(trained(redistribute=True))
    page = write()
    sources = re.findall(r"""(?:src|srcset|href)=["']?([^"'> ]{1,12})""", page)
    assert sources
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert not re.search(r"url\(|@import|https?://|fetch\(|XMLHttpRequest", page)
    assert "default-src 'none'" in page  # so that what is overlooked above is refused by the browser


@pytest.mark.slow
def test_the_same_inputs_give_the_same_bytes_and_no_stale_plot() -> None:
    film(trained(redistribute=True))
    write()
    first = _contents()
    (paths.REPORT / "gone-labels.png").write_bytes(b"of a data set that is gone")
    write()
    assert _contents() == first
    assert {"demo-labels.png", "demo-self_mm-curves.png", "demo-self_mm-predicted.png", "demo-self_mm-ulabels.png"} == {
        name for name in first if name.endswith(".png")
    }


def test_the_data_page_counts() -> None:
    rows = clips("demo")
    rows[0] |= {"source": "recogniser", "confidence": 0.8, "flags": ["silent sound"]}
    rows[1] |= {"source": "recogniser", "confidence": 0.6}
    rows[2] |= {"source": "none", "spoken": ""}
    told: dict[str, Any] = {"shared_contents": [["v0/1", "v5/1"]], "elsewhere": {"mosi": ["v2/1", "v4/1"]}}
    ingest(({"name": "demo", "shared_videos": ["v0"], "duplicates": [["v0/1", "v3/1"]]} | told, rows))
    pitch = np.array([[0, 1], [30.5, 1], [31, 1], [0, 1]], np.float32)
    features("demo", "audio", ["F0semitoneFrom27.5Hz_sma3nz", "Loudness_sma3"], {"v0/1": pitch})
    faces = np.array([[0.5], [np.nan], [0.25], [0.5], [0.5]], np.float32)
    features(
        "demo",
        "vision",
        ["smile"],
        {"v0/1": faces},
        flags=["several faces in 40 % of the frames: which of them speaks is not known", "gaze not finite in 3 frames"],
    )
    facts = _facts(write())
    assert facts["Clips"] == "7 (7 with sound, 7 with picture)"
    assert facts["Length"] == "17.5 s"
    assert facts["Labelled clips"] == "train 4, valid 1, test 2"
    assert facts["Frames with a face"] == "80.00 % of 5"
    assert facts["Voiced frames of sound"] == "50.00 % of 4"
    assert facts["Transcripts"] == "label 4, none 1, recogniser 2"
    assert facts["Recogniser&#39;s mean confidence"] == "0.70"
    assert (facts["Videos in several splits"], facts["Contents that occur more than once"]) == ("1", "1")
    page = _text("index.html")
    assert "<td>clip: silent sound</td><td>1</td>" in page
    counted = "several faces in … % of the frames: which of them speaks is not known"  # whatever the share
    assert f"<td>vision: {counted}</td><td>1</td>" in page
    assert "gaze not finite" not in page  # any voice and face has such frames: no oddity
    assert "<td>v0/1, v3/1</td>" in page
    assert facts["Contents in several splits"] == "1" and "<td>v0/1, v5/1</td>" in page
    assert "<td>mosi</td><td>v2/1, v4/1</td>" in page


def test_a_data_set_whose_texts_have_no_encoder_says_so_beside_its_numbers() -> None:
    ingest(({"name": "demo"}, clips("demo")))
    tokens = tables.rows(tables.TOKENS, [])
    about = {"encoder": "bert-base-chinese", "encoder_sha256": None, "absent": "the hub cannot be asked"}
    tables.write(paths.features("text", "demo"), tokens, about)
    assert _facts(write())["Text"] == "not used, the results are of sound and picture alone: the hub cannot be asked"
    assert "demo (without texts)" in _text("index.html")


def test_voicing_is_unknown_where_no_column_tells() -> None:
    ingest(({"name": "demo"}, clips("demo")))
    features("demo", "audio", ["mfcc_1"], {"v0/1": np.ones((3, 1), np.float32)})
    assert _facts(write())["Voiced frames of sound"] == "unknown: no column tells"


def test_a_clip_that_failed_in_extraction_is_listed_with_its_reason() -> None:
    ingest(({"name": "demo"}, clips("demo")))
    failed = {"status": "failed", "reason": "timeout"}
    features("demo", "vision", ["smile"], {"v3/1": np.zeros((0, 1), np.float32)}, **failed)
    page = write()
    assert "<td>vision</td><td>v3/1</td><td>timeout</td>" in page
    assert _facts(page)["Frames with a face"] == "no frames"


def test_without_labels_the_predictions_are_listed_and_said_to_be_anothers() -> None:
    rows = clips("real", labelled=False)
    rows[0] |= {"spoken": "place red at g nine"}
    ingest(({"name": "demo", "synthetic": True}, clips("demo")), ({"name": "real", "labelled": False}, rows))
    predict(rows, trained_on="demo")
    page = write()
    assert "No labels: nothing was trained on this data set." in page
    assert "Predictions by Self-MM, seed 1111, trained on demo (synthetic demo)" in page
    assert "<td>v0/1</td><td>-1.25</td><td>+0.25</td><td>-</td><td>-</td></tr>" in page
    assert "place red" not in page
    assert "<td>place red at g nine</td>" in write(show_all=True)
    limited = write(max_rows=3)
    assert "3 of 7 rows (report.max_rows); the rest: data/predictions.parquet." in limited
    assert "<td>v3/1</td>" not in limited


def test_what_lies_in_no_data_set_does_not_stop_the_report() -> None:
    """A refusal without a data set is not a data set."""
    about = {"reason": "not in a data set", "row": None, "id": None}
    refused = [
        {"dataset": "", "file": "data/raw/loose.mp4", "message": "loose.mp4 lies in no data set. Move it.", **about},
        {"dataset": "gone", "file": "data/raw/gone", "message": "It has no clips.", **about},
    ]
    ingest(({"name": "mosi"}, clips("mosi")), refused=refused)
    features("mosi", "audio", ["F0"], {row["id"]: np.ones((2, 1)) for row in clips("mosi")})
    page = write()
    assert "loose.mp4 lies in no data set. Move it." in page and "in no data set" in page


def test_few_clips_another_scale_and_what_is_not_read_are_said_where_numbers_stand() -> None:
    notes = ["2 columns of label.csv are not read: speaker, age."]
    ingest(({"name": "mosi", "label_range": [-2, 2], "neutral": 3, "notes": notes}, clips("mosi")))
    measured(mosi={"self_mm": dict.fromkeys(MOSI) | {"mae": 0.5, "std": {}, "seeds": 1}})
    few = "Too few clips: mosi has 4 train clips and 2 test clips; at least 30 train and 10 test clips are needed. Its numbers mean nothing."
    page = write()
    assert few in _text("tables.md") and few in page and "mosi,too few clips,self_mm" in _text("tables.csv")
    assert "-: not defined" in _text("tables.md") and "| - / -" in _text("tables.md")
    assert "the label file&#39;s 1 to 5 less 3. For its scale, add 3." in page and notes[0] in page
    assert explored(page)[0]["scale"].endswith("For its scale, add 3.")
    many = [row | {"id": f"{row['id']}-{n}"} for n in range(12) for row in clips("mosi")]
    ingest(({"name": "mosi"}, many))
    measured(mosi={"self_mm": MOSI | {"std": {}, "seeds": 1}})
    assert "Too few clips" not in write() and "Too few" not in _text("tables.md") and "-: not" not in _text("tables.md")


def test_labels_without_a_run_yet() -> None:
    ingest(({"name": "mosi"}, clips("mosi")))
    page = write()
    assert "Labels are there, but no run" in page
    assert "No data set has results: nothing was trained." in page
    assert "nothing was trained" in _text("tables.md")
    assert (paths.REPORT / "mosi-labels.png").is_file()


def test_labels_without_a_run_say_which_split_is_missing_and_show_anothers_predictions() -> None:
    rows = clips("own")
    for row in rows:
        row["split"] = "test"
    ingest(({"name": "demo", "synthetic": True}, clips("demo")), ({"name": "own"}, rows))
    predict(rows, trained_on="demo")
    page = write()
    assert "not trained on, because no clip is in the split train and valid: see the label file" in page
    assert "Predictions by Self-MM, seed 1111, trained on demo (synthetic demo)<" in page
    assert page.count("<td>-1.25</td>") == len(rows)


def test_unlabelled_clips_of_a_labelled_set_have_their_predictions_by_the_best_seed() -> None:
    rows = trained()
    rows[5] |= {"split": None, "label": None}
    train("demo", 1112, 0.7)
    predict(rows, trained_on="demo", seeds=(1111, 1112))
    page = write()
    assert "Predictions by Self-MM, seed 1112, trained on demo: its clips without a label" in page
    assert "Predictions by Self-MM, seed 1111" not in page
    assert "<td>v5/1</td><td>-1.25</td>" in page
    assert page.count("<td>-1.25</td>") == 1


def test_a_data_set_of_texts_alone() -> None:
    rows = clips("mosi", has_audio=False, has_vision=False, seconds=None)
    ingest(({"name": "mosi", "text_only": True}, rows))
    train("mosi", 1111, 0.8, [{"epoch": 1, "id": "v0/1", "text": 0.5, "audio": None, "vision": None}])
    facts = _facts(write(show_all=True))
    assert facts["Clips"] == "7 (0 with sound, 0 with picture)"
    assert facts["Frames with a face"] == facts["Voiced frames of sound"] == "no features"


def test_refused_rows_only() -> None:
    found = {"dataset": "edge", "file": "data/raw/edge/<b>.mp4", "row": None, "id": None, "reason": "empty",
             "message": "<b>.mp4 has no bytes."}  # fmt: skip
    ingest(refused=[found, found | {"reason": "no streams"}])
    page = write()
    assert "<td>empty</td><td>1</td>" in page
    assert "<td>data/raw/edge/&lt;b&gt;.mp4</td><td></td><td></td><td>&lt;b&gt;.mp4 has no bytes.</td>" in page
    assert "everything was refused" in page


def test_a_file_outside_every_data_set_is_listed() -> None:
    message = "a.mp4 lies in no data set. Move it into a folder of its own below data/raw."
    found = {"dataset": "", "file": "data/raw/a.mp4", "reason": "not in a data set", "message": message}
    ingest(({"name": "mosi"}, clips("mosi")), refused=[found])
    page = write()
    assert "<h3>in no data set</h3>" in page
    assert f"<td>{message}</td>" in page


def test_a_missing_table_is_named() -> None:
    ingest(({"name": "mosi"}, clips("mosi")))
    paths.PREDICTIONS.unlink()
    with pytest.raises(TableError, match=r"data/predictions.parquet is not there"):
        write()


def _text(name: str) -> str:
    return (paths.REPORT / name).read_text()


def _lines(name: str) -> list[str]:
    return _text(name).splitlines()


def _facts(page: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))


def _contents() -> dict[str, bytes]:
    return content(paths.REPORT)
