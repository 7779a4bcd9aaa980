"""text: transcripts -> WordPiece ids for the text encoder, and the word that each token belongs to.

A data set that brings its token ids (`rawmsa import`) keeps those, if they are of the encoder's vocabulary.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pipeline import assets, paths, tables
from pipeline.errors import AssetError, ParamsError
from pipeline.params import Block
from pipeline.tables import Tokens, TokensMetadata, TokensRow, TranscriptMetadata

PATIENCE = 5  # seconds for the hub's answer
NO_WORD = -1  # of [CLS] and [SEP]
ANEW = "dvc repro --force --single-item text && dvc repro"
NONE = "none"  # the encoder of a language for which params.yaml names none
SAMPLE, HEAD = 100, 4  # texts, and tokens of each, that tell one vocabulary from another
NO_TOKENS = Tokens(input_ids=[], attention_mask=[], token_type_ids=[], word=[], total=0)


class Params(Block):
    """The block `text` of params.yaml."""

    encoder: dict[str, str]  # by language
    max_tokens: Annotated[int, Field(ge=3, le=512)]  # BERT has 512 positions

    def obstacle(self, language: str) -> str:
        """Why texts in this language become no tokens, and what to do, in one line; "" where they do."""
        if language not in self.encoder:
            return (
                f"text.encoder of params.yaml names encoders for {', '.join(sorted(self.encoder))}, none for '{language}'. "
                f"Add there: {language}: <folder of a BERT model, or its name on the hub>"
            )
        try:
            _tokenizer(self.encoder[language])
        except AssetError as error:
            return (
                f"the encoder of text.encoder.{language} of params.yaml cannot be had: {error}. "
                f"Set text.encoder.{language} to the folder of a BERT model, or let this machine reach the hub once"
            )
        return ""


def tokenise(text: str, encoder: str, max_tokens: int) -> Tokens:
    """Normalised text -> the token columns of tables.TOKENS, at most max_tokens long: [CLS], the head, [SEP]. `total` tells
    how many the whole text has.

    No text gives no tokens: the clip lacks the modality. Raises AssetError.
    """
    words = text.split()
    if not words:
        return NO_TOKENS
    tokenizer = _tokenizer(encoder)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    tokens = tokenizer.encode(words, is_pretokenized=True)
    return Tokens(
        input_ids=tokens.ids,
        attention_mask=[1] * len(tokens.ids),
        token_type_ids=[0] * len(tokens.ids),
        word=[NO_WORD if word is None else word for word in tokens.word_ids],
        total=len(tokens.ids) + sum(part.special_tokens_mask.count(0) for part in tokens.overflowing),
    )


def run(options: Params) -> None:
    """The stage: write data/features/text/<dataset>.parquet for every data set and print one line.

    A data set whose encoder cannot be had gets no tokens, and a line says so: its clips lack the modality, and the others
    go on. Raises AssetError where that is every data set, ParamsError
    where imported token ids are another encoder's.
    """
    languages = {
        dataset: tables.read_metadata(TranscriptMetadata, paths.transcripts(dataset)).language
        for dataset in tables.datasets_of(paths.TRANSCRIPTS)
    }
    obstacles = {language: options.obstacle(language) for language in sorted(set(languages.values()))}
    without = {dataset: obstacles[language] for dataset, language in languages.items() if obstacles[language]}
    if without and len(without) == len(languages):
        raise AssetError("\n".join(f"{dataset}: {obstacle}" for dataset, obstacle in without.items()))
    rows = [
        row
        for dataset, language in languages.items()
        for row in _write(dataset, language, obstacles[language], options)
    ]
    tables.keep_only(paths.FEATURES / "text", [paths.features("text", name).name for name in languages])
    cut = sum(len(row.input_ids) < row.total for row in rows)
    empty = sum(not row.input_ids for row in rows)
    print(
        f"text: {len(rows):,} clips: {len(rows) - empty:,} tokenised, {empty:,} without text; {cut:,} cut to "
        f"text.max_tokens ({options.max_tokens})"
    )
    for dataset, obstacle in without.items():
        print(
            f"text: WARNING: {dataset} goes on without its texts, with sound and picture alone: {obstacle}, then: {ANEW}"
        )


def _write(dataset: str, language: str, obstacle: str, options: Params) -> list[TokensRow]:
    """Tokenise one data set, unless there is an obstacle. Returns its rows."""
    ids, texts, spoken = tables.read(paths.transcripts(dataset), columns=["id", "text", "spoken"]).to_pydict().values()
    brought = paths.imported("text", dataset).is_file() and not obstacle
    metadata = TokensMetadata(
        dataset=dataset,
        language=language,
        encoder=options.encoder.get(language, NONE),
        encoder_sha256=None,
        max_tokens=options.max_tokens,
        **(tables.metadata(paths.imported("text", dataset)) if brought else {}),
    )
    if obstacle:
        rows = [TokensRow(id=id, **vars(NO_TOKENS)) for id in ids]
        metadata = metadata.model_copy(update={"absent": obstacle})
    else:
        encoder = metadata.encoder
        if brought:
            rows = _take(dataset, ids, spoken, encoder, options.max_tokens)
        else:
            found = (tokenise(text, encoder, options.max_tokens) for text in texts)
            rows = [TokensRow(id=id, **vars(tokens)) for id, tokens in zip(ids, found, strict=True)]
        known = {"encoder_sha256": assets.encoder_sha256(encoder), "vocabulary": _tokenizer(encoder).get_vocab_size()}
        metadata = metadata.model_copy(update=known)
    tables.write(paths.features("text", dataset), tables.table_of(TokensRow, rows), metadata.content())
    return rows


def _take(dataset: str, ids: list[str], spoken: list[str], encoder: str, max_tokens: int) -> list[TokensRow]:
    """The token ids that a data set brings, cut to max_tokens as the field cuts them: at the end, [SEP] not kept.

    A clip of which it brings none has none.
    """
    brought = {row.id: row for row in tables.read_rows(TokensRow, paths.imported("text", dataset))}
    none = TokensRow(id="", input_ids=[], attention_mask=[], token_type_ids=[], word=[], total=0)
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
        total=row.total,
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


def _ask_hub(name: str) -> None:
    """Ask once, and for at most 5 s, whether the hub gives this model: its libraries ask ten times, for a minute.

    Raises AssetError, in one line, where it does not.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=PATIENCE)
    except Exception as error:  # networks, proxies and the hub fail in many ways
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise AssetError(
            f"{name} is neither a folder nor in the hub's cache on this machine, and the hub cannot be asked: {why}"
        ) from None


@cache
def _tokenizer(encoder: str) -> Any:
    """The encoder's tokenizers.Tokenizer."""
    source = assets.encoder(encoder)
    if encoder == assets.PACKAGED:  # the same, without the seconds that transformers and torch take to import
        from tokenizers import Tokenizer

        return Tokenizer.from_file(f"{source}/tokenizer.json")
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source, local_files_only=True).backend_tokenizer
    except (OSError, ValueError) as error:
        if isinstance(source, Path):
            raise AssetError(f"{encoder} holds no tokenizer: {str(error).splitlines()[0]}") from None
    _ask_hub(encoder)
    try:
        return AutoTokenizer.from_pretrained(source).backend_tokenizer
    except (OSError, ValueError) as error:
        raise AssetError(f"the hub gave no tokenizer of {encoder}: {str(error).splitlines()[0]}") from None
