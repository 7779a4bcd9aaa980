"""Token vectors that are not trained: made once for a training table, and kept.

source: of `text` in a network's hyper-parameters. `frozen`: the last layer of the text encoder as it was pretrained,
clip by clip, so that a clip's vectors depend on no other clip; or the path of a GloVe file (a word and its numbers a
line): each token has the vector of the word that it is a part of, 0 where the file does not know it or it is no word (as [CLS] and [SEP] are none).
`finetuned`: none, the network trains the encoder.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from model.encoders.bert import load_bert
from pipeline import tables
from pipeline.errors import AssetError
from pipeline.files import altered

LIBRARIES = ("torch", "transformers")
FINETUNED = "finetuned"
FROZEN = "frozen"
FEWEST = 2  # numbers of a vector; a header of word2vec or fastText has one
CONTINUED = "##"  # how WordPiece marks a token that goes on with a word


def of(tokens: Sequence[Sequence[int]], source: str, encoder: Path | str, sha256: str | None = None) -> pa.Array:
    """(L_i, D) of each clip, as a column of frames; for clips of no tokens, none.

    sha256: of the encoder's weights or of the GloVe file, None: whatever they are. Raises AssetError.
    """
    if source == FROZEN:
        return _frozen(tokens, encoder, sha256)
    return _glove(tokens, Path(source), encoder, sha256)


def attached(table: pa.Table, vectors: pa.ChunkedArray | pa.Array | None) -> pa.Table:
    """A training table whose clips have these for their text, in place of the token ids."""
    return table if vectors is None else table.append_column("text", vectors)


def width(table: pa.Table) -> int:
    """Columns of a token's vector in such a table; 0 where it has token ids alone."""
    return table.schema.field("text").type.value_type.list_size if "text" in table.column_names else 0


@torch.inference_mode()
def _frozen(tokens: Sequence[Sequence[int]], encoder: Path | str, sha256: str | None) -> pa.Array:
    bert = load_bert(encoder, pooler=False, sha256=sha256).eval()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bert.to(device)

    def vectors(ids: Sequence[int]) -> np.ndarray:
        if not len(ids):
            return np.zeros((0, bert.config.hidden_size), np.float32)
        return bert(input_ids=torch.tensor([ids], device=device)).last_hidden_state[0].cpu().numpy()

    return tables.sequences((vectors(ids) for ids in tokens), bert.config.hidden_size)


def _glove(tokens: Sequence[Sequence[int]], file: Path, encoder: Path | str, sha256: str | None) -> pa.Array:
    if sha256 and file.is_file() and (wrong := altered(file, sha256)):
        raise AssetError(f"{wrong} Restore it; or, to take it as it is, train anew with: dvc repro -fs train")
    from transformers import AutoTokenizer

    pieces = AutoTokenizer.from_pretrained(encoder).convert_ids_to_tokens
    clips = [list(_words(pieces(list(ids)))) for ids in tokens]
    known, columns = _read(file, {word for words in clips for word in words})
    nothing = np.zeros(columns, np.float32)
    return tables.sequences((np.array([known.get(word, nothing) for word in words]) for words in clips), columns)


def _words(pieces: Sequence[str]) -> Iterator[str]:
    """For each token the whole word that it is a part of."""
    whole: list[str] = []
    for piece in pieces:
        if piece.startswith(CONTINUED) and whole:
            whole[-1] += piece.removeprefix(CONTINUED)
        else:
            whole.append(piece)
    word = -1
    for piece in pieces:
        word += word < 0 or not piece.startswith(CONTINUED)
        yield whole[word]


def _read(file: Path, wanted: set[str]) -> tuple[dict[str, np.ndarray], int]:
    """The vectors of these words, and their width. Raises AssetError."""
    if not file.is_file():
        raise AssetError(
            f"There is no GloVe file {file}, which `text` of a network's hyper-parameters names. Correct the path, or "
            f"set it to {FROZEN} for the text encoder's vectors."
        )
    known: dict[str, np.ndarray] = {}
    columns = 0
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            word, *numbers = line.rstrip().split(" ")
            columns = columns or len(numbers)
            if word in wanted and len(numbers) == columns:
                known[word] = _numbers(numbers, file, number)
    if columns < FEWEST:
        raise AssetError(
            f"{file} begins with {columns} numbers; expected a GloVe file: a word and its numbers a line, no header."
        )
    return known, columns


def _numbers(found: list[str], file: Path, line: int) -> np.ndarray:
    try:
        return np.array(found, np.float32)
    except ValueError:
        raise AssetError(f"{file}, line {line}: expected a word and numbers, found {' '.join(found)[:40]}.") from None
