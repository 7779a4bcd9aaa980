"""Every file of the corpus and thousands of mutated ones through ingest, audio and vision: no crash of the run, no
hang, a record for each.

    make torture            (python -m tests.torture --files 2000)

Mutations are seeded: bytes flipped, the end cut off, the header edited, a piece taken out or repeated, of an MP4, a
WebM, an AVI and an MPEG transport stream. Prints the counts by status and reason; exits with 1 where a file has no
record, or a stage did not end well.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipeline import paths, tables
from tests import corpus

ROOT = Path(__file__).parents[1]
SOURCES = ("plain.mp4", "faststart.mp4", "vp9.webm", "xvid.avi", "size_change.ts")
HEADER = 2048  # bytes


def mutated(content: bytes, draw: random.Random) -> bytes:
    """One of five kinds of damage."""
    found = bytearray(content)
    kind = draw.choice(("flip", "cut", "header", "remove", "repeat"))
    if kind == "cut":
        return bytes(found[: draw.randrange(len(found))])
    if kind in ("flip", "header"):
        for _ in range(draw.choice((1, 4, 16, 64, 256))):
            found[draw.randrange(min(HEADER, len(found)) if kind == "header" else len(found))] = draw.randrange(256)
        return bytes(found)
    start = draw.randrange(len(found))
    end = min(len(found), start + draw.randrange(1, len(found) // 4))
    return bytes(found[:start] + found[end:] if kind == "remove" else found[:end] + found[start:])


def make(raw: Path, files: int, seed: int) -> None:
    """The data sets `odd`, the corpus, and `mutants`."""
    corpus.make(raw / "odd")
    draw = random.Random(seed)
    (raw / "mutants").mkdir()
    for number in range(files):
        source = raw / "odd" / SOURCES[number % len(SOURCES)]
        (raw / "mutants" / f"{number:05d}{source.suffix}").write_bytes(mutated(source.read_bytes(), draw))


def stage(project: Path, name: str) -> bool:
    """Run it; print its last lines and how long it took. Whether it ended well."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "stages", name], cwd=project, env=environment, text=True, capture_output=True
    )
    print(f"{name}: exit code {done.returncode}, {time.monotonic() - began:.0f} s")
    print(done.stdout.split("\n")[0] if done.returncode == 0 else done.stderr[-2000:])
    return done.returncode == 0


def records(project: Path) -> Iterator[tuple[str, str, str]]:
    """(file below data/raw, stage, status or reason) of all that the stages tell."""
    for row in tables.read(project / paths.CLIPS).to_pylist():
        name = Path(row["path"]).relative_to(paths.RAW).as_posix()
        yield name, "ingest", " + ".join([row["status"], *sorted(row["flags"])])
    for row in tables.read(project / paths.REFUSED).to_pylist():
        yield Path(row["file"]).relative_to(paths.RAW).as_posix(), "ingest", f"refused: {row['reason']}"
    for modality in ("audio", "vision"):
        for dataset in ("odd", "mutants"):
            for row in tables.read(project / paths.features(modality, dataset)).to_pylist():
                told = row["status"] + (f": {row['reason'].split(':')[0]}" if row["reason"] else "")
                yield f"{dataset}/{row['id']}", modality, told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=corpus.SEED)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        make(project / paths.RAW, asked.files, asked.seed)
        text = (ROOT / "params.yaml").read_text().replace("extractor: covarep", "extractor: mfcc")
        (project / "params.yaml").write_text(text.replace("max_failed_fraction: 0.5", "max_failed_fraction: 1.0"))
        shutil.copytree(ROOT / paths.NETWORKS, project / paths.NETWORKS)
        well = [stage(project, name) for name in ("ingest", "audio", "vision")]
        counts: dict[str, Counter[str]] = {name: Counter() for name in ("ingest", "audio", "vision")}
        recorded = set()
        for name, place, told in records(project):
            recorded.add(name)
            counts[place][told] += 1
    for place, count in counts.items():
        print(f"\n{place}")
        for told, number in count.most_common():
            print(f"  {number:6,}  {told}")
    expected = {f"mutants/{number:05d}{Path(SOURCES[number % len(SOURCES)]).suffix}" for number in range(asked.files)}
    expected |= {f"odd/{case.name}" for case in corpus.CASES if case.status != "passed over" and case.told != ("name",)}
    missing = sorted(expected - recorded)
    print(f"\n{len(expected)} files, {len(missing)} without a record" + "".join(f"\n  {name}" for name in missing[:20]))
    return 0 if all(well) and not missing else 1


if __name__ == "__main__":
    sys.exit(main())
