"""The speed tables of benchmarks/covarep.py: seconds of one core a second of sound, by stage; warm-up; memory.

The stages are the calls that the package makes of its modules, as cProfile sees them in one run; their share of that
run is applied to the time of a run without the profiler.
"""

import cProfile
import multiprocessing
import os
import pstats
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.covarep_agreement import read
from pipeline.audio.covarep import analysis
from pipeline.media import SAMPLE_RATE
from report.tables import Table

T = TypeVar("T")
RUNS = 5
MINUTES = (1, 2, 8)  # of sound; the last two, worked on in blocks, tell what a minute more takes
OURS = Path(analysis.__file__).parent
CACHE = "NUMBA_CACHE_DIR"


def run(folder: Path) -> list[Table]:
    """The three tables, of the sound of every .wav of `folder`, one after the other."""
    files = sorted(folder.glob("*.wav"))
    if not files:
        raise SystemExit(f"{folder} holds no .wav.")
    sound = np.concatenate([read(file) for file in files])
    seconds = len(sound) / SAMPLE_RATE
    analysis.analyse(sound)
    profiles = [_stages(sound) for _ in range(RUNS)]
    plain = sorted(_timed(analysis.analyse, sound) for _ in range(RUNS))
    total = float(np.median(plain))
    names = sorted(profiles[0], key=lambda name: -np.median([profile[name] for profile in profiles]))
    shares = {name: float(np.median([profile[name] for profile in profiles])) for name in names}
    rows = [
        (name, f"{share:.3f}", f"{share * total / seconds:.4f}") for name, share in shares.items() if share >= 0.001
    ]
    rows.append(("all", "1.000", f"{total / seconds:.4f} ({plain[0] / seconds:.4f} to {plain[-1] / seconds:.4f})"))
    caption = (
        f"Seconds of one core a second of sound: {len(files)} clips, {seconds:.0f} s in one, median of {RUNS} runs"
    )
    return [Table(caption, ("stage", "share", "ratio"), rows), _warmup(), _memory(sound)]


def _stages(sound: np.ndarray) -> dict[str, float]:
    """The share of `analyse` that each function of the other modules takes which the package calls; "rest" is the package's own."""
    profile = cProfile.Profile()
    profile.runcall(analysis.analyse, sound)
    found = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    own = {key for key in found if key[0] == analysis.__file__}
    whole = next(found[key][3] for key in own if key[2] == "analyse")
    shares = {
        f"{Path(file).stem}.{name}": sum(called[3] for caller, called in callers.items() if caller in own) / whole
        for (file, line, name), (*_, callers) in found.items()
        if Path(file).parent == OURS
        and (file, line, name) not in own
        and not name.startswith("<")
        and own & callers.keys()
    }
    return {**shares, "rest": 1 - sum(shares.values())}


def _warmup() -> Table:
    """The first call in a process, which compiles or loads the inner loops, beside the second."""
    with tempfile.TemporaryDirectory() as empty:
        before = os.environ.get(CACHE)
        os.environ[CACHE] = empty
        try:
            rows = [(name, *_fresh(_first)) for name in ("nothing compiled yet", "compiled before, another process")]
        finally:
            os.environ.pop(CACHE) if before is None else os.environ.update({CACHE: before})
    shown = [(name, *(f"{value:.2f}" for value in values)) for name, *values in rows]
    return Table("Warm-up: seconds for one second of sound", ("", "import", "first call", "second call"), shown)


def _memory(sound: np.ndarray) -> Table:
    peaks = [_fresh(_peak, np.resize(sound, minutes * 60 * SAMPLE_RATE)) for minutes in MINUTES]
    rows = [(f"{minutes} min", f"{peak:.0f}") for minutes, peak in zip(MINUTES, peaks, strict=True)]
    rows.append(("each minute more", f"{(peaks[-1] - peaks[-2]) / (MINUTES[-1] - MINUTES[-2]):.1f}"))
    return Table("Peak memory of the process, MiB", ("sound", "MiB"), rows)


def _first() -> tuple[float, float, float]:
    start = time.process_time()  # the interpreter's and the imports' up to here
    sound = 0.1 * np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    return start, _timed(analysis.analyse, sound), _timed(analysis.analyse, sound)


def _peak(sound: np.ndarray) -> float:
    analysis.analyse(sound)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _fresh(function: Callable[..., T], *arguments: object) -> T:
    """The result of a call in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _timed(function: Callable[..., object], *arguments: object) -> float:
    """CPU seconds."""
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start
