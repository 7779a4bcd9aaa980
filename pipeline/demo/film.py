"""Make the planned clips: one task a video, so that a speaker's face is prepared once."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.demo import portrait, video, voice
from pipeline.demo.face import Face, perform
from pipeline.demo.plan import Video
from pipeline.demo.portrait import Look, Portrait
from pipeline.demo.warp import SIZE
from pipeline.errors import StageError
from pipeline.execution import workers as processes

FPS = 25


@dataclass(frozen=True)
class Task:
    folder: Path
    video: Video
    portrait: Portrait
    look: Look


def film(folder: Path, videos: list[Video], seed: int, workers: int) -> None:
    """Write `folder`/<video_id>/<clip_id>.mp4 for every clip. Raises StageError where one cannot be made."""
    source = portrait.load()
    looks = [portrait.draw_look(np.random.default_rng([seed, shown.speaker])) for shown in videos]
    tasks = [Task(folder, shown, source, look) for shown, look in zip(videos, looks, strict=True)]
    for outcome in processes.run(_film_video, tasks, title="demo", workers=workers, threads=1, limits=None):
        if failure := outcome.failure:
            video_id = videos[outcome.index].video_id
            raise StageError(f"Demo video {video_id} failed with {failure.reason}: {failure.message}\n{failure.trace}")


def _film_video(task: Task) -> None:
    face = Face(task.portrait, task.look)
    for clip in task.video.clips:
        sound, rate = voice.speak(clip.sentence, voice.VOICES[task.video.speaker], clip.voice, clip.seed)
        rng = np.random.default_rng(clip.seed)
        amounts = perform(voice.envelope(sound, rate, FPS), clip.face, FPS, rng)
        path = task.folder / task.video.video_id / f"{clip.clip_id}.mp4"
        video.write(path, map(face.frame, amounts), SIZE, FPS, sound, rate)
