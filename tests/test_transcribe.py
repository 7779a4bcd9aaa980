"""transcribe: whose words count, what the recogniser hears, and the times of words."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import media, params, paths, tables, transcribe
from pipeline.errors import AssetError
from pipeline.flags import Flag, Flagged
from pipeline.tables import ClipRow, Cue, TextRow, Word
from pipeline.transcribe import recogniser, trust, words
from pipeline.transcribe.recogniser import Heard, Passage
from tests import clips

ROOT = Path(__file__).parents[1]
GRID = ROOT.parent / "shared" / "clips" / "talking" / "grid" / "lbax4n.mpg"
OPTIONS = params.load("transcribe", transcribe.Params, ROOT / "params.yaml")
TIMED = OPTIONS.model_copy(update={"word_times": True})
SENTENCE = "the weather was lovely this morning"


def clip_row(clip_id: str, path: Path | None = None, dataset: str = "films", **changes: Any) -> ClipRow:
    row = ClipRow(dataset=dataset, id=f"v/{clip_id}", video_id="v", clip_id=clip_id, seconds=4.0, sha256=clip_id)
    return replace(row, **{"path": str(path) if path else None, "has_audio": path is not None} | changes)


def text_row(clip: ClipRow, text: str | None = None, source: str | None = None, **changes: Any) -> TextRow:
    return TextRow(
        **{"dataset": clip.dataset, "id": clip.id, "language": "en", "source": source, "text": text} | changes
    )


def heard_words(*timed: tuple[str, float, float]) -> list[Word]:
    return [part for word, start, end in timed for part in words.timed(word, start, end, 0.5)]


def speak(path: Path, sentence: str, voice: str = "gmw/en") -> Path:
    """A clip of sound alone, in which espeak-ng says the sentence."""
    pytest.importorskip("espeakng_loader", reason="the extra `demo` is not installed")
    asked = {"text": sentence, "voice": voice, "seed": 1, "settings": {"rate": 140}}
    espeak = ROOT / "pipeline" / "demo" / "espeak.py"
    answer = subprocess.run(
        [sys.executable, espeak], input=json.dumps(asked).encode(), stdout=subprocess.PIPE, check=True
    )
    rate, samples = int.from_bytes(answer.stdout[:4], "little"), np.frombuffer(answer.stdout[4:], np.int16)
    with av.open(str(path), "w", format="mp4") as container:
        track = container.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], "s16", "mono")
        frame.sample_rate = rate
        container.mux([*track.encode(frame), *track.encode(None)])
    return path


# The normaliser.


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("THEY DIDNT REALLY", "they didnt really"),
        ("They didn’t, really!", "they didnt really"),
        ("  Don't\tstop…\nit´s  ok ", "dont stop its ok"),
        ("a well-known 3D film", "a well known 3d film"),
        ("Ｃafe\u0301 № 1", "café no 1"),
        ("我不喜欢，这部电影。", "我不喜欢 这部电影"),
        ("“...” — !?", ""),
    ],
)
def test_one_form_for_every_source(found: str, expected: str) -> None:
    assert words.normalise(found) == expected


def test_a_chinese_character_is_a_word_of_its_own_with_its_own_time() -> None:
    assert words.split("我不喜欢，ok 3部电影。") == ["我", "不", "喜", "欢", "ok", "3", "部", "电", "影"]
    heard = heard_words(("我不", 1.0, 2.0), ("喜欢", 2.0, 4.0))
    found = words.align(words.split("我不喜欢"), heard, seconds=5.0)
    assert [(word.start, word.end) for word in found] == [(1.0, 1.5), (1.5, 2.0), (2.0, 3.0), (3.0, 4.0)]


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = words.normalise(text)
    assert words.normalise(once) == once


@given(st.text())
def test_words_are_what_spaces_part(text: str) -> None:
    once = words.normalise(text)
    assert once == " ".join(once.split())


# Whose words count.

GOOD_FILM = heard_words(("Good", 0.5, 1.0), ("film", 1.0, 1.5))


def passage(said: list[Word], spoken: str, probability: float = 0.9) -> Passage:
    return Passage([replace(word, probability=probability) for word in said], spoken, no_speech=0.1)


def heard(*passages: Passage, **changes: Any) -> Heard:
    return Heard(**{"passages": list(passages), "voiced": [(0.5, 1.5)]} | changes)


HEARD = heard(passage(GOOD_FILM, "Good film."))


def test_the_label_files_words_come_before_heard_ones() -> None:
    clip = clip_row("1", Path("v/1.mp4"))
    row = transcribe.transcript(clip, text_row(clip, "A GOOD FILM", "label"), HEARD, TIMED)
    assert (row.source, row.text, row.spoken) == ("label", "a good film", "A GOOD FILM")


def test_without_written_words_the_heard_ones_count() -> None:
    clip = clip_row("1", Path("v/1.mp4"))
    row = transcribe.transcript(clip, text_row(clip), HEARD, OPTIONS)
    assert (row.source, row.text, row.spoken) == ("recogniser", "good film", "Good film.")
    assert (row.model, row.confidence, row.no_speech, row.flags) == ("packaged", pytest.approx(0.9), 0.1, ())


def test_a_text_of_punctuation_alone_is_no_text() -> None:
    clip = clip_row("1", Path("v/1.mp4"))
    assert transcribe.wanted(text_row(clip, "...", "label"), OPTIONS)
    assert transcribe.transcript(clip, text_row(clip, "...", "label"), HEARD, OPTIONS).source == "recogniser"


def test_cues_give_their_words_times_by_length() -> None:
    clip = clip_row("1", Path("v/1.mp4"))
    cues = [Cue(0.0, 1.0, "A cat"), Cue(2.0, 3.0, "sat.")]
    text = text_row(clip, None, "sidecar", cues=cues)
    assert not transcribe.wanted(text, TIMED)
    row = transcribe.transcript(clip, text, None, OPTIONS)
    assert (row.source, row.text, row.spoken) == ("sidecar", "a cat sat", "A cat sat.")
    assert [(w.start, w.end) for w in row.words] == [(0.0, 0.25), (0.25, 1.0), (2.0, 3.0)]
    assert all(w.interpolated for w in row.words)


@pytest.mark.parametrize(
    ("clip", "language", "options", "reason"),
    [
        (clip_row("1"), "en", {}, "no media"),
        (clip_row("1", Path("v/1.mp4"), has_audio=False), "en", {}, "no sound"),
        (clip_row("1", Path("v/1.mp4")), "zh", {}, "the packaged recogniser hears English only"),
        (clip_row("1", Path("v/1.mp4")), "en", {"recogniser": "none"}, "no recogniser"),
    ],
)
def test_a_clip_that_cannot_be_heard_is_empty_and_says_why(
    clip: ClipRow, language: str, options: dict[str, Any], reason: str
) -> None:
    chosen = OPTIONS.model_copy(update=options)
    row = transcribe.transcribe(clip, text_row(clip, language=language), chosen, threads=1)
    assert (row.text, row.source, list(map(str, row.flags))) == ("", "none", ["no transcript", reason])


def test_written_words_without_times_say_why() -> None:
    clip = clip_row("1")
    row = transcribe.transcribe(clip, text_row(clip, "A GOOD FILM", "label"), TIMED, threads=1)
    assert (row.text, list(map(str, row.flags))) == ("a good film", ["no word times", "no media"])
    assert all(word.start is None for word in row.words)


# Whether what was heard is a text.

LOOP = passage(heard_words(*((word, at, at + 1) for at, word in enumerate(["thank", "you"] * 5))), "Thank you, " * 5)


@pytest.mark.parametrize(
    ("found", "flag"),
    [
        (heard(passage(GOOD_FILM, "Good film.", probability=0.5)), "words not trusted: confidence below 0.6"),
        (heard(LOOP), "words not trusted: repetition"),
        (heard(*HEARD.passages, language="zh", language_probability=0.98), "words not trusted: speech in zh"),
    ],
)
def test_words_that_are_not_trusted_are_no_transcript_and_give_no_times(found: Heard, flag: str) -> None:
    clip = clip_row("1", Path("v/1.mp4"))
    row = transcribe.transcript(clip, text_row(clip), found, OPTIONS)
    assert (row.text, row.spoken, row.source, row.words) == ("", "", "none", [])
    assert [str(flag) for flag in row.flags] == ["no transcript", flag]
    assert row.heard == found.spoken
    assert row.confidence == pytest.approx(found.words[0].probability)
    written = transcribe.transcript(clip, text_row(clip, "A GOOD FILM", "label"), found, TIMED)
    assert (written.text, [str(flag) for flag in written.flags]) == ("a good film", ["no word times", flag])
    assert all(word.start is None for word in written.words)


def test_a_passage_that_is_not_trusted_is_left_out_and_the_others_stay() -> None:
    clip = clip_row("1", Path("v/1.mp4"))
    row = transcribe.transcript(clip, text_row(clip), heard(*HEARD.passages, LOOP), OPTIONS)
    assert (row.text, row.spoken, row.heard) == ("good film", "Good film.", LOOP.spoken)
    assert list(map(str, row.flags)) == ["words left out in part of the sound", "words not trusted: repetition"]


def test_a_language_that_is_uncertain_or_the_data_sets_changes_nothing() -> None:
    for changes in ({"language": "zh", "language_probability": 0.3}, {"language": "en", "language_probability": 0.9}):
        assert trust.trusted(heard(*HEARD.passages, **changes), "en", OPTIONS) == (HEARD.passages, ())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("no no no no", False),
        ("please " * 112, True),
        ("see you in the next video and i will " * 3, True),
        ("it was good it was really good and i would see it again", False),
        ("well " + "thank you " * 6, True),
    ],
)
def test_loops_are_told_from_emphasis(said: str, expected: bool) -> None:
    assert trust.looped(said.split()) is expected


# The times of words.


def test_words_lie_where_somebody_speaks_and_take_time() -> None:
    said = heard_words(("happy", 0.6, 1.6), ("children", 3.8, 5.2), ("problem", 8.3, 8.3), ("kitchen", 9.2, 9.3))
    found = words.inside(said, [(1.0, 1.5), (4.5, 5.0), (7.0, 7.5), (9.0, 9.5)])
    assert [(word.start, word.end) for word in found] == [(1.0, 1.5), (4.5, 5.0), (7.0, 7.5), (9.0, 9.5)]
    assert [word.interpolated for word in found] == [False, False, True, False]
    assert {word.probability for word in found} == {0.5}


def test_a_word_without_length_shares_its_neighbours_time_alone() -> None:
    said = heard_words(("a", 0.0, 1.0), ("good", 1.0, 1.6), ("film", 1.6, 1.6), ("yes", 1.6, 2.0))
    found = words.inside(said, [(0.0, 2.0)])
    assert [(word.start, word.end) for word in found] == [(0.0, 1.0), (1.0, 1.3), (1.3, 1.6), (1.6, 2.0)]
    assert [word.interpolated for word in found] == [False, True, True, False]


EDGES = st.lists(st.integers(0, 400), min_size=2, max_size=16, unique=True).map(sorted)


@given(EDGES, EDGES)
def test_words_never_lie_in_silence_or_run_backwards(edges: list[int], spans: list[int]) -> None:
    voiced = [(a / 20, b / 20) for a, b in zip(spans[::2], spans[1::2], strict=False)]
    said = heard_words(*((f"w{a}", a / 20, b / 20) for a, b in zip(edges, edges[1:], strict=False)))
    found = words.inside(said, voiced)
    assert [word.word for word in found] == [word.word for word in said]
    assert all(any(first <= w.start < w.end <= last for first, last in voiced) for w in found if w.start is not None)
    times = [time for word in found for time in (word.start, word.end)]
    assert times == sorted(times)


def test_equal_words_take_the_heard_times() -> None:
    found = words.align(["good", "film"], HEARD.words, seconds=4.0)
    assert found == HEARD.words
    assert not any(word.interpolated for word in found)


def test_a_word_heard_otherwise_takes_the_time_of_what_was_heard() -> None:
    heard = heard_words(("a", 0, 1), ("food", 1, 2), ("film", 2, 3))
    found = words.align(["a", "good", "film"], heard, seconds=4.0)
    assert (found[1].start, found[1].end) == (1.0, 2.0)
    assert [word.interpolated for word in found] == [False, True, False]
    assert found[1].probability is None


def test_words_not_heard_lie_between_their_neighbours() -> None:
    heard = heard_words(("good", 1, 2), ("film", 3, 3.5))
    found = words.align(["a", "good", "old", "film", "yes"], heard, seconds=4.0)
    assert [(w.start, w.end) for w in found] == [(0, 1), (1, 2), (2, 3), (3, 3.5), (3.5, 4)]
    assert [w.interpolated for w in found] == [True, False, True, False, True]


def test_words_only_heard_are_left_out() -> None:
    heard = heard_words(("um", 0, 1), ("good", 1, 2), ("er", 2, 3), ("film", 3, 4))
    assert [w.start for w in words.align(["good", "film"], heard, seconds=4.0)] == [1, 3]


WORDS = st.lists(st.sampled_from(["a", "good", "bad", "film"]), min_size=1, max_size=12)


@given(WORDS, WORDS)
def test_times_never_run_backwards(written: list[str], said: list[str]) -> None:
    heard = heard_words(*((word, float(i), i + 0.8) for i, word in enumerate(said)))
    found = words.align(written, heard, seconds=len(said))
    times = [time for word in found for time in (word.start, word.end)]
    assert [word.word for word in found] == written
    assert times == sorted(times)
    assert times[0] >= 0 and times[-1] <= len(said)


def test_a_heard_number_is_two_words_that_share_its_time() -> None:
    assert [(w.word, w.start, w.end) for w in words.timed(" 9.5,", 1.0, 2.0, 0.9)] == [
        ("9", 1.0, 1.5),
        ("5", 1.5, 2.0),
    ]


# The recogniser.


def test_nobody_speaks_in_silence_and_noise() -> None:
    noise = 0.1 * np.random.default_rng(1).standard_normal(2 * media.SAMPLE_RATE)
    for sound in (np.zeros(2 * media.SAMPLE_RATE), np.zeros(0), noise):
        found = recogniser.hear(sound.astype(np.float32), "en", OPTIONS, threads=1)
        assert trust.trusted(found, "en", OPTIONS) == ([], (Flagged(Flag.NOBODY_SPEAKS),))


@pytest.mark.parametrize(
    ("sentence", "voice"),
    [
        ("今天天气不太好，我们待在家里吧。", "cmn"),
        ("Die Geschichte war so langweilig, dass ich fast eingeschlafen bin.", "de"),
        ("Ayer paseamos por el parque y vimos muchas flores.", "es"),
    ],
)
def test_speech_in_a_language_that_the_recogniser_cannot_write_is_no_text(
    tmp_path: Path, sentence: str, voice: str
) -> None:
    found = recogniser.hear(media.sound(speak(tmp_path / "1.mp4", sentence, voice)), "en", OPTIONS, threads=1)
    kept, flags = trust.trusted(found, "en", OPTIONS)
    assert (kept, [str(flag).partition(":")[0] for flag in flags]) == ([], ["words not trusted"])


def test_words_said_3_s_apart_are_heard_where_they_are_said(tmp_path: Path) -> None:
    rate, second = media.SAMPLE_RATE, np.zeros(media.SAMPLE_RATE, np.float32)
    parts, put, at = [], [], 0
    for word in ("happy", "children", "doctor"):
        said = np.trim_zeros(media.sound(speak(tmp_path / f"{word}.mp4", word)))
        parts += [second, said, second, second]
        put.append(((at + rate) / rate, (at + rate + len(said)) / rate))
        at += 3 * rate + len(said)
    found = recogniser.hear(np.concatenate(parts), "en", OPTIONS, threads=1).words
    assert len(found) == 3
    for word, (start, end) in zip(found, put, strict=True):
        assert start - 0.1 < (word.start or 0) < (word.end or 0) < end + 0.1


def test_looped_speech_is_no_text(tmp_path: Path) -> None:
    sound = media.sound(speak(tmp_path / "1.mp4", "please"))
    found = recogniser.hear(np.resize(np.trim_zeros(sound), 15 * media.SAMPLE_RATE), "en", OPTIONS, threads=1)
    assert trust.trusted(found, "en", OPTIONS)[0] == []


@pytest.mark.skipif(not GRID.is_file(), reason="needs a GRID clip of ../shared")
def test_a_real_speaker_is_heard() -> None:
    found = recogniser.hear(media.sound(GRID), "en", OPTIONS, threads=1)
    assert [word.word for word in found.words][:3] == ["lay", "blue", "at"]
    assert trust.trusted(found, "en", OPTIONS) == (found.passages, ())


def test_a_recogniser_that_cannot_be_had_says_what_to_do() -> None:
    with pytest.raises(AssetError, match=r"asks for tiny\.xx, which cannot be had: Invalid model") as error:
        recogniser.folder("tiny.xx")
    assert "Set it to packaged, to none or to the folder" in str(error.value)


# The stage.


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAWMSA_CACHE", str(tmp_path / "cache"))
    shutil.copy(ROOT / "params.yaml", paths.PARAMS)
    return tmp_path


def ingested(*pairs: tuple[ClipRow, TextRow]) -> None:
    tables.write(paths.CLIPS, tables.table_of(ClipRow, [clip for clip, _ in pairs]))
    tables.write(paths.TEXTS, tables.table_of(TextRow, [text for _, text in pairs]))


def transcripts(dataset: str = "films") -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in tables.read(paths.transcripts(dataset)).to_pylist()}


@pytest.mark.slow
def test_the_stage_hears_the_clips_without_words_each_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "broken.mp4").write_bytes(b"no video")
    unwritten = [
        clip_row("spoken", speak(project / "spoken.mp4", SENTENCE)),
        clip_row("equal", project / "spoken.mp4", sha256="spoken"),
        clip_row("silent", clips.make(project / "silent.mp4", tone=0)),
        clip_row("broken", project / "broken.mp4"),
    ]
    written = [clip_row("labelled", project / "never_opened.mp4"), clip_row("alone", dataset="texts")]
    ingested(
        *((clip, text_row(clip)) for clip in unwritten),
        *((clip, text_row(clip, "A GOOD FILM", "label")) for clip in written),
    )
    transcribe.run(OPTIONS)

    told = "6 clips: 2 label, 2 none, 2 recogniser; 2 computed, 1 from cache, 1 failed (1 no sound read)"
    assert told in capsys.readouterr().out
    rows = transcripts()
    assert rows["v/spoken"]["text"].endswith("was lovely this morning")
    assert all(0 <= word["start"] <= word["end"] < 10 for word in rows["v/spoken"]["words"])
    assert rows["v/equal"] == rows["v/spoken"] | {"id": "v/equal"}
    assert rows["v/silent"]["flags"] == ["no transcript", "nobody speaks"]
    assert rows["v/broken"]["flags"] == ["no transcript", "recognition failed: no sound read"]
    assert transcripts("texts")["v/alone"]["text"] == "a good film"
    assert tables.metadata(paths.transcripts("films")) == {"dataset": "films", "language": "en"}


@pytest.mark.slow
def test_a_new_text_hears_nothing_and_another_beam_hears_anew(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = clip_row("1", clips.make(project / "1.mp4", tone=0))
    written, gone = clip_row("2"), clip_row("3", dataset="gone")
    unheard = (silent, text_row(silent))
    ingested(unheard, (written, text_row(written, "A GOOD FILM", "label")), (gone, text_row(gone)))
    transcribe.run(OPTIONS)
    assert "1 computed, 0 from cache" in capsys.readouterr().out

    ingested(unheard, (written, text_row(written, "A BAD FILM", "label")))
    transcribe.run(OPTIONS)
    assert "0 computed, 1 from cache" in capsys.readouterr().out
    assert transcripts()["v/2"]["text"] == "a bad film"
    assert tables.datasets_of(paths.TRANSCRIPTS) == ["films"]

    before = paths.transcripts("films").read_bytes()
    transcribe.run(OPTIONS.model_copy(update={"beam_size": 1}))
    assert "1 computed, 0 from cache" in capsys.readouterr().out
    assert paths.transcripts("films").read_bytes() == before


def test_without_the_extra_asr_clips_are_flagged_and_one_line_says_what_to_install(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recogniser, "find_spec", lambda name: None)
    unheard = clip_row("1", project / "1.mp4")
    ingested((unheard, text_row(unheard)))
    transcribe.run(OPTIONS)
    assert transcripts()["v/1"]["flags"] == ["no transcript", "speech recognition is not installed"]
    assert (
        'speech recognition is missing for 1 of them. Install it with: pip install -e ".[asr]"'
        in capsys.readouterr().out
    )
