"""Token vectors that are not trained: a frozen encoder's, and a GloVe file's for whole words."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import BertTokenizer

from model.encoders import vectors
from model.encoders.bert import load_bert
from pipeline import assets, tables
from pipeline.errors import AssetError
from pipeline.files import sha256
from tests import tiny

VOCABULARY = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", "a", "film", "un", "##watch", "##able", "good", ".", "##s"]
PAD, CLS, SEP, UNK, MASK, A, FILM, UN, WATCH, ABLE, GOOD, STOP, S = range(len(VOCABULARY))
GLOVE = """a 1 2 3
unwatchable -1 0.5 2e-1
watch 9 9 9
films 4 5 6
. 7 7 7
never spoken 1 2 3
"""


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A tiny BERT and its tokenizer."""
    folder = tiny.encoder(tmp_path / "encoder")
    BertTokenizer(vocab={token: number for number, token in enumerate(VOCABULARY)}).save_pretrained(folder)
    return folder


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    file = tmp_path / "glove.txt"
    file.write_text(GLOVE, encoding="utf-8")
    return file


def cells(column: pa.Array) -> list[np.ndarray]:
    return [tables.sequence(cell) for cell in column]


def test_frozen_vectors_are_berts_last_layer(encoder: Path):
    clips = [[CLS, A, FILM, SEP], [CLS, GOOD, SEP], [CLS, UN, WATCH, ABLE, FILM, S, SEP]]
    bert = load_bert(encoder, pooler=False).eval()
    made = cells(vectors.of(clips, vectors.FROZEN, encoder))
    for tokens, found in zip(clips, made, strict=True):
        expected = bert(input_ids=torch.tensor([tokens])).last_hidden_state[0].detach().numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_frozen_vectors_depend_on_no_other_clip(encoder: Path):
    clips = [[CLS, A, FILM, SEP], [CLS, GOOD, SEP], [CLS, UN, WATCH, ABLE, SEP]]
    together = cells(vectors.of(clips, vectors.FROZEN, encoder))
    for tokens, found in zip(clips, together, strict=True):
        (alone,) = cells(vectors.of([tokens], vectors.FROZEN, encoder))
        np.testing.assert_array_equal(found, alone)


def test_a_clip_without_tokens_has_no_vectors(encoder: Path, glove: Path):
    for source, width in ((vectors.FROZEN, 32), (str(glove), 3)):
        silent, said = cells(vectors.of([[], [CLS, A, SEP]], source, encoder))
        assert silent.shape == (0, width)
        assert said.shape == (3, width)


def test_a_piece_has_the_vector_of_its_whole_word(encoder: Path, glove: Path):
    (found,) = cells(vectors.of([[CLS, A, UN, WATCH, ABLE, FILM, S, STOP, SEP]], str(glove), encoder))
    nothing, unwatchable, films = [0, 0, 0], [-1, 0.5, 0.2], [4, 5, 6]
    expected = [nothing, [1, 2, 3], unwatchable, unwatchable, unwatchable, films, films, [7, 7, 7], nothing]
    np.testing.assert_allclose(found, expected)


def test_words_that_the_file_does_not_know_are_zero(encoder: Path, glove: Path):
    unknown, lone = cells(vectors.of([[CLS, GOOD, UNK, FILM, SEP], [WATCH, A]], str(glove), encoder))
    assert not unknown.any()  # [CLS] and [SEP] are no words; of films it knows the plural alone
    np.testing.assert_array_equal(lone, [[0, 0, 0], [1, 2, 3]])  # a piece that begins a clip is no word: ##watch


def test_a_glove_file_that_is_not_there_is_named(encoder: Path, tmp_path: Path):
    with pytest.raises(AssetError, match=r"no GloVe file .*none\.txt.*Correct the path, or set it to frozen"):
        vectors.of([[A]], str(tmp_path / "none.txt"), encoder)


def test_an_altered_file_makes_no_vectors(encoder: Path, glove: Path):
    for source, file, name in ((vectors.FROZEN, encoder / "model.safetensors", "model"), (str(glove), glove, "glove")):
        found = sha256(file)
        assert len(vectors.of([[A]], source, encoder, found)) == 1
        with pytest.raises(
            AssetError,
            match=rf"{name}\.\w+ was altered: its SHA-256 begins with {found[:12]}, expected 01234567890a\. Rest",
        ):
            vectors.of([[A]], source, encoder, "01234567890abc")


@pytest.mark.slow
def test_a_pickled_encoder_is_refused_with_how_to_convert_it(encoder: Path):
    torch.save(load_bert(encoder, pooler=False).state_dict(), encoder / "pytorch_model.bin")
    load_bert(encoder, pooler=False)  # beside safetensors it is not looked at
    (encoder / "model.safetensors").unlink()
    for loading in (lambda: load_bert(encoder, pooler=False), lambda: assets.encoder_sha256(str(encoder))):
        with pytest.raises(
            AssetError, match=r"holds pytorch_model\.bin, a pickle, .* expected model\.safetensors\."
        ) as error:
            loading()
    command = re.search(r'python -c "(.*)"', str(error.value))
    assert command
    subprocess.run([sys.executable, "-c", command[1]], check=True, capture_output=True)  # as it says
    load_bert(encoder, pooler=False)


def test_a_line_that_is_not_a_word_and_numbers_is_named(encoder: Path, glove: Path):
    glove.write_text("a 1 2 3\ngood 1 two 3\n")
    with pytest.raises(AssetError, match=r"glove\.txt, line 2: expected a word and numbers, found 1 two 3"):
        vectors.of([[GOOD]], str(glove), encoder)


def test_vectors_stand_for_the_tokens_of_a_training_table(encoder: Path):
    table = tiny.table(absent=[(1, "text")])
    made = vectors.of(table["input_ids"].to_pylist(), vectors.FROZEN, encoder)
    attached = vectors.attached(table, made)
    assert (vectors.width(table), vectors.width(attached)) == (0, 32)
    assert vectors.attached(table, None) is table
    clips = tiny.clips(attached)
    batch = clips.batch(range(3))
    assert batch.inputs["text"].shape == (3, int(batch.lengths["text"].max()), 32)
    for row, place in enumerate(clips.rows[:3]):
        expected = tables.sequence(made[place])
        np.testing.assert_array_equal(batch.inputs["text"][row, : len(expected)], expected)
        assert batch.lengths["text"][row] == len(table["input_ids"][place])
