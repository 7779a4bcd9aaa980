"""Mutated and hostile pickles through the restricted unpickler: python -m tests.fuzz_pickles 10000 [--seed 1111]

Each must end in content or in a DatasetError, and may neither import, run, write nor connect to anything: an audit hook
and a marker file tell. Prints the counts by outcome; exits with 1 where one did otherwise, naming its number, by which
`--only` makes it again. A process of its own, since an audit hook stays and the memory is limited.
"""

import argparse
import builtins
import codecs
import importlib
import os
import pickle
import pickletools
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DatasetError
from pipeline.mmsa import pickles

MEMORY = 512 << 20  # bytes of address space more than the process has when it starts
SECONDS = 20  # for one file
MARKER = Path("hit")
FILE = Path("fuzz.pkl")
HARMLESS = ("tempfile.mkstemp", "builtins.id")  # the folder of the copies; reprlib, for a message
Random = random.Random


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def content() -> dict[str, Any]:
    """A small file of MMSA's format."""
    rng = np.random.default_rng(0)
    return {
        name: {
            "raw_text": ["GOOD MOVIE", "bad"],
            "id": [f"{name}$_$0", f"{name}$_$1"],
            "text_bert": rng.integers(0, 9, (2, 3, 6)).astype(np.float32),
            "audio": rng.normal(size=(2, 4, 3)),
            "vision": np.asfortranarray(rng.normal(size=(2, 3, 2))),
            "audio_lengths": [np.int64(4), 2],
            "annotations": np.array(["Negative", "Positive"]),
            "names": np.array(["a", "b"], object),
            "regression_labels": rng.normal(size=2).astype(np.float32),
        }
        for name in ("train", "valid", "test")
    }


def valid() -> list[bytes]:
    """That content by every protocol, framed and unframed, by numpy 2 and 1."""
    whole = [pickle.dumps(content(), protocol) for protocol in (2, 3, 4, 5)]
    found = [*whole, *(unframed(raw) for raw in whole[2:])]
    return [*found, *(raw.replace(b"numpy._core.", b"numpy.core.") for raw in (found[0], found[1]))]


def unframed(raw: bytes) -> bytes:
    """Without frames, so that a byte more or less does not end it at once."""
    places = [place for opcode, _, place in pickletools.genops(raw) if opcode.name == "FRAME"]
    for place in reversed(places):
        raw = raw[:place] + raw[place + 9 :]
    return raw


def starts(raw: bytes) -> list[int]:
    """Where the opcodes begin, without the first and the last."""
    return [place for _, _, place in pickletools.genops(raw)][1:-1]


def inner(call: Call, protocol: int) -> bytes:
    """The opcodes that push the call's result."""
    return unframed(pickle.dumps(call, protocol))[2:-1]


def hostile() -> list[bytes]:
    """Opcodes that push one value, each after something that must not happen."""
    mark, touch = str(MARKER), f"touch {MARKER}"
    calls = [
        Call(os.system, touch),
        Call(builtins.eval, f"open({mark!r}, 'w')"),
        Call(builtins.exec, f"open({mark!r}, 'w')"),
        Call(builtins.open, mark, "w"),
        Call(builtins.__import__, "this"),
        Call(importlib.import_module, "wave"),
        Call(subprocess.Popen, ["touch", mark]),
        Call(socket.create_connection, ("127.0.0.1", 9)),
        Call(np.memmap, mark, "f4", "w+", 0, (2,)),
        Call(np.load, mark, None, True),
        Call(getattr, Call(builtins.__import__, "os"), "system"),
        Call(builtins.map, Call(os.system, touch), [1]),
    ]
    text = touch.encode()
    short = b"X" + len(text).to_bytes(4, "little") + text
    deep = b")" + b"\x85" * 200_000
    laughs = b")" + b"2\x86" * 60  # a tuple of itself twice, sixty times over
    raw = [
        b"(S'" + text + b"'\nios\nsystem\n",
        b"(cos\nsystem\n" + short + b"o",
        b"\x8c\x02os\x8c\x06system\x93" + short + b"\x85R",
        b"\x8c\x05numpy\x8c\x14dtype.__subclasses__\x93)R",
        b"\x8c\x05numpy\x8c\x25dtype.__init__.__globals__.__getitem__\x93\x8c\x02os\x85R",
        b"cnumpy.core.multiarray\n__builtins__.eval\n" + short + b"\x85R",
        b"cnumpy.core.multiarray\n_reconstruct\n(cos\nsystem\nK\x00\x85\x8c\x01btR",
        b"cnumpy\nndarray\n)\x81",
        b"cnumpy\ndtype\n\x8c\x02f8\x85\x81",
        b"cnumpy\ndtype\n)}\x8c\x04copyK\x01s\x92",
        b"ccollections\nOrderedDict\n)R}\x8c\x05__dict__" + short + b"sb",
        b"ccollections\nOrderedDict\n)RN}\x8c\x09__class__cnumpy\ndtype\ns\x86b",
        b"cnumpy\ndtype\n\x8c\x02f8\x85R(K\x03\x8c\x01<NNNtb",
        b"cnumpy\ndtype\n\x8c\x0aS999999999\x85R",
        b"cnumpy\ndtype\n\x8c\x0bU4294967295\x85R",
        b"c_codecs\nencode\n\x8c\x03abc\x8c\x05rot13\x86R",
        b"c_codecs\nencode\n\x8c\x03abc" + laughs + b"\x86R",
        b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n\x8c\x02O8\x85RC\x02N.\x86R",
        b"cnumpy._core.numeric\n_frombuffer\n(C\x00cnumpy\ndtype\n\x8c\x02f8\x85R" + laughs + b"\x8c\x01CtR",
        b"cnumpy._core.numeric\n_frombuffer\n(C\x08aaaaaaaacnumpy\ndtype\n\x8c\x02f8\x85RK\x01\x85\x8c\x01AK\x07\x85tR",
        b"cnumpy._core.numeric\n_frombuffer\n(C\x00cnumpy\ndtype\n\x8c\x02f8\x85R\x8a\x07\xff\xff\xff\xff\xff\xff\x0fK\x00\x86\x8c\x01CtR",
        b"}" + deep + b"K\x01s",
        b"}" + laughs + b"K\x01s",
        b"(" + deep + b"K\x01d",
        b"\x8f(" + deep + b"\x90",
        b"(" + laughs + b"\x91",
        b"ccollections\nOrderedDict\n](" + deep + b"K\x01\x86e\x85R",
        b"Pos.system\n",
        short + b"Q",
        b"\x82\x01",
        b"\x84\x01\x00\x00\x00",
        b"\x97",
        b"\x8b" + b"\xff\xff\xff\x7f",
        b"\x8e" + (1 << 60).to_bytes(8, "little"),
        b"\x96" + (1 << 60).to_bytes(8, "little"),
        b"\x8d" + (1 << 62).to_bytes(8, "little"),
        b"\x95" + (1 << 63).to_bytes(8, "little"),
        b"B\xff\xff\xff\xff",
        b"Nr\xff\xff\xff\xff",
        b"Np123456789012345678901234567890\n",
        b"I" + b"9" * 5000 + b"\n",
        b"V" + b"a" * 100_000,
        b"(" * 10_000 + b"N" + b"1" * 10,
        b"(lI0\naI1\nah\x00",
    ]
    return [*raw, *(inner(call, protocol) for call in calls for protocol in (2, 3, 4))]


def flips(raw: bytes, draw: Random) -> bytes:
    changed = bytearray(raw)
    for _ in range(draw.randint(1, 8) if raw else 0):
        changed[draw.randrange(len(raw))] = draw.randrange(256)
    return bytes(changed)


def cut(raw: bytes, draw: Random) -> bytes:
    first, last = sorted(draw.sample(range(len(raw)), 2))
    return raw[:first] if draw.random() < 0.5 else raw[:first] + raw[last:]


def inserted(raw: bytes, draw: Random) -> bytes:
    """A few opcodes with arguments of any bytes, between two of the file's."""
    place = draw.choice(starts(raw))
    opcodes = draw.choices([code.code.encode("latin1") for code in pickletools.opcodes], k=draw.randint(1, 4))
    return raw[:place] + b"".join(code + draw.randbytes(draw.choice((0, 1, 2, 4, 8))) for code in opcodes) + raw[place:]


def spliced(raw: bytes, draw: Random) -> bytes:
    """Something hostile between two opcodes; its value is thrown away, kept, called or set as a state."""
    place, after = draw.choice(starts(raw)), draw.choice((b"0", b"0", b"", b")R", b"b", b".", b"\x94", b"2\x86"))
    return raw[:place] + draw.choice(HOSTILE) + after + raw[place:]


def renamed(raw: bytes, draw: Random) -> bytes:
    """Another function in place of one of numpy's."""
    text = raw.replace(b"numpy._core.", b"numpy.core.")
    known = [
        b"_reconstruct",
        b"ndarray",
        b"dtype",
        b"scalar",
        b"encode",
        b"latin1",
        b"numpy",
        b"_codecs",
        b"_frombuffer",
    ]
    there = [name for name in known if name in text] or [b"train"]
    others = (b"os", b"posix", b"system", b"eval", b"builtins", b"subprocess", b"Popen", b"fromfile", b"__class__")
    return text.replace(draw.choice(there), draw.choice(others), draw.randint(1, 3))


def lengthened(raw: bytes, draw: Random) -> bytes:
    """A length, shape or place in the memo that is far too large."""
    long = [
        place for opcode, _, place in pickletools.genops(raw) if opcode.code in "XBTFGjr\x8a\x8b\x8d\x8e\x95\x96KMJ"
    ]
    place = draw.choice(long)
    return raw[: place + 1] + draw.choice((b"\xff" * 4, b"\xff" * 8, b"\xff\xff\xff\x7f")) + raw[place + 5 :]


MUTATIONS: tuple[Callable[[bytes, Random], bytes], ...] = (flips, cut, inserted, spliced, spliced, renamed, lengthened)
HOSTILE = hostile()


def mutated(index: int, seed: int, seeds: list[bytes]) -> tuple[str, bytes]:
    """The mutation's name and the file of that number."""
    draw = Random(f"{seed}/{index}")
    mutation = draw.choice(MUTATIONS)
    raw = mutation(draw.choice(seeds), draw)
    return mutation.__name__, flips(raw, draw) if draw.random() < 0.1 else raw


class Watch:
    """What the interpreter does beside reading the file, while `on`."""

    def __init__(self, spare: Path) -> None:
        self.on, self.seen, self.spare = False, [], str(spare)
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event in HARMLESS:
            return
        if event == "open" and (str(arguments[0]).startswith(self.spare) or str(arguments[0]) == str(FILE)):
            return  # the copies of arrays; the file itself
        self.seen.append(f"{event} {arguments!r}"[:200])

    @contextmanager
    def watching(self) -> Iterator[None]:
        self.seen, self.on = [], True
        try:
            yield
        finally:
            self.on = False


def _late(*_: Any) -> None:
    raise TimeoutError(f"took more than {SECONDS} s")


def opened(watch: Watch, raw: bytes, spare: Path) -> str:
    """content, refused or damaged; whatever else the file led to, in words."""
    FILE.write_bytes(raw)
    signal.alarm(SECONDS)
    try:
        with watch.watching(), pickles.opened(FILE, spare) as found:
            _read(found)
        outcome = "content"
    except DatasetError as error:
        outcome = "refused" if "Nothing of it was run." in str(error) else "damaged"
        if len(str(error)) > 500:
            outcome = f"a message of {len(str(error))} characters"
    except BaseException as error:
        outcome = f"{type(error).__name__}: {error}"[:200]
    finally:
        signal.alarm(0)
    if MARKER.exists():
        MARKER.unlink()
        watch.seen.append("the marker file is there")
    return "; ".join(watch.seen) or outcome


def _read(found: Any) -> None:
    """The first row of every array of a split, as the importer reads it."""
    splits = found.values() if isinstance(found, dict) else []
    for values in (value for split in splits if isinstance(split, dict) for value in split.values()):
        if isinstance(values, pickles.Array) and values.shape and len(values):
            values.row(0)


def run(count: int, seed: int, only: int | None) -> int:
    """Print the outcomes; the number of files that ended in none of the three."""
    seeds, counts, wrong = valid(), Counter(), 0
    pickles.INLINE, pickles.BLOCK = 64, 100  # so that these small arrays stay in the file
    spare = Path("spare").absolute()
    spare.mkdir(exist_ok=True)
    watch = Watch(spare)
    signal.signal(signal.SIGALRM, _late)
    codecs.lookup("raw-unicode-escape")  # protocol 0's, loaded at its first use
    for raw in (*seeds, *seeds):  # at the first time what reading needs is loaded
        outcome = opened(watch, raw, spare)
    if outcome != "content":
        raise SystemExit(f"a valid file: {outcome}")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    for index in [only] if only is not None else range(count):
        Path("number").write_text(str(index))  # whoever finds this process gone knows at which
        name, raw = mutated(index, seed, seeds)
        outcome = opened(watch, raw, spare)
        if outcome not in ("content", "refused", "damaged"):
            wrong += 1
            print(f"{index} ({name}): {outcome}")
        counts[name, outcome if outcome in ("content", "refused", "damaged") else "wrong"] += 1
    for (name, outcome), number in sorted(counts.items()):
        print(f"{name:10} {outcome:8} {number:6,}")
    total = Counter(outcome for (_, outcome), number in counts.items() for _ in range(number))
    told = ", ".join(f"{outcome} {number:,}" for outcome, number in sorted(total.items()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{sum(total.values()):,} pickles: {told}; {peak} MiB at the most")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1111)
    parser.add_argument("--only", type=int, help="the number of one file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        sys.exit(run(options.count, options.seed, options.only) > 0)


if __name__ == "__main__":
    main()
