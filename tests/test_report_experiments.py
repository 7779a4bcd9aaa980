"""report: what it makes of data/experiments, with published figures beside, and what it keeps to itself."""

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

import report
from pipeline import paths, tables
from pipeline.errors import TableError
from report import experiments
from tests.projects import FLOOR, SCORES, SIMS, clips, content, film, ingest, measured, scored, write

pytestmark = pytest.mark.slow  # whole stages or figures, a second or more each

PAPER = Path(__file__).parents[2] / "shared" / "PAPER.txt"
SECRET = "they said <it>"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def row(label: str, difference: list[float] | None, tasks: list[str], **changed: Any) -> dict[str, Any]:
    return {
        "label": label, "network": "self_mm", "preset": "paper", "values": "mmsa",
        "changes": {"architecture": {"tasks": tasks}}, "setting": "unaligned",
        "scores": SCORES | {"std": {"mae": 0.0104}, "seeds": 5},
        "interval": {"mae": [0.6507, 0.7812], "corr": None},
        "difference": difference and {"mae": difference, "corr": None},
        "valid": {"mae": 0.70149, "std": 0.02},
        "contributions": {"text": {"masked": [0.4116, 0.0204], "shuffled": [-0.0004, 0.01]}},
        "heads": {"text": {"mae": 0.3446, "corr": None}},
    } | changed  # fmt: skip


def epoch(number: int, seeds: int, mae: float, corr: float = 0.8) -> dict[str, Any]:
    figures = {"mae": mae, "corr": corr, "control_mae": 0.344, "control_corr": 0.71, "offset_corr": 0.1}
    moved = {"shift": 0.3, "raw_shift": 0.4 if number > 1 else None}
    return {"epoch": number, "seeds": seeds, "text": figures | moved, "vision": figures | moved | {"mae": 0.2}}


def record(name: str, dataset: str = "mosi", **changed: Any) -> dict[str, Any]:
    """An experiment with two rows, the content of its JSON file."""
    made = {
        "name": name, "dataset": dataset, "convention": "mosi", "synthetic": False, "label_range": [-3, 3],
        "seeds": [1111, 1112], "reference": "MT",
        "rows": [row("M", [0.0123, -0.0034, 0.0311], []), row("MT", None, ["text"])],
        "floors": [
            {"label": "Train median", "scores": FLOOR, "note": None},
            {"label": "TF-IDF + ridge", "scores": None, "note": "the train split has no transcripts"},
        ],
        "ulabels": [{"label": "MT", "epochs": [epoch(1, 2, 0.344), epoch(2, 2, 0.427), epoch(3, 1, 0.1)]}],
    }  # fmt: skip
    return made | changed


def figure4(dataset: str = "mosi") -> dict[str, Any]:
    edges = [-3.5, -0.5, 0.5, 3.5]
    counted = [{"epoch": n, "text": [1, 2000, 3], "audio": [3, 2, 1]} for n in (1, 2)]
    return _figure("figure4", dataset, edges=edges, epochs=counted)


def figure5(dataset: str = "mosi") -> dict[str, Any]:
    clip = {"id": "v1/1", "text": SECRET, "label": 0.8, "prediction": 0.714, "text_u": -0.27, "audio_u": None,
            "vision_u": -0.21, "label_T": -1.0, "label_A": None, "label_V": None}  # fmt: skip
    return _figure("figure5", dataset, epoch=12, clips=[clip])


def _figure(name: str, dataset: str, **changed: Any) -> dict[str, Any]:
    tabular = ("rows", "floors", "ulabels", "reference")
    about = {key: value for key, value in record(name, dataset).items() if key not in tabular}
    return about | {"network": "self_mm", "preset": "paper", "values": "mmsa", "seed": 1112} | changed


def made(*records: dict[str, Any]) -> None:
    for one in records:
        tables.write_json(paths.experiment(one["dataset"], one["name"]), one)


def test_without_experiments_nothing_is_shown() -> None:
    scored("mosi")
    assert "Experiments" not in write()
    assert not list(paths.REPORT.glob("experiments.*"))


def test_a_table_has_our_rows_the_floors_and_what_was_published_on_the_data_set() -> None:
    scored("mosi")
    made(record("table4"))
    rows = _rows(experiments.text("mosi", "table4"))
    assert rows[0][0] == ["Model", "MAE", "Corr", "Acc-2", "F1", "Acc-5", "Acc-7", "Data setting", "Seeds", "Source"]
    assert rows[0][1][:2] + rows[0][1][7:] == [
        "M",
        "**0.713 ± 0.010**",
        "unaligned",
        "5",
        "ours: preset paper, values mmsa",
    ]
    assert rows[0][3][:3] + rows[0][3][-1:] == ["Train median", "1.456", "-", "floor"]
    assert rows[0][4][:2] == ["TF-IDF + ridge", "-"]
    assert rows[0][-1] == [
        "MTAV", "0.713", "0.798", "84.00 / 85.98", "84.42 / 85.95", "-", "-", "unaligned", "5", "Yu et al. 2021, Table 4",
    ]  # fmt: skip
    text = experiments.text("mosi", "table4")
    assert "TF-IDF + ridge: the train split has no transcripts." in text
    assert 'prints its column of MAE as "MSE"' in text


def compared() -> dict[str, Any]:
    """Three networks: TFN has the best Acc-5, MulT the best Corr, and both differ from Self-MM in one measure."""
    tfn = {"mae": 0.9, "corr": None, "acc2_nonneg": 0.78, "acc2_pos": 0.85976, "acc5": 0.5123}  # acc2_pos: 85.98 too
    mult = {"mae": 0.7136, "corr": 0.81, "acc2_pos": 0.8, "acc5": 0.4}
    rows = [
        row("TFN", [0.187, 0.102, 0.241], [], scores=SCORES | tfn | {"std": {}, "seeds": 5}),
        row("MulT", None, [], scores=SCORES | mult | {"std": {"mae": 0.0104, "corr": 0.02}, "seeds": 5})
        | {"difference": {"mae": [0.0, -0.004, 0.004], "corr": [0.012, 0.001, 0.03]}},
        row("Self-MM", None, []),
    ]
    return record("table1", rows=rows, reference="Self-MM")


def test_the_best_of_our_rows_is_bold_and_what_differs_from_the_reference_has_a_star() -> None:
    scored("mosi")
    made(compared())
    text = experiments.text("mosi", "table1")
    tfn, mult, self_mm, floor = (line[1:7] for line in _rows(text)[0][1:5])
    best = "**84.42** / **85.95**"  # all have it
    assert tfn == ["0.900*", "-", "78.00 / **85.98**", best, "**51.23**", "**45.79**"]
    assert mult == ["0.714 ± 0.010", "**0.810 ± 0.020***", "**84.00** / 80.00", best, "40.00", "**45.79**"]
    assert self_mm == ["**0.713 ± 0.010**", "0.798", "**84.00** / **85.98**", best, "50.00", "**45.79**"]
    assert "*" not in "".join(floor)
    assert (
        "Bold: the best of our rows. *: differs from Self-MM, the 95 % interval of the difference is without 0" in text
    )
    page = write()
    assert "<td>0.900*</td><td>-</td><td>78.00 / <strong>85.98</strong></td>" in page
    assert "<td><strong>0.810 ± 0.020</strong>*</td>" in page
    assert r"MulT & 0.714 $\pm$ 0.010 & \textbf{0.810 $\pm$ 0.020}* & \textbf{84.00} / 80.00" in _text(
        "experiments.tex"
    )
    assert not re.search(r"\*|bold|strong", _text("experiments.csv"))


def test_markdown_reads_a_bold_figure_with_a_star() -> None:
    assert MarkdownIt().renderInline("**0.810 ± 0.020***") == "<strong>0.810 ± 0.020</strong>*"


def test_a_row_alone_is_not_the_best() -> None:
    scored("mosi")
    made(record("table1", rows=[row("Self-MM", None, [])], reference="Self-MM"))
    table = experiments.text("mosi", "table1").split("\n**")[0]
    assert "Bold" not in table and "*" not in table.removeprefix("**Table 1: beside published figures, mosi**")


def test_asterisks_in_other_cells_are_left_alone() -> None:
    scored("mosi", redistribute=True)
    study = figure5()
    study["clips"][0]["text"] = "so **very** good"
    made(study)
    page = write(show_all=True)
    assert "so **very** good" in page and "so **very** good" in _text("experiments.tex")


def test_a_row_has_a_data_setting_of_its_own() -> None:
    scored("mosi")
    mfn = row("MFN", None, [], setting="unaligned, a share a token")
    made(record("table1", rows=[mfn, row("Self-MM", None, [])], reference="Self-MM"))
    rows = _rows(experiments.text("mosi", "table1"))[0]
    assert [line[7] for line in rows[1:3]] == ["unaligned, a share a token", "unaligned"]


def test_table_1_has_the_papers_and_mmsas_figures_with_their_own_digits() -> None:
    scored("mosi")
    made(record("table1"))
    rows = {(line[0], line[-1]): line for line in _rows(experiments.text("mosi", "table1"))[0]}
    tfn = rows["TFN (B)", "Yu et al. 2021, Table 1 (from Hazarika et al. 2020)"]
    assert tfn[1:5] == ["0.901", "0.698", "- / 80.8", "- / 80.7"]
    assert rows["Self-MM", "MMSA result-stat"][1:8] == [
        "0.708", "0.796", "83.44 / 85.46", "83.36 / 85.43", "53.47", "46.67", "unaligned",
    ]  # fmt: skip
    assert not any("Table 4" in source for _, source in rows)
    assert 'prints MFM (B) as "MFN (B)"' in experiments.text("mosi", "table1")


def test_a_data_set_that_nobody_published_on_has_no_rows_of_others() -> None:
    scored("mine")
    made(record("table1", "mine"))
    assert not re.search("Yu et al|MMSA", experiments.text("mine", "table1"))


def test_sims_has_its_own_columns_and_the_papers_table_3() -> None:
    ingest(({"name": "sims", "convention": "sims", "label_range": [-1, 1]}, clips("sims")))
    measured()
    ours = row("Self-MM", None, [], scores=SIMS | {"std": {}, "seeds": 1})
    made(record("table3", "sims", convention="sims", rows=[ours], floors=[], reference="Self-MM", ulabels=[]))
    rows = _rows(experiments.text("sims", "table3"))
    assert rows[0][0][1:7] == ["Acc-2", "F1", "Acc-3", "Acc-5", "MAE", "Corr"]
    assert [line[0] for line in rows[0][2:]] == ["TFN", "LMF", "Human-MM", "Self-MM"]
    assert rows[0][4] == [
        "Human-MM", "81.32", "81.73", "-", "-", "0.408", "0.647", "unaligned", "-", "Yu et al. 2021, Table 3",
    ]  # fmt: skip


def test_how_sure_the_figures_are_and_what_a_modality_adds() -> None:
    scored("mosi")
    made(record("table4"))
    text = experiments.text("mosi", "table4")
    _, certainty, contributions, heads, _ = _rows(text)
    assert certainty[0] == [
        "Row", "MAE, 95 %", "Corr, 95 %", "MAE against MT", "Corr against MT", "Validation MAE", "Changes",
    ]  # fmt: skip
    assert certainty[1] == [
        "M", "[0.651, 0.781]", "-", "+0.012 [-0.003, +0.031]", "-", "0.701 ± 0.020", "architecture.tasks: []",
    ]  # fmt: skip
    assert certainty[2][3] == "-"
    assert "bootstrap over videos" in text and "(1111, 1112)" in text
    assert contributions[:2] == [["Row", "text masked", "text shuffled"], ["M", "+0.412 ± 0.020", "+0.000 ± 0.010"]]
    assert heads[:2] == [["Row", "text MAE", "text Corr"], ["M", "0.345", "-"]]


def test_u_labels_against_truth_say_who_wins_in_the_last_epoch_of_all_seeds() -> None:
    scored("mosi")
    made(record("table4"))
    text = experiments.text("mosi", "table4")
    near = _rows(text)[-1]
    assert near[0][3:] == [
        "Modality", "MAE", "MAE of u = m", "Corr", "Corr of u = m", "Corr of offsets", "Shift, new", "Shift, average",
        "Nearer",
    ]  # fmt: skip
    assert near[1] == ["MT", "1", "2", "text", "0.344", "0.344", "0.800", "0.710", "0.100", "-", "0.300", "-"]
    assert [line[1] for line in near[1:]] == ["1", "1", "2", "2"]  # one seed alone reached the third
    assert [line[-1] for line in near[3:]] == ["u = m", "u-labels"]
    assert (
        "MT, epoch 2, u-labels against true labels: by MAE u = m wins in text, the u-labels win in vision; "
        "by Corr the u-labels win in every modality." in text
    )


def test_over_several_rows_it_is_counted_how_often_u_equal_m_wins() -> None:
    scored("mosi")
    entries = [
        {"label": label, "epochs": [epoch(1, 2, mae)]} for label, mae in (("M", 0.5), ("MT", 0.6), ("none", 0.1))
    ]
    made(record("table4", ulabels=[*entries, {"label": "no task", "epochs": [{"epoch": 1, "seeds": 2}]}]))
    text = experiments.text("mosi", "table4")
    assert "MT, epoch 1, u-labels against true labels: by MAE u = m wins in text" in text
    assert "Over 3 rows u = m is nearer by MAE in 2 of 6 cases" in text


def test_without_human_labels_the_shift_alone_is_told() -> None:
    scored("mosi")
    shift = {"mae": None, "corr": None, "control_mae": None, "shift": 0.3, "raw_shift": 0.4}
    made(record("ulgm", ulabels=[{"label": "MT", "epochs": [{"epoch": 2, "seeds": 2, "audio": shift}]}]))
    text = experiments.text("mosi", "ulgm")
    assert _rows(text)[-1] == [
        ["Row", "Epoch", "Seeds", "Modality", "Shift, new", "Shift, average"], ["MT", "2", "2", "audio", "0.400", "0.300"],
    ]  # fmt: skip
    assert "wins" not in text
    write()
    assert {file.name for file in paths.REPORT.glob("mosi-ulgm*")} == {"mosi-ulgm-shift.png"}


def test_the_figures() -> None:
    scored("mosi", redistribute=True)
    made(figure4(), figure5())
    (counts,) = _rows(experiments.text("mosi", "figure4"))
    assert counts[:2] == [["Epoch", "text", "audio"], ["1", "1 / 2,000 / 3", "3 / 2 / 1"]]
    (cases,) = _rows(experiments.text("mosi", "figure5"))
    assert cases == [
        ["Clip", "m-label", "prediction", "text", "vision", "true text", "Transcript"],
        ["v1/1", "+0.80", "+0.71", "-0.27", "-0.21", "-1.00", SECRET.replace("<", r"\<")],
    ]
    page = write()
    assert "Figure 4: distribution of the u-labels by epoch, mosi, seed 1112, the best by validation" in page
    assert "they said &lt;it&gt;" in page
    assert "<br>prediction +0.71<br>text -0.27<br>vision -0.21<br>true text -1.00" in re.sub(r"\n\s*", "", page)


@pytest.mark.slow
def test_the_page_has_every_experiment_in_the_papers_order() -> None:
    scored("mosi")
    made(figure5(), figure4(), *(record(name) for name in ("ulgm", "table4", "table3", "table1")))
    page = write()
    assert page.count("<h4>Experiments</h4>") == 1
    found = re.findall(r"(Table 1|Table 3|Table 4|ULGM|Figure 4|Figure 5): [^<]*, mosi", page)
    assert list(dict.fromkeys(found)) == ["Table 1", "Table 3", "Table 4", "ULGM", "Figure 4", "Figure 5"]
    assert "<td>+0.012 [-0.003, +0.031]</td>" in page
    assert {"mosi-table4-nearness.png", "mosi-table4-shift.png", "mosi-figure4.png"} <= _contents().keys()


def test_transcripts_and_pictures_stay_where_they_may_not_travel() -> None:
    film(scored("mosi"))
    made(figure5())
    assert "they said" not in experiments.text("mosi", "figure5")
    page = write()
    assert "they said" not in page + _text("experiments.md") + _text("experiments.tex")
    assert "image/jpeg" not in page
    assert "v1/1" in page
    shown = write(show_all=True)
    assert "they said" in shown and "image/jpeg" in shown


def test_synthetic_figures_say_so() -> None:
    scored("demo", synthetic=True)
    made(record("table4", "demo", synthetic=True), *(make("demo") | {"synthetic": True} for make in (figure4, figure5)))
    page = write()
    for table in _text("experiments.md").split("\n**")[1:]:
        assert "demo (synthetic demo)" in table and "Synthetic demo: the figures say" in table
    assert all("synthetic demo" in line for line in _text("experiments.csv").splitlines()[1:])
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert all(
        "demo (synthetic demo)" in caption for caption in captions if "Table 4" in caption or "Figure" in caption
    )


def test_a_row_named_like_a_formula_is_a_text_in_the_csv() -> None:
    scored("mosi")
    named = record("table4")
    named["rows"][0]["label"] = '=HYPERLINK("http://x")'
    made(named)
    write()
    labels = {line["row"] for line in csv.DictReader(_text("experiments.csv").splitlines())}
    assert """'=HYPERLINK("http://x")""" in labels
    assert not any(label.startswith("=") for label in labels)


def test_csv_and_latex_of_the_experiments() -> None:
    scored("mosi")
    made(record("table4"))
    write()
    lines = list(csv.DictReader(_text("experiments.csv").splitlines()))
    ours = next(line for line in lines if (line["row"], line["metric"]) == ("M", "mae"))
    assert (ours["value"], ours["std"], ours["low"], ours["difference"]) == ("0.713", "0.010", "0.651", "0.012")
    theirs = [line for line in lines if line["source"] == "Yu et al. 2021, Table 4" and line["metric"] == "mae"]
    assert [line["value"] for line in theirs] == [
        "0.730",
        "0.732",
        "0.728",
        "0.731",
        "0.719",
        "0.714",
        "0.712",
        "0.713",
    ]
    assert r"MTAV & 0.713 & 0.798 & 84.00 / 85.98" in _text("experiments.tex")


def test_the_same_inputs_give_the_same_bytes_and_nothing_stale() -> None:
    scored("mosi")
    made(record("table4"), figure4(), figure5())
    write()
    first = _contents()
    write()
    assert _contents() == first
    for name in ("table4", "figure4", "figure5"):
        paths.experiment("mosi", name).unlink()
    write()
    assert not [name for name in _contents() if "experiments" in name or "table4" in name]


def test_an_experiment_that_was_not_made_is_named() -> None:
    scored("mosi")
    with pytest.raises(TableError, match=r"data/experiments/mosi/table4.json is not there"):
        experiments.text("mosi", "table4")


@pytest.mark.skipif(not PAPER.is_file(), reason="needs the paper, which is not part of the project")
def test_published_figures_are_the_papers() -> None:
    lines = PAPER.read_text().splitlines()
    printed = [[re.sub(r"</?b>|\s", "", cell) for cell in line.split("\t")[1:]] for line in lines]
    with (Path(report.__file__).parent / "published.csv").open(newline="") as file:
        found = [line for line in csv.DictReader(file) if line["table"] != "mmsa"]
    assert len(found) == 11 + 11 + 4 + 8
    for line in found:
        pairs = [f"{line[f'{name}_nonneg'] or '-'}/{line[f'{name}_pos'] or '-'}" for name in ("acc2", "f1")]
        shares = [line["acc2"], line["f1"]] if line["table"] == "table3" else pairs
        figures = [figure or "-" for figure in (line["mae"], line["corr"], *shares)]
        start = 4 if line["dataset"] == "mosei" else 0
        assert any(cells[start : start + 4] == figures for cells in printed), line


def _rows(text: str) -> list[list[list[str]]]:
    """The cells of each Markdown table, without the rules."""
    parts = re.split(r"^\*\*.*\*\*$", text, flags=re.MULTILINE)[1:]
    lines = [[line for line in part.splitlines() if line.startswith("| ")] for part in parts]
    return [[[cell.strip() for cell in line[1:-1].split("|")] for line in found] for found in lines]


def _text(name: str) -> str:
    return (paths.REPORT / name).read_text()


def _contents() -> dict[str, bytes]:
    return content(paths.REPORT)
