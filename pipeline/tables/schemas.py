"""The schemas: the columns of every table that a stage hands to another."""

from collections.abc import Mapping

import pyarrow as pa

MODALITIES = ("text", "audio", "vision")
UNIMODAL = {"text": "label_T", "audio": "label_A", "vision": "label_V"}  # the columns of the human unimodal labels
SPLITS = ("train", "valid", "test")
IMPORTED = "imported"  # the extractor of features that a data set brings
CLIPS = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),  # video_id/clip_id, unique in its data set
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("path", pa.string()),  # below the project's folder; null: a row of text alone
        pa.field("sha256", pa.string()),  # of the file
        pa.field("start", pa.float64()),  # seconds; null: from the file's start
        pa.field("end", pa.float64()),  # seconds; null: to its end
        pa.field("seconds", pa.float64()),  # the clip's length
        pa.field("has_audio", pa.bool_(), nullable=False),
        pa.field("has_vision", pa.bool_(), nullable=False),
        pa.field("fps", pa.float64()),
        pa.field("width", pa.int32()),  # pixels as shown, after rotation
        pa.field("height", pa.int32()),
        pa.field("sound_rate", pa.int32()),  # Hz in the file
        pa.field("sound_offset", pa.float64()),  # seconds from the first frame to the first sound
        pa.field("frames_declared", pa.int64()),
        pa.field("frames_decoded", pa.int64()),
        pa.field("corrupt_share", pa.float64()),  # of the frames: decoded with errors, or not at all
        pa.field(
            "gap", pa.float64()
        ),  # seconds that the longest step between two frames, or blocks of sound, is too long
        pa.field("status", pa.string(), nullable=False),  # ok, degraded (its flags say how); what failed is in REFUSED
        pa.field("flags", pa.list_(pa.string()), nullable=False),  # what is odd about it, in words
    ]
)
CUE = pa.struct([("start", pa.float64()), ("end", pa.float64()), ("text", pa.string())])
TEXTS = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),  # en, zh
        pa.field("source", pa.string()),  # label, sidecar; null: nobody wrote it down
        pa.field("text", pa.string()),  # as found
        pa.field("cues", pa.list_(CUE), nullable=False),  # a sidecar's times, in seconds of the clip
    ]
)
LABELS = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string()),  # train, valid, test; null where the data set has no labels
        pa.field("label", pa.float64()),  # the m-label, less the data set's neutral one: 0 is neutral
        pa.field("label_T", pa.float64()),  # human unimodal labels, where there are any
        pa.field("label_A", pa.float64()),
        pa.field("label_V", pa.float64()),
        pa.field("annotation", pa.string()),
    ]
)
REFUSED = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int32()),  # line of the label file, its header being line 1
        pa.field("id", pa.string()),
        pa.field("reason", pa.string(), nullable=False),  # a code to count by
        pa.field("message", pa.string(), nullable=False),  # found, expected, what to do
    ]
)
WORD = pa.struct(
    [
        ("word", pa.string()),  # normalised
        ("start", pa.float64()),  # seconds of the clip; null: no times asked for or known
        ("end", pa.float64()),
        ("probability", pa.float64()),  # the recogniser's; null: it did not hear this word
        ("interpolated", pa.bool_()),  # times drawn from the neighbours'
    ]
)
TRANSCRIPTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),  # normalised; empty: nothing was said or known
        pa.field("spoken", pa.string(), nullable=False),  # as found or heard
        pa.field("source", pa.string(), nullable=False),  # label, sidecar, recogniser, none
        pa.field("model", pa.string()),  # the recogniser, where it was asked
        pa.field("confidence", pa.float64()),  # mean probability of the words it heard
        pa.field("no_speech", pa.float64()),  # its probability that nobody speaks
        pa.field("heard", pa.string()),  # what it wrote that is not trusted, to look at; nothing is computed from it
        pa.field("words", pa.list_(WORD), nullable=False),
        pa.field("flags", pa.list_(pa.string()), nullable=False),
    ]
)
TOKENS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("input_ids", pa.list_(pa.int32()), nullable=False),  # with [CLS], [SEP]; empty: no text
        pa.field("attention_mask", pa.list_(pa.int8()), nullable=False),
        pa.field("token_type_ids", pa.list_(pa.int8()), nullable=False),  # segments: 0
        pa.field("word", pa.list_(pa.int32()), nullable=False),  # index into words; -1: [CLS], [SEP], or not known
        pa.field("total", pa.int32(), nullable=False),  # tokens of the whole text, before the cut to text.max_tokens
    ]
)
ULABELS = pa.schema(
    [
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        *(pa.field(modality, pa.float32()) for modality in MODALITIES),  # null: absent, or no such task
        # What made them in this epoch; null in the first, which makes none: the value before the momentum, then by
        # branch alpha and the distances to the centres of the positive and the negative class.
        *(pa.field(f"raw_{modality}", pa.float32()) for modality in MODALITIES),
        *(
            pa.field(f"{noted}_{branch}", pa.float32())
            for noted in ("alpha", "positive", "negative")
            for branch in ("fusion", *MODALITIES)
        ),
    ]
)
CONTRIBUTIONS = pa.schema(  # what the test predictions become without a modality
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("modality", pa.string(), nullable=False),
        pa.field("masked", pa.float32(), nullable=False),  # the modality is absent
        pa.field("shuffled", pa.float32(), nullable=False),  # it is another test clip's
    ]
)
RUN_PREDICTIONS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string()),  # null: a clip without a label
        pa.field("fusion", pa.float32(), nullable=False),  # the prediction
        *(pa.field(modality, pa.float32()) for modality in MODALITIES),  # null: absent, or no such head
    ]
)
PREDICTIONS = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("network", pa.string(), nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string()),
        pa.field("label", pa.float64()),
        pa.field("prediction", pa.float32(), nullable=False),
        *(pa.field(modality, pa.float32()) for modality in MODALITIES),
        pa.field("trained_on", pa.string(), nullable=False),  # the data set whose run predicts
    ]
)


def features_schema(width: int) -> pa.Schema:
    """Acoustic or landmark frames, `width` columns, one row a clip."""
    frame = pa.list_(pa.field("element", pa.float32(), nullable=False), width)
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("status", pa.string(), nullable=False),  # ok, absent (no such track), failed
            pa.field("reason", pa.string()),  # why it failed
            pa.field("flags", pa.list_(pa.string()), nullable=False),
            pa.field("n_frames", pa.int32(), nullable=False),
            pa.field("times", pa.list_(pa.float64()), nullable=False),
            pa.field("mask", pa.list_(pa.bool_()), nullable=False),
            pa.field("x", pa.list_(frame), nullable=False),  # (n_frames, width)
        ]
    )


def training_schema(widths: Mapping[str, int]) -> pa.Schema:
    """The training table. A modality of width 0 (the whole data set lacks it) has no column.

    NaN in a frame means "not there" (no face, no pitch): the network sees 0, the mean, in its place.
    The metadata hold: dataset, convention, label_range, neutral, language, encoder, synthetic,
    columns {modality: [names]}, statistics {modality: {mean, std}} or null where nothing is labelled,
    extraction {modality: the feature file's metadata}, policy (assemble's params).
    """
    sequences = [
        pa.field(modality, pa.list_(pa.list_(pa.field("element", pa.float32(), nullable=False), width)), nullable=False)
        for modality, width in widths.items()
        if width
    ]
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("video_id", pa.string(), nullable=False),
            pa.field("split", pa.string()),  # null: a clip without a label
            *(pa.field(name, pa.float32()) for name in ("label", "label_T", "label_A", "label_V")),
            pa.field("transcript", pa.string(), nullable=False),
            pa.field("input_ids", pa.list_(pa.int32()), nullable=False),  # empty: the clip has no text
            pa.field("flags", pa.list_(pa.string()), nullable=False),  # what of the clip is cut
            *sequences,  # no frames: the clip lacks the modality
        ]
    )
