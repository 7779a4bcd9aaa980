"""text: the ids of bert-base-uncased's WordPiece, and the word of each token."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import assets, params, paths, tables, text
from pipeline.errors import AssetError
from pipeline.tables import Tokens
from pipeline.transcribe.words import normalise

ROOT = Path(__file__).parents[1]
OPTIONS = params.load("text", text.Params, ROOT / "params.yaml")
CLS, SEP = 101, 102


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def transcribed(dataset: str, texts: dict[str, str], language: str = "en") -> None:
    blank = {"spoken": "", "source": "label", "words": [], "flags": []}
    rows = [{**blank, "id": clip, "text": words} for clip, words in texts.items()]
    table = tables.rows(tables.TRANSCRIPTS, rows)
    tables.write(paths.transcripts(dataset), table, {"dataset": dataset, "language": language})


def test_ids_are_those_of_bert_base_uncased() -> None:
    row = text.tokenise("hello world", "packaged", 64)
    assert row == Tokens(
        input_ids=[CLS, 7592, 2088, SEP],  # as bert-base-uncased's own vocabulary numbers them
        attention_mask=[1, 1, 1, 1],
        token_type_ids=[0, 0, 0, 0],
        word=[-1, 0, 1, -1],
        total=4,
    )


def test_every_piece_knows_its_word() -> None:
    row = text.tokenise("it was unwatchable 我喜欢", "packaged", 64)
    assert row.word[:3] == [-1, 0, 1]
    assert row.word.count(2) > 1  # unwatchable is no word of the vocabulary
    assert row.word[-4:] == [3, 3, 3, -1]  # a token a Chinese character


def test_a_long_text_keeps_its_head_and_its_end_mark() -> None:
    whole = text.tokenise("good " * 100, "packaged", 512).input_ids
    cut = text.tokenise("good " * 100, "packaged", 64)
    assert cut.input_ids == [*whole[:63], SEP]
    assert cut.word[-1] == -1
    assert cut.total == text.tokenise("good " * 100, "packaged", 512).total == 102  # what is cut is counted
    assert {len(column) for column in (cut.input_ids, cut.attention_mask, cut.token_type_ids, cut.word)} == {64}


def test_no_text_no_tokens() -> None:
    none = Tokens(input_ids=[], attention_mask=[], token_type_ids=[], word=[], total=0)
    assert text.tokenise("", "packaged", 64) == none


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=40), st.sampled_from([3, 8, 512]))
@pytest.mark.slow
def test_tokens_are_those_that_transformers_makes_of_the_words_and_of_the_whole_text(found: str, most: int) -> None:
    tokenizer = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(assets.encoder("packaged"))
    words = normalise(found)
    if words:
        row = text.tokenise(words, "packaged", most)
        expected = tokenizer(words.split(), is_split_into_words=True, truncation=True, max_length=most)
        assert row.input_ids == expected["input_ids"]
        assert row.word == [-1 if word is None else word for word in expected.word_ids()]
        assert row.input_ids == tokenizer(words, truncation=True, max_length=most)["input_ids"]


def test_an_encoder_in_a_folder_gives_the_tokens_of_the_packaged_one() -> None:
    folder = str(assets.encoder("packaged"))
    assert text.tokenise("it was unwatchable", folder, 6) == text.tokenise("it was unwatchable", "packaged", 6)


def test_the_stage_writes_the_data_sets_that_are_there(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transcribed("films", {"v/1": "a good film", "v/2": ""})
    transcribed("gone", {"v/1": "a good film"})
    text.run(OPTIONS)
    paths.transcripts("gone").unlink()
    capsys.readouterr()
    before = paths.features("text", "films").read_bytes()
    text.run(OPTIONS)

    assert capsys.readouterr().out == "text: 2 clips: 1 tokenised, 1 without text; 0 cut to text.max_tokens (64)\n"
    assert tables.datasets_of(paths.FEATURES / "text") == ["films"]
    assert paths.features("text", "films").read_bytes() == before
    table = tables.read(paths.features("text", "films"))
    assert table.schema.equals(tables.TOKENS)
    assert table["input_ids"].to_pylist() == [[CLS, 1037, 2204, 2143, SEP], []]
    metadata = tables.metadata(table)
    assert metadata["encoder"] == "packaged"
    assert metadata["encoder_sha256"].startswith("53aa5117")
    assert (metadata["dataset"], metadata["language"], metadata["max_tokens"]) == ("films", "en", 64)
    assert metadata["vocabulary"] == 30522


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No network, and an empty cache of the hub: the files that the hub is asked for."""
    hub, asked = pytest.importorskip("huggingface_hub"), []

    def refused(url: str, **_: object) -> None:
        asked.append(url)
        raise OSError("Name or service not known")

    monkeypatch.setattr(hub, "get_hf_file_metadata", refused)
    return asked


UNKNOWN = "nobody/no-such-bert"


def test_an_encoder_that_cannot_be_had_costs_one_data_set_its_texts(
    project: Path, unreachable: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    transcribed("films", {"v/1": "a good film"})
    transcribed("own", {"v/1": "我喜欢"}, language="zh")
    transcribed("filme", {"v/1": "ein guter film"}, language="de")
    text.run(OPTIONS.model_copy(update={"encoder": {"en": "packaged", "zh": UNKNOWN}}))
    counted, *told = capsys.readouterr().out.splitlines()
    assert counted == "text: 3 clips: 1 tokenised, 2 without text; 0 cut to text.max_tokens (64)"
    assert [line.partition(" goes on without its texts")[0] for line in told] == [
        "text: WARNING: filme",
        "text: WARNING: own",
    ]
    assert "names encoders for en, zh, none for 'de'. Add there: de: " in told[0]
    assert f"{UNKNOWN} is neither a folder nor in the hub's cache" in told[1]
    assert "Name or service not known. Set text.encoder.zh to the folder" in told[1]
    assert len(unreachable) == 1  # asked once, not ten times
    assert tables.read(paths.features("text", "films"))["input_ids"].to_pylist() == [[CLS, 1037, 2204, 2143, SEP]]
    without = tables.read(paths.features("text", "own"))
    assert without["input_ids"].to_pylist() == [[]]
    assert UNKNOWN in tables.read_metadata(tables.TokensMetadata, without).absent


def test_where_no_data_set_has_its_encoder_the_stage_ends(project: Path, unreachable: list[str]) -> None:
    transcribed("own", {"v/1": "我喜欢"}, language="zh")
    with pytest.raises(AssetError, match=f"own: the encoder of text.encoder.zh .* {UNKNOWN} is neither"):
        text.run(OPTIONS.model_copy(update={"encoder": {"en": "packaged", "zh": UNKNOWN}}))


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path} holds no tokenizer" in OPTIONS.model_copy(update={"encoder": {"en": str(tmp_path)}}).obstacle(
        "en"
    )
