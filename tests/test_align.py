"""Word alignment: frames averaged over each word and repeated for its tokens, by hand on small numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import assemble, paths, tables
from pipeline.assemble import align
from pipeline.errors import TableError
from pipeline.tables import Column, Frames, Word
from tests import projects

ROOT = Path(__file__).parents[1]
LEVEL = [Column("level", "1")]
NAN = np.nan


def frames(x: Any, times: Any, mask: Any = None) -> Frames:
    x = np.array(x, np.float32).reshape(len(times), -1)
    return Frames(np.array(times, float), x, np.ones(len(times), bool) if mask is None else np.array(mask))


def aligned(clip: Frames, said: list[align.Span], word: list[int], columns: list[Column] = LEVEL) -> np.ndarray:
    return assemble.shape_aligned(clip, columns, assemble.Spoken(said, word))


def test_a_word_is_the_mean_of_its_frames_repeated_for_its_pieces() -> None:
    clip = frames([1, 2, 3, 4, 5, 6], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    found = aligned(clip, [(0.0, 0.2), (0.2, 0.6)], [-1, 0, 1, 1, -1])  # the start belongs to a word, the end does not
    np.testing.assert_allclose(found[:, 0], [NAN, 1.5, 4.5, 4.5, NAN])


def test_a_word_with_no_frame_inside_takes_the_nearest() -> None:
    clip = frames([1, 2, 3], [0.0, 1.0, 2.0])
    found = aligned(clip, [(0.5, 0.9), (1.4, 1.5), (5.0, 6.0)], [0, 1, 2])
    np.testing.assert_allclose(found[:, 0], [2, 2, 3])


def test_what_is_not_there_is_left_out_of_a_word() -> None:
    clip = frames([1, 5, 3, 9], [0.0, 0.1, 0.2, 0.3], [True, False, True, False])
    found = aligned(clip, [(0.0, 0.3), (0.3, 0.4)], [-1, 0, 1])
    np.testing.assert_allclose(found[:, 0], [NAN, 2.0, NAN])  # no face during a word: nothing of another's


def test_angles_take_the_circular_mean_and_frequencies_their_logarithm() -> None:
    columns = [Column("roll", "rad", "angle"), Column("F0", "Hz", "frequency"), Column("yaw", "rad", "angle")]
    x = [[np.pi - 0.1, 100, 0.0], [-np.pi + 0.3, 400, 1.0], [0.0, 0, 0.0], [np.pi, 50, 1.0]]
    found = aligned(frames(x, [0, 1, 2, 3]), [(0, 2), (2, 4)], [0, 1], columns)
    np.testing.assert_allclose(np.arctan2(found[0, 0], found[0, 1]), -np.pi + 0.1, atol=1e-6)
    np.testing.assert_allclose(np.hypot(found[0, 0], found[0, 1]), 1, atol=1e-6)
    np.testing.assert_allclose(found[:, 2], np.log([200, 50]), rtol=1e-6)  # unvoiced is no pitch of 0
    np.testing.assert_allclose(np.arctan2(found[:, 3], found[:, 4]), [0.5, 0.5], atol=1e-6)
    assert np.isnan(found[1, :2]).all()  # 0 and pi: no direction is their mean


def test_without_tokens_or_frames_there_is_nothing() -> None:
    clip = frames([1, 2], [0.0, 0.1])
    assert aligned(clip, [], []).shape == (0, 1)
    assert aligned(Frames.none(1), [(0.0, 1.0)], [-1, 0, -1]).shape == (0, 1)
    assert aligned(frames([1, 2], [0.0, 0.1], [False, False]), [(0.0, 1.0)], [-1, 0, -1]).shape == (0, 1)


def word(start: float | None, end: float | None) -> Word:
    return Word("w", start, end)


def test_words_without_times_share_the_clip() -> None:
    assert align.spans([word(0.1, 0.4), word(0.5, 1.0)], 4.0) == [(0.1, 0.4), (0.5, 1.0)]
    assert align.spans([word(None, None)] * 4, 2.0) == [(0.0, 0.5), (0.5, 1.0), (1.0, 1.5), (1.5, 2.0)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clips of three frames of sound and two words each: the first clip's are timed."""
    monkeypatch.chdir(tmp_path)
    paths.PARAMS.write_text((ROOT / "params.yaml").read_text().replace("aligned: false", "aligned: true"))
    made([[word(0.0, 0.1), word(0.1, 0.3)], [word(None, None)] * 2], ["no word times", "nothing heard"])


def made(words: list[list[Word]], flags: Sequence[str] = ()) -> None:
    ids = ["a/0", "b/0"]
    there = {"dataset": "d", "clip_id": "0", "path": "x.mp4", "seconds": 0.3, "has_audio": True, "has_vision": False}
    clips = [{**there, "id": id, "video_id": id[0], "status": "ok", "flags": []} for id in ids]
    tables.write(paths.CLIPS, tables.rows(tables.CLIPS, clips))
    labels = [{"dataset": "d", "id": id, "split": "train", "label": 1.0} for id in ids]
    tables.write(paths.LABELS, tables.rows(tables.LABELS, labels))
    facts = {"convention": "mosi", "label_range": [-3, 3], "language": "en", "synthetic": True, "labelled": True}
    facts |= {"redistribute": False, "split": "mode"}
    tables.write_json(paths.DATASETS, {"d": facts})
    said = [
        {
            "id": id,
            "text": "w w",
            "spoken": "w w",
            "source": "label",
            "words": [vars(one) for one in found],
            "flags": flags,
        }
        for id, found in zip(ids, words, strict=True)
    ]
    tables.write(paths.transcripts("d"), tables.rows(tables.TRANSCRIPTS, said))
    ones = {"attention_mask": [1] * 4, "token_type_ids": [0] * 4, "word": [-1, 0, 1, -1], "total": 4}
    tokens = [{"id": id, "input_ids": [101, 5, 5, 102], **ones} for id in ids]
    encoder = {"encoder": "packaged", "encoder_sha256": "0"}
    tables.write(paths.features("text", "d"), tables.rows(tables.TOKENS, tokens), encoder)
    for modality, x in (("audio", [[1.0], [2.0], [4.0]]), ("vision", [])):
        row = {
            "status": "ok",
            "flags": [],
            "n_frames": len(x),
            "times": [0.0, 0.1, 0.2][: len(x)],
            "mask": [True] * len(x),
        }
        rows = tables.rows(tables.features_schema(1), [{"id": id, "x": x, **row} for id in ids])
        columns = [{"name": "level", "unit": "1", "kind": "value"}]
        projects.write_features(modality, "d", rows, {"extractor": "made", "columns": columns})


def test_an_aligned_table_has_a_frame_a_token(project: None, capsys: pytest.CaptureFixture[str]) -> None:
    assemble.run()
    table = tables.read_arrow(paths.table("d"))
    np.testing.assert_allclose(tables.sequence(table["audio"][0])[:, 0], [NAN, 1, 3, NAN])
    np.testing.assert_allclose(tables.sequence(table["audio"][1])[:, 0], [NAN, 1.5, 4, NAN])  # .15 s a word
    assert tables.metadata(table)["policy"]["aligned"] is True
    assert "1 clips' words could not be timed, they share the clip's length evenly" in capsys.readouterr().out


def test_word_times_that_nobody_asked_for_are_an_error(project: None) -> None:
    made([[word(0.0, 0.1), word(0.1, 0.3)], [word(None, None)] * 2])
    with pytest.raises(
        TableError, match=r"1 of 2 transcripts of d have no word times\. Set transcribe.word_times to true"
    ):
        assemble.run()
