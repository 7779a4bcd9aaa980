"""The COVAREP-like features beside COVAREP's own, beside the truth, and how fast they are.

    python -m benchmarks.covarep agreement FOLDER   .npz (features, names) as COVAREP gave them, beside their .wav
    python -m benchmarks.covarep truth              synthetic voices whose F0, closures, NAQ and Rd are known
    python -m benchmarks.covarep speed FOLDER       .wav; one core, otherwise idle
    python -m benchmarks.covarep ranges MOSI.npz FOLDER OUT.png
                                                    a CMU-MOSI clip's features beside ours of the .wav

The tables are Markdown. A .wav is 16 kHz, mono, 16 bits.
"""

import argparse
import os
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def main() -> None:
    options = _options()
    os.environ.update(dict.fromkeys(THREADS, "1"))  # before NumPy is imported
    from benchmarks import covarep_agreement, covarep_ranges, covarep_speed, covarep_truth
    from report.tables import markdown

    if options.what == "ranges":
        covarep_ranges.run(options.mosi, options.folder, options.picture)
        return
    run = {"agreement": covarep_agreement.run, "speed": covarep_speed.run, "truth": lambda _: covarep_truth.run()}
    print(markdown(run[options.what](options.folder)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.covarep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="what", required=True)
    for name in ("agreement", "truth", "speed"):
        command = commands.add_parser(name)
        if name == "truth":
            command.set_defaults(folder=None)
        else:
            command.add_argument("folder", type=Path)
    command = commands.add_parser("ranges")
    for name in ("mosi", "folder", "picture"):
        command.add_argument(name, type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
