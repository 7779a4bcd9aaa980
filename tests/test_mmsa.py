"""The field's files: MMSA's .pkl in, whatever wrote it, and out, as its loader takes it."""

import builtins
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from app import predict
from pipeline import assemble, features, params, paths, tables, text, transcribe
from pipeline.datasets import ingest
from pipeline.errors import DatasetError, ParamsError, TableError
from pipeline.mmsa import exporting, importing, pickles
from stages.__main__ import app
from tests import projects

ROOT = Path(__file__).parents[1]
SHAPES = {  # tokens, audio, vision as the field's files have them
    "mosi": (50, (375, 5), (500, 20)),
    "mosi_aligned": (50, (50, 5), (50, 20)),
    "mosei": (50, (500, 74), (500, 35)),
    "mosei_aligned": (50, (50, 74), (50, 35)),
    "sims": (39, (400, 33), (55, 709)),
    "simsv2": (50, (925, 25), (232, 177)),
}
WORDS = ["good", "bad", "fine", "great", "awful", "the", "movie", "was", "really", "not"]
IDS = dict(zip(WORDS, (2204, 2919, 2986, 2307, 9643, 1996, 3185, 2001, 2428, 2025), strict=True))  # bert-base-uncased's
SIZES = {"train": 6, "valid": 2, "test": 3}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAWMSA_CACHE", "cache")
    paths.RAW.mkdir(parents=True)
    _params("workers: 2", "workers: 1")
    return tmp_path


def _params(old: str, new: str) -> None:
    found = (paths.PARAMS if paths.PARAMS.is_file() else ROOT / "params.yaml").read_text()
    assert old in found
    paths.PARAMS.write_text(found.replace(old, new))


def made(shape: str, sizes: dict[str, int] = SIZES) -> dict[str, Any]:
    """The content of a file: float64, padded with zeros at the end, SIMS with unimodal labels, aligned without lengths."""
    length, audio, vision = SHAPES[shape]
    aligned, sims = shape.endswith("aligned"), shape.startswith("sims")
    rng, content = np.random.default_rng(0), {}
    for name, count in sizes.items():
        words = [rng.choice(WORDS, rng.integers(2, 9)).tolist() for _ in range(count)]
        bert = np.zeros((count, 3, length), np.float32)
        for row, spoken in zip(bert, words, strict=True):
            row[0, : len(spoken) + 2] = [101, *(IDS[word] for word in spoken), 102]
            row[1, : len(spoken) + 2] = 1
        lengths = {
            m: [len(w) + 2 if aligned else int(rng.integers(1, size[0] + 1)) for w in words]
            for m, size in (("audio", audio), ("vision", vision))
        }
        frames = {m: np.zeros((count, *size)) for m, size in (("audio", audio), ("vision", vision))}
        for m, padded in frames.items():
            for row, real in zip(padded, lengths[m], strict=True):
                row[:real] = rng.normal(3, 2, (real, padded.shape[2]))
        labels = np.round(rng.uniform(-1, 1, (4, count)) * 5) / 5
        content[name] = {
            "raw_text": [" ".join(spoken).upper() for spoken in words],
            "id": [f"{name}_{i // 2}$_${i % 2:02d}" for i in range(count)],
            "text": np.zeros((count, length, 768), np.float32),
            "text_bert": bert,
            **frames,
            **({} if aligned else {f"{m}_lengths": found for m, found in lengths.items()}),
            "annotations": [("Negative", "Neutral", "Positive")[int(np.sign(y)) + 1] for y in labels[0]],
            "classification_labels": np.sign(labels[0]),
            "regression_labels": labels[0].astype(np.float32),
        }
        if sims:
            content[name] |= {f"regression_labels_{m}": y for m, y in zip("TAV", labels[1:], strict=True)}
    return content


def written(content: Any, protocol: int = 4, file: str = "file.pkl") -> Path:
    Path(file).write_bytes(pickle.dumps(content, protocol))
    return Path(file)


def stages(*names: str) -> None:
    run = {
        "ingest": lambda: ingest.run(params.load("ingest", ingest.Params)),
        "transcribe": lambda: transcribe.run(params.load("transcribe", transcribe.Params)),
        "text": lambda: text.run(params.load("text", text.Params)),
        "audio": lambda: features.run("audio"),
        "vision": lambda: features.run("vision"),
        "assemble": assemble.run,
    }
    for name in names or run:
        run[name]()


def stored(modality: str, dataset: str) -> dict[str, dict[str, Any]]:
    table = tables.read(paths.imported(modality, dataset))
    rows = {row["id"]: row for row in table.to_pylist()}
    if modality != "text":
        for index, row in enumerate(rows.values()):
            row["x"] = tables.sequence(table["x"][index])
    return rows


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_the_field_becomes_a_data_set(shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = made(shape)
    importing.run(written(content), shape, {})
    told = capsys.readouterr().out
    assert f"import: {shape}: 11 clips (train 6, valid 2, test 3)" in told
    for modality in ("audio", "vision"):
        found = stored(modality, shape)
        assert list(found) == sorted(found)
        for split in content.values():
            aligned = shape.endswith("aligned")
            lengths = split["text_bert"][:, 1].sum(axis=1).astype(int) if aligned else split[f"{modality}_lengths"]
            for id, x, length in zip(split["id"], split[modality], lengths, strict=True):
                row = found[id.replace("$_$", "/")]
                np.testing.assert_array_equal(row["x"], x[:length].astype(np.float32))
                assert row["n_frames"] == length and row["status"] == "ok"
        metadata = tables.metadata(paths.imported(modality, shape))
        assert metadata["extractor"] == "imported" and metadata["rate_hz"] is None
        assert metadata["params"] == {"aligned": shape.endswith("aligned")}
        assert [column["name"] for column in metadata["columns"]][:2] == [f"{modality}_0", f"{modality}_1"]
    ids = stored("text", shape)["test_0/00"]["input_ids"]
    assert ids == [101, *(IDS[word] for word in content["test"]["raw_text"][0].lower().split()), 102]
    sheet = (paths.RAW / shape / "label.csv").read_text().splitlines()
    assert sheet[0] == "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode"
    cells = dict(zip(sheet[0].split(","), sheet[1].split(","), strict=True))
    assert (cells["video_id"], cells["clip_id"], cells["mode"]) == ("test_0", "00", "test")
    assert float(cells["label"]) == round(float(content["test"]["regression_labels"][0]), 1)
    assert bool(cells["label_V"]) == shape.startswith("sims")
    described = (paths.RAW / shape / "dataset.yaml").read_text()
    assert f"convention: {'sims' if shape.startswith('sims') else 'mosi'}" in described
    assert f"language: {'zh' if shape.startswith('sims') else 'en'}" in described


def test_counts_are_held_against_the_papers_table_2(capsys: pytest.CaptureFixture[str]) -> None:
    importing.run(written(made("mosi")), "mosi", {})
    assert "Table 2 of the paper has 1284, 229, 686: this file is another selection" in capsys.readouterr().out


def _variants(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    def each(change: Any) -> dict[str, Any]:
        return {name: change(dict(split)) for name, split in content.items()}

    arrays = ("text_bert", "audio", "vision")
    return {
        "fortran": each(lambda s: s | {m: np.asfortranarray(s[m]) for m in arrays}),
        "middle axis first": each(
            lambda s: s | {m: np.ascontiguousarray(s[m].transpose(1, 0, 2)).transpose(1, 0, 2) for m in arrays}
        ),
        "big endian": each(lambda s: s | {m: s[m].astype(s[m].dtype.newbyteorder(">")) for m in arrays}),
        "string arrays": each(lambda s: s | {"raw_text": np.array(s["raw_text"]), "id": np.array(s["id"])}),
        "object arrays": each(lambda s: s | {"raw_text": np.array(s["raw_text"], object)}),
        "numpy scalars": each(lambda s: s | {"audio_lengths": [np.int64(n) for n in s["audio_lengths"]]}),
        "length arrays": each(lambda s: s | {"vision_lengths": np.array(s["vision_lengths"])}),
        "label lists": each(lambda s: s | {"regression_labels": s["regression_labels"].tolist()}),
        "label columns": each(lambda s: s | {"regression_labels": s["regression_labels"][:, None]}),
    }


def _content(modality: str, dataset: str) -> Any:
    """A feature file without the times, which are not known: no NaN equals another."""
    table = tables.read(paths.imported(modality, dataset))
    return table.select([name for name in table.column_names if name != "times"])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_all_protocols_and_layouts_give_the_same(protocol: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "INLINE", 512)  # so that these small arrays stay in the file
    monkeypatch.setattr(pickles, "BLOCK", 1000)
    content = made("mosi", {"train": 3, "valid": 1, "test": 2})
    content = {name: split | {m: split[m][:, :20] for m in ("audio", "vision")} for name, split in content.items()}
    importing.run(written(content), "plain", {})
    for name, variant in _variants(content).items():
        dataset = f"{name}-{protocol}".replace(" ", "_")
        importing.run(written(variant, protocol), dataset, {})
        for modality in tables.MODALITIES:
            expected, found = (_content(modality, imported) for imported in ("plain", dataset))
            assert found.equals(expected), (name, modality)
        assert (paths.RAW / dataset / "label.csv").read_text() == (paths.RAW / "plain/label.csv").read_text(), name


def test_half_a_surrogate_pair_is_no_obstacle() -> None:
    content = made("mosi")
    content["train"]["raw_text"][0] = "good \ud854 movie"
    importing.run(written(content), "mosi", {})
    assert "good ? movie" in (paths.RAW / "mosi" / "label.csv").read_text()


def test_numpy_1_and_numpy_2_are_both_understood() -> None:
    raw = pickle.dumps(made("mosi"), 2)
    assert b"numpy._core.multiarray" in raw
    Path("old.pkl").write_bytes(raw.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    importing.run(Path("old.pkl"), "old", {})
    assert len(stored("audio", "old")) == 11


def test_a_frame_that_is_not_finite_is_masked() -> None:
    content = made("mosi")
    content["test"]["audio_lengths"][0] = 3
    content["test"]["audio"][0, 0, 1], content["test"]["audio"][0, 2, 0] = -np.inf, np.nan
    content["test"]["vision_lengths"][1] = 0
    importing.run(written(content), "mosi", {})
    row = stored("audio", "mosi")["test_0/00"]
    assert row["mask"] == [False, True, False] and np.isfinite(row["x"]).all()
    assert row["flags"] == ["frames that are not finite"]
    assert stored("vision", "mosi")["test_0/01"]["status"] == "absent"


MAKE = "from tests import test_mmsa; test_mmsa.make_large()"
IMPORT = """
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from pipeline.mmsa import importing
before = getrusage(RUSAGE_SELF).ru_maxrss
importing.run(Path("file.pkl"), "large", {})
print(getrusage(RUSAGE_SELF).ru_maxrss - before)
"""


def make_large() -> None:
    """300 MB of audio in C order and 70 MB of vision in Fortran order, float64; what one clip is in expected.npy."""
    sizes = {"train": 700, "valid": 100, "test": 100}
    content, rng = made("mosi", sizes), np.random.default_rng(0)
    for name, count in sizes.items():
        content[name] |= {"audio": rng.normal(size=(count, 500, 74)), "audio_lengths": [40] * count}
        content[name]["vision"] = np.asfortranarray(content[name]["vision"])
    index = content["train"]["id"].index("train_3$_$01")
    np.save("expected.npy", content["train"]["vision"][index, : content["train"]["vision_lengths"][index]])
    written(content, 5)


@pytest.mark.slow
def test_a_large_file_takes_little_memory() -> None:
    """In processes of their own: what this one has allocated must not count, nor stay."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for code in (MAKE, IMPORT):
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert Path("file.pkl").stat().st_size > 300 << 20
    assert int(done.stdout.split()[-1]) << 10 < 160 << 20, done.stdout
    found = stored("vision", "large")["train_3/01"]["x"]
    np.testing.assert_array_equal(found, np.load("expected.npy").astype(np.float32))


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def _hostile() -> dict[str, tuple[bytes, str]]:
    calls: dict[str, Call] = {
        rf"{os.system.__module__}\.system": Call(os.system, "touch hit"),
        r"(__builtin__|builtins)\.eval": Call(builtins.eval, "open('hit', 'w')"),
        r"(__builtin__|builtins)\.getattr": Call(getattr, "x", "join"),
        r"numpy\.memmap": Call(np.memmap, "hit", "f4", "w+", 0, (2,)),
        r"numpy\.(lib\._npyio_impl\.)?load": Call(np.load, "hit", None, True),
    }
    found = {f"{name} {p}": (pickle.dumps({"train": call}, p), name) for name, call in calls.items() for p in (2, 4)}
    dotted = b"\x80\x04\x8c\x05numpy\x8c\x14dtype.__subclasses__\x93)R."
    found["a path through an allowed name"] = (dotted, r"numpy\.dtype\.__subclasses__")
    found["old instance"] = (b"(ios\nsystem\n.", r"os\.system")
    changed = b"\x80\x02cnumpy.core.multiarray\nscalar\n}(X\x01\x00\x00\x00aK\x01ub."
    found["change of a function"] = (changed, "change an object of the type method")
    found["type"] = (b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00V8\x85R.", "array of the type 'V8'")
    found["codec"] = (
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.",
        "_codecs.encode with 'zip'",
    )
    return found


@pytest.mark.parametrize("name", _hostile())
def test_a_hostile_pickle_is_refused_by_what_it_tried(name: str) -> None:
    raw, tried = _hostile()[name]
    Path("hostile.pkl").write_bytes(raw)
    with pytest.raises(DatasetError, match=tried) as caught:
        importing.run(Path("hostile.pkl"), "mosi", {})
    assert "hostile.pkl is refused" in str(caught.value) and "Nothing of it was run." in str(caught.value)
    assert not Path("hit").exists() and list(paths.RAW.iterdir()) == []


def test_a_damaged_pickle_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pickle.dumps(made("mosi"), 4)
    claims_much = b"\x80\x04\x8e" + (1 << 60).to_bytes(8, "little") + b"."
    for raw in (b"", b"no pickle", whole[:-1], whole[: len(whole) // 2], whole[:2000], claims_much):
        Path("cut.pkl").write_bytes(raw)
        with pytest.raises(DatasetError, match=r"cut\.pkl is no pickle that can be read"):
            importing.run(Path("cut.pkl"), "mosi", {})
    flipped, rng = (
        bytearray(pickle.dumps(made("mosi", {"train": 1, "valid": 1, "test": 1}), 4)),
        np.random.default_rng(0),
    )
    monkeypatch.setattr(importing, "_write_features", lambda *_: {})
    for place in rng.integers(0, 1500, 100).tolist():
        Path("flipped.pkl").write_bytes(flipped[:place] + bytes([flipped[place] ^ 0x15]) + flipped[place + 1 :])
        try:
            importing.run(Path("flipped.pkl"), f"flipped{place}", {})
        except DatasetError:
            continue


def _without(content: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {name: {k: v for k, v in split.items() if k not in fields} for name, split in content.items()}


def test_what_is_no_mmsa_file_is_told_what_it_lacks() -> None:
    good = made("mosi")
    labels = {name: split | {"regression_labels": split["regression_labels"] * 5} for name, split in good.items()}
    ids = {name: split | {"id": [id.replace("$_$", "_") for id in split["id"]]} for name, split in good.items()}
    short = {name: split | {"id": split["id"][1:]} for name, split in good.items()}
    flat = {name: split | {"audio": split["audio"][:, 0]} for name, split in good.items()}
    cases: list[tuple[Any, str]] = [
        ([1, 2], "holds a list; expected a dict of train, valid and test"),
        ({"train": good["train"]}, "holds train; expected a dict"),
        (_without(good, "regression_labels"), "MMSA's files have regression_labels too"),
        (_without(good, "audio", "vision"), "MMSA's files have audio or vision too"),
        (_without(good, "audio_lengths"), "375 frames of audio a clip and no audio_lengths"),
        (short, "has 5 ids and 6 of"),
        (flat, "audio is no array of numbers"),
        (ids, r"expected <video_id>\$_\$<clip_id>"),
        (labels, "outside the range -3 to 3"),
    ]
    for content, message in cases:
        with pytest.raises(DatasetError, match=message):
            importing.run(written(content), "mosi", {})
        assert list(paths.RAW.iterdir()) == [], message
    importing.run(written(labels), "wide", {"label_range": (-5.0, 5.0)})
    with pytest.raises(DatasetError, match="data/raw/wide is there already"):
        importing.run(written(good), "wide", {})


@pytest.fixture
def assembled() -> dict[str, Any]:
    """An imported file through the stages; its content."""
    content = made("mosi")
    importing.run(written(content), "mosi", {})
    stages()
    return content


def test_the_stages_take_what_was_imported(assembled: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    table = tables.read_arrow(paths.table("mosi"))
    metadata = tables.metadata(table)
    assert table["id"].to_pylist() == sorted(id.replace("$_$", "/") for s in assembled.values() for id in s["id"])
    place = table["id"].to_pylist().index("train_1/01")
    index = assembled["train"]["id"].index("train_1$_$01")
    for modality, width in (("audio", 5), ("vision", 20)):
        length = assembled["train"][f"{modality}_lengths"][index]  # neither pooled nor cut to max_frames
        expected = assembled["train"][modality][index, :length].astype(np.float32)
        np.testing.assert_array_equal(tables.sequence(table[modality][place]), expected)
        assert len(metadata["statistics"][modality]["mean"]) == width
    assert table["input_ids"][place].as_py()[0] == 101
    assert table["split"][place].as_py() == "train"
    assert table["label"][place].as_py() == assembled["train"]["regression_labels"][index]
    assert metadata["policy"] == {
        "aligned": False,
        "pool": {"audio": 1, "vision": 1},
        "max_frames": {"audio": None, "vision": None},
    }
    settings = tables.read_json(paths.DATASETS)["mosi"]
    assert not settings["text_only"] and settings["labelled"] and settings["duplicates"] == []
    capsys.readouterr()
    stages("audio")
    assert capsys.readouterr().out == "audio: 11 clips: 0 computed, 0 from cache, 0 failed, 11 imported\n"


def test_a_row_less_is_a_clip_less_and_an_unknown_row_is_refused(assembled: dict[str, Any]) -> None:
    sheet = paths.RAW / "mosi" / "label.csv"
    lines = sheet.read_text().splitlines()
    sheet.write_text("\n".join([*lines[:3], *lines[4:], "new,1,good,1,,,,Positive,train"]))
    stages()
    assert len(tables.read_arrow(paths.table("mosi"))) == 10
    assert [row["message"] for row in tables.read(paths.REFUSED).to_pylist()] == [
        "data/raw/mosi/label.csv, line 12: data/raw/mosi/features has no clip new/1. "
        "Remove the row, or import the data set again."
    ]


def test_other_features_are_seen_by_the_stages(assembled: dict[str, Any]) -> None:
    before = {row["sha256"] for row in tables.read(paths.CLIPS).to_pylist()}
    (paths.RAW / "mosi").rename(paths.RAW / ".old")
    assembled["train"]["audio"][0, 0, 0] += 1
    importing.run(written(assembled), "mosi", {})
    stages("ingest")
    after = {row["sha256"] for row in tables.read(paths.CLIPS).to_pylist()}
    assert len(before) == len(after) == 1 and before != after


def test_tokens_of_another_vocabulary_are_refused() -> None:
    content = made("mosi")
    for split in content.values():
        split["text_bert"][:, 0] = np.where(split["text_bert"][:, 0] > 200, split["text_bert"][:, 0] + 7, 101)
    importing.run(written(content), "mosi", {})
    with pytest.raises(ParamsError, match=r"imported token ids are not those of the encoder packaged: of 11 texts, 0"):
        stages("ingest", "transcribe", "text")


def test_alignment_asks_for_an_aligned_file() -> None:
    _params("aligned: false", "aligned: true")
    importing.run(written(made("mosi_aligned")), "mosi", {})
    stages()
    table = tables.read_arrow(paths.table("mosi"))
    assert [len(x) for x in table["audio"]] == [len(ids) for ids in table["input_ids"]]
    importing.run(written(made("mosi")), "other", {})
    with pytest.raises(TableError, match="other's imported audio is neither aligned nor timed"):
        stages()


def loaded(file: Path, mode: str, dataset: str) -> dict[str, Any]:
    """What MMSA's data loader takes of a file for Self-MM (use_bert, unaligned), clip by clip."""
    data = pickle.loads(file.read_bytes())[mode]
    fields = {"text": data["text_bert"], "audio": data["audio"], "vision": data["vision"]}
    fields = {name: x.astype(np.float32) for name, x in fields.items()}
    fields["audio"][fields["audio"] == -np.inf] = 0
    labels = {"M": np.array(data["regression_labels"]).astype(np.float32)}
    if dataset == "sims":
        labels |= {m: data[f"regression_labels_{m}"].astype(np.float32) for m in "TAV"}
    samples = [
        {
            **{name: x[index] for name, x in fields.items()},
            "raw_text": data["raw_text"][index],
            "id": data["id"][index],
            "labels": {m: y[index].reshape(-1) for m, y in labels.items()},
            "audio_lengths": data["audio_lengths"][index],
            "vision_lengths": data["vision_lengths"][index],
        }
        for index in range(len(labels["M"]))
    ]
    return {"samples": samples, "annotations": data["annotations"], "shapes": {m: x.shape for m, x in fields.items()}}


@pytest.mark.parametrize("dataset", ["mosi", "sims"])
def test_the_peers_loader_takes_the_export(dataset: str, assembled: dict[str, Any]) -> None:
    if dataset == "sims":
        _params("zh: bert-base-chinese", "zh: packaged")
        importing.run(written(made("sims")), "sims", {})
        stages()
    exporting.run(dataset, None)
    table = tables.read_arrow(paths.table(dataset))
    rows = {id: index for index, id in enumerate(table["id"].to_pylist())}
    longest = {}
    for modality, column in (("text", "input_ids"), ("audio", "audio"), ("vision", "vision")):
        lengths = [len(cell) for cell in table[column]]
        longest[modality] = int(np.mean(lengths) + 3 * np.std(lengths))  # over all splits
    statistics = tables.metadata(table)["statistics"]
    for mode, size in SIZES.items():
        found = loaded(paths.EXPORT / f"{dataset}.pkl", mode, dataset)
        assert found["shapes"]["text"] == (size, 3, longest["text"])
        assert found["shapes"]["audio"][:2] == (size, longest["audio"])
        for sample, annotation in zip(found["samples"], found["annotations"], strict=True):
            row = rows[sample["id"].replace("$_$", "/")]
            ids = table["input_ids"][row].as_py()[: longest["text"]]
            assert sample["text"][:, : len(ids)].tolist() == [ids, [1] * len(ids), [0] * len(ids)]
            assert not sample["text"][:, len(ids) :].any()
            for modality in ("audio", "vision"):
                length = sample[f"{modality}_lengths"]
                x = tables.sequence(table[modality][row])
                assert 0 < length == min(len(x), longest[modality]) and type(length) is int
                scale = (np.array(statistics[modality][name], np.float32) for name in ("mean", "std"))
                mean, std = scale
                np.testing.assert_allclose(sample[modality][:length], ((x - mean) / std)[:length], rtol=1e-6)
                assert not sample[modality][length:].any()
            assert sample["labels"]["M"].item() == table["label"][row].as_py()
            assert ("T" in sample["labels"]) == (dataset == "sims")
            if dataset == "sims":
                assert sample["labels"]["V"].item() == table["label_V"][row].as_py()
            assert annotation == ("Negative", "Neutral", "Positive")[int(np.sign(sample["labels"]["M"].item())) + 1]
    assert "text" not in pickle.loads((paths.EXPORT / f"{dataset}.pkl").read_bytes())["train"]


def test_an_export_is_imported_as_it_was(assembled: dict[str, Any]) -> None:
    exporting.run("mosi", Path("out/mine.pkl"))
    importing.run(Path("out/mine.pkl"), "again", {})
    stages()
    first, again = (tables.read_arrow(paths.table(name)) for name in ("mosi", "again"))
    same = ["id", "video_id", "split", "label", "label_T", "transcript", "input_ids"]
    assert first.select(same).equals(again.select(same))
    exporting.run("again", Path("out/again.pkl"))
    one, two = (pickle.loads(Path(f"out/{name}.pkl").read_bytes()) for name in ("mine", "again"))
    for modality in ("audio", "vision"):
        padded = min(one["train"][modality].shape[1], two["train"][modality].shape[1])
        np.testing.assert_allclose(  # standardised twice is standardised once
            one["test"][modality][:, : padded // 2], two["test"][modality][:, : padded // 2], atol=0.05
        )


def test_ids_of_nested_folders_are_exported_and_imported(assembled: dict[str, Any]) -> None:
    sheet = paths.RAW / "words" / "label.csv"
    sheet.parent.mkdir()
    sheet.write_text("video_id,clip_id,text,label,mode\na/b,1,good,1,train\na/c,1,bad,-1,valid\nd,1,fine,0,test\n")
    stages()
    exporting.run("words", Path("words.pkl"))
    importing.run(Path("words.pkl"), "again", {})
    stages()
    for name in ("words", "again"):
        assert tables.read_arrow(paths.table(name))["id"].to_pylist() == ["a/b/1", "a/c/1", "d/1"]


def test_what_has_no_labels_or_lacks_a_modality(assembled: dict[str, Any]) -> None:
    sheet = paths.RAW / "mosi" / "label.csv"
    whole = sheet.read_text()
    sheet.write_text("\n".join(line for line in whole.splitlines() if not line.endswith(",valid")))
    (paths.RAW / "words").mkdir()
    (paths.RAW / "words" / "label.csv").write_text(
        "video_id,clip_id,text,label,mode\na,1,good,1,train\nb,1,bad,-1,valid\nc,1,fine,0,test\n"
    )
    stages()
    with pytest.raises(TableError, match="mosi has clips in test, train; MMSA needs train, valid and test"):
        exporting.run("mosi", None)
    exporting.run("words", None)
    sample = loaded(paths.EXPORT / "words.pkl", "test", "mosi")["samples"][0]
    assert sample["audio"].shape == (1, 1) and sample["audio_lengths"] == 1  # a length of 0 is none the peers can take
    assert sample["raw_text"] == "fine"


def test_a_video_is_not_predicted_by_a_run_on_imported_features(assembled: dict[str, Any]) -> None:
    about = tables.metadata(tables.read_arrow(paths.table("mosi")))
    made_of = projects.record("mosi", columns=about["columns"], extraction=about["extraction"])
    with pytest.raises(TableError, match="trained on imported vision features, which nothing here can extract"):
        predict.recipe("vision", made_of)


def test_videos_beside_imported_features_are_refused(assembled: dict[str, Any]) -> None:
    (paths.RAW / "mosi" / "one.mp4").write_bytes(b"video")
    stages("ingest")
    assert len(tables.read(paths.CLIPS)) == 11
    assert [row["reason"] for row in tables.read(paths.REFUSED).to_pylist()] == ["beside features"]


def test_damaged_features_are_a_refused_data_set(assembled: dict[str, Any]) -> None:
    paths.imported("audio", "mosi").write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match="features is damaged. Remove data/raw/mosi and import it again"):
        stages("ingest")


def refeatured(modality: str, rows: list[dict[str, Any]], inner: pa.DataType) -> None:
    """The features file of mosi with these rows, its frames of another Arrow type."""
    file = paths.imported(modality, "mosi")
    about = tables.read(file).schema
    schema = about.set(about.get_field_index("x"), pa.field("x", pa.list_(inner)))
    pq.write_table(pa.Table.from_pylist(rows, schema=schema).replace_schema_metadata(about.metadata), file)


def test_frames_of_several_widths_refuse_that_data_set_alone(
    assembled: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (paths.RAW / "words").mkdir()
    (paths.RAW / "words" / "label.csv").write_text("video_id,clip_id,text,label\nv,1,good,1\n")
    rows = tables.read(paths.imported("audio", "mosi")).to_pylist()
    rows[4]["x"] = [[*frame, 0.0, 0.0] for frame in rows[4]["x"]]
    refeatured("audio", rows, pa.list_(pa.float32()))
    stages()
    told = f"frames have 5 numbers (first in {rows[0]['id']}), 7 numbers (first in {rows[4]['id']}), expected 5 in each"
    (refused,) = tables.read(paths.REFUSED).to_pylist()
    assert (refused["dataset"], refused["reason"]) == ("mosi", "data set") and told in refused["message"]
    assert told in capsys.readouterr().out and tables.datasets_of(paths.TABLES) == ["words"]


@pytest.mark.parametrize("modality", ["vision", "text"])
def test_a_clip_that_one_features_file_lacks_is_kept_without_the_modality(
    assembled: dict[str, Any], modality: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = paths.imported(modality, "mosi")
    table = tables.read(file)
    lacking = table["id"].to_pylist()[2:5]
    kept = table.filter(pc.invert(pc.is_in(table["id"], pa.array(lacking))))
    pq.write_table(kept.take(list(reversed(range(len(kept))))), file)  # the order of the rows does not matter either
    stages()
    said = f"mosi: 3 clips without {modality}: features/{modality}.parquet lacks {', '.join(lacking)}."
    assert said in capsys.readouterr().out and not len(tables.read(paths.REFUSED))
    found = tables.read_arrow(paths.table("mosi"))
    column = "input_ids" if modality == "text" else modality
    sizes = dict(zip(found["id"].to_pylist(), map(len, found[column]), strict=True))
    assert len(sizes) == 11 and [id for id, size in sizes.items() if not size] == lacking


def test_values_that_are_no_features_are_masked_and_counted_by_column(capsys: pytest.CaptureFixture[str]) -> None:
    content = made("mosi")
    content["train"]["audio"][0, 0, 3] = 1e30
    content["train"]["audio"][0, 0, 1] = np.nan
    content["test"]["audio"][1, 0, 3] = -np.inf
    content["train"]["vision"][2, 0, 7] = 1e12
    importing.run(written(content), "mosi", {})
    told = capsys.readouterr().out
    assert (
        "import: audio: values that are NaN, infinite or beyond 1e+09: 3 in 2 columns (audio_3 2, audio_1 1)." in told
    )
    assert "Masked for it: 2 frames of 2 clips." in told and "vision: values" in told
    assert "1 in 1 column (vision_7 1). Masked for it: 1 frame of 1 clip." in told
    row = stored("audio", "mosi")["train_0/00"]
    assert row["mask"][:2] == [False, True] and not row["x"][0].any()
    stages()
    statistics = tables.metadata(tables.read_arrow(paths.table("mosi")))["statistics"]
    assert max(statistics["audio"]["std"] + statistics["vision"]["std"]) < 10, "no column is dead"


def test_an_imported_scale_has_its_neutral_label(capsys: pytest.CaptureFixture[str]) -> None:
    content = made("mosi")
    for split in content.values():
        split["regression_labels"] = split["regression_labels"] * 2 + 3
    done = CliRunner().invoke(
        app, ["import", str(written(content)), "--dataset", "own", "--label-range", "1", "5", "--neutral", "3"]
    )
    assert done.exit_code == 0, done.output
    stages()
    assert "kept less 3, so that 0 is neutral" in capsys.readouterr().out
    table = tables.read_arrow(paths.table("own"))
    about = tables.metadata(table)
    assert (about["label_range"], about["neutral"]) == ([-2, 2], 3) and pc.min(table["label"]).as_py() < 0


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    file = written(made("mosei_aligned"))
    options = ["--dataset", "own", "--convention", "mosi", "--language", "en", "--label-range", "-4", "4"]
    done = CliRunner().invoke(app, ["import", str(file), *options])
    assert done.exit_code == 0, done.output
    told = yaml.safe_load((paths.RAW / "own" / "dataset.yaml").read_text())
    assert told == {"language": "en", "convention": "mosi", "label_range": [-4.0, 4.0]}
    stages()
    assert CliRunner().invoke(app, ["export", "--dataset", "own", "--out", "own.pkl"]).exit_code == 0
    assert Path("own.pkl").is_file()
