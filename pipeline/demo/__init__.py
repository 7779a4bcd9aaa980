"""The demo data set: synthetic clips of a talking face whose text, voice and face each carry a known sentiment.

Nothing is downloaded: the face is a photograph from scikit-image's wheel, the speech is espeak-ng's.
"""

import csv
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from pipeline.demo import plan
from pipeline.demo.plan import Clip, Video
from pipeline.demo.voice import VOICES
from pipeline.errors import AssetError, DatasetError

NEEDED = {"skimage": "scikit-image", "espeakng_loader": "espeakng-loader"}
DESCRIPTION = """\
# Synthetic demo, made by `rawmsa demo`
language: en
label_range: [-3, 3]
convention: mosi
redistribute: true
synthetic: true
"""


def make(folder: Path, clips: int, seed: int, workers: int) -> None:
    """Write the data set `folder`, whole or not at all: Raw/<video_id>/<clip_id>.mp4, label.csv, dataset.yaml and
    truth.csv, which keeps the texts that label.csv withholds and what each clip's text, voice and face carry.

    The same `clips` and `seed` give the same bytes with any number of workers.
    Raises DatasetError where the folder exists or `clips` is below 6, AssetError where a package is missing,
    StageError where a clip cannot be made.
    """
    if folder.exists():
        raise DatasetError(f"{folder} exists already. Delete it to make the demo anew.")
    if absent := [package for module, package in NEEDED.items() if find_spec(module) is None]:
        raise AssetError(f'The demo needs {" and ".join(absent)}. Install what is missing: pip install -e ".[demo]"')
    from pipeline.demo.film import film  # cv2 and av, once they are needed

    videos = plan.draw(clips, seed)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        film(part / "Raw", videos, seed, workers)
        _write_tables(part, videos, plan.withheld(clips, seed))
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_tables(folder: Path, videos: list[Video], withheld: set[int]) -> None:
    pairs = [(video, clip) for video in videos for clip in video.clips]
    labels = [_label_row(video, clip, index in withheld) for index, (video, clip) in enumerate(pairs)]
    _write_csv(folder / "label.csv", labels)
    _write_csv(folder / "truth.csv", [_truth_row(video, clip) for video, clip in pairs])
    (folder / "dataset.yaml").write_text(DESCRIPTION)


def _label_row(video: Video, clip: Clip, withheld: bool) -> dict[str, object]:
    return {
        "video_id": video.video_id,
        "clip_id": clip.clip_id,
        "text": "" if withheld else clip.sentence,
        "label": clip.label,
        "label_T": float(clip.text),
        "label_A": clip.voice,
        "label_V": clip.face,
        "annotation": "Positive" if clip.label > 0 else "Negative" if clip.label < 0 else "Neutral",
        "mode": video.mode,
    }


def _truth_row(video: Video, clip: Clip) -> dict[str, object]:
    return {
        "video_id": video.video_id,
        "clip_id": clip.clip_id,
        "text": clip.sentence,
        "text_sentiment": float(clip.text),
        "voice_sentiment": clip.voice,
        "face_sentiment": clip.face,
        "voice": VOICES[video.speaker],
        "speaker": video.speaker + 1,
    }


def _write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
