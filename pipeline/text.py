"""text: transcripts -> WordPiece ids for the text encoder, and the word that each token belongs to.

A data set that brings its token ids (`rawmsa import`) keeps those, if they are of the encoder's vocabulary.
"""

from dataclasses import replace
from functools import cache
from typing import Annotated, Any

from pydantic import Field

from pipeline import assets, paths, tables
from pipeline.errors import AssetError, ParamsError
from pipeline.params import Block
from pipeline.tables import Tokens, TokensMetadata, TokensRow, TranscriptMetadata

NO_WORD = -1  # of [CLS] and [SEP]
SAMPLE, HEAD = 100, 4  # texts, and tokens of each, that tell one vocabulary from another


class Params(Block):
    """The block `text` of params.yaml."""

    encoder: dict[str, str]  # by language
    max_tokens: Annotated[int, Field(ge=3, le=512)]  # BERT has 512 positions

    def encoder_of(self, dataset: str, language: str) -> str:
        """Raises ParamsError where no encoder is named for this data set's language."""
        if language not in self.encoder:
            raise ParamsError(
                f"Data set {dataset} is in language '{language}', text.encoder of params.yaml names encoders for "
                f"{', '.join(sorted(self.encoder))}. Add a line '{language}: <BERT model or folder>' there."
            )
        return self.encoder[language]


def tokenise(text: str, encoder: str, max_tokens: int) -> Tokens:
    """Normalised text -> the token columns of tables.TOKENS, at most max_tokens long: [CLS], the head, [SEP].

    No text gives no tokens: the clip lacks the modality. Raises AssetError.
    """
    words = text.split()
    if not words:
        return Tokens(input_ids=[], attention_mask=[], token_type_ids=[], word=[])
    tokenizer = _tokenizer(encoder)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    tokens = tokenizer.encode(words, is_pretokenized=True)
    return Tokens(
        input_ids=tokens.ids,
        attention_mask=[1] * len(tokens.ids),
        token_type_ids=[0] * len(tokens.ids),
        word=[NO_WORD if word is None else word for word in tokens.word_ids],
    )


def run(options: Params) -> None:
    """The stage: write data/features/text/<dataset>.parquet for every data set and print one line.

    Raises AssetError where an encoder's tokenizer cannot be had, ParamsError.
    """
    datasets = tables.datasets_of(paths.TRANSCRIPTS)
    lengths = [length for dataset in datasets for length in _write(dataset, options)]
    tables.keep_only(paths.FEATURES / "text", [paths.features("text", name).name for name in datasets])
    cut = sum(length == options.max_tokens for length in lengths)
    empty = lengths.count(0)
    print(f"text: {len(lengths)} clips: {len(lengths) - empty} tokenised, {empty} without text; {cut} at max_tokens")


def _write(dataset: str, options: Params) -> list[int]:
    """Tokenise one data set. Returns the number of tokens of each clip."""
    file = paths.transcripts(dataset)
    ids, texts, spoken = tables.read(file, columns=["id", "text", "spoken"]).to_pydict().values()
    language = tables.read_metadata(TranscriptMetadata, file).language
    encoder = options.encoder_of(dataset, language)
    _check_encoder(dataset, language, encoder)
    if brought := paths.imported("text", dataset).is_file():
        rows = _take(dataset, ids, spoken, encoder, options.max_tokens)
    else:
        found = (tokenise(text, encoder, options.max_tokens) for text in texts)
        rows = [TokensRow(id=id, **vars(tokens)) for id, tokens in zip(ids, found, strict=True)]
    metadata = TokensMetadata(
        dataset=dataset,
        language=language,
        encoder=encoder,
        encoder_sha256=assets.encoder_sha256(encoder),
        vocabulary=_tokenizer(encoder).get_vocab_size(),
        max_tokens=options.max_tokens,
        **(tables.metadata(paths.imported("text", dataset)) if brought else {}),
    )
    tables.write(paths.features("text", dataset), tables.table_of(TokensRow, rows), metadata.content())
    return [len(row.input_ids) for row in rows]


def _check_encoder(dataset: str, language: str, encoder: str) -> None:
    """Raises AssetError, saying which data set asks for it, where the encoder's tokenizer cannot be had."""
    try:
        _tokenizer(encoder)
    except AssetError as error:
        raise AssetError(
            f"Data set {dataset} is in language '{language}', whose encoder text.encoder.{language} names. {error}\n"
            f"Set text.encoder.{language} in params.yaml, or move {paths.RAW / dataset} out of {paths.RAW}."
        ) from None


def _take(dataset: str, ids: list[str], spoken: list[str], encoder: str, max_tokens: int) -> list[TokensRow]:
    """The token ids that a data set brings, cut to max_tokens as the field cuts them: at the end, [SEP] not kept.

    A clip of which it brings none has none.
    """
    brought = {row.id: row for row in tables.read_rows(TokensRow, paths.imported("text", dataset))}
    none = TokensRow(id="", input_ids=[], attention_mask=[], token_type_ids=[], word=[])
    rows = [_cut(brought.get(id, replace(none, id=id)), max_tokens) for id in ids]
    sample = [(row.input_ids, said) for row, said in zip(rows, spoken, strict=True) if row.id in brought][:SAMPLE]
    _check_vocabulary(dataset, encoder, [found for found, _ in sample], [said for _, said in sample])
    return rows


def _cut(row: TokensRow, most: int) -> TokensRow:
    return TokensRow(
        id=row.id,
        input_ids=row.input_ids[:most],
        attention_mask=row.attention_mask[:most],
        token_type_ids=row.token_type_ids[:most],
        word=row.word[:most],
    )


def _check_vocabulary(dataset: str, encoder: str, found: list[list[int]], spoken: list[str]) -> None:
    """Raises ParamsError where hardly a text, tokenised here, begins as the imported ids begin."""
    tokenizer = _tokenizer(encoder)
    tokenizer.no_truncation()
    expected = [tokenizer.encode(text).ids[:HEAD] for text in spoken]
    same = sum(ids[:HEAD] == head for ids, head in zip(found, expected, strict=True))
    if found and same < len(found) / 2:
        raise ParamsError(
            f"{dataset}'s imported token ids are not those of the encoder {encoder}: of {len(found)} texts, {same} begin "
            "alike. Name in text.encoder of params.yaml the encoder they were made for (the field's: bert-base-uncased, "
            f"bert-base-chinese), or remove {paths.imported('text', dataset)} to have the texts tokenised."
        )


@cache
def _tokenizer(encoder: str) -> Any:
    """The encoder's tokenizers.Tokenizer."""
    source = assets.encoder(encoder)
    if encoder == assets.PACKAGED:  # the same, without the seconds that transformers and torch take to import
        from tokenizers import Tokenizer

        return Tokenizer.from_file(f"{source}/tokenizer.json")
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source).backend_tokenizer
    except (OSError, ValueError) as error:
        raise AssetError(
            f"text.encoder of params.yaml asks for the tokenizer of {encoder}, which cannot be had: {error}\n"
            f"Set it to {assets.PACKAGED} (English) or to the folder of a BERT model, "
            "or let the machine reach the hub once."
        ) from None
