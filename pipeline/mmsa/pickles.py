"""Pickles that hold numpy arrays and plain containers and nothing else, their arrays left in the file.

Whatever a pickle names is looked up in one list, and each entry of it is a stand-in of this module: nothing that the
file names ever runs. Bytes and strings longer than INLINE are not read but noted (a Span), so a file of many gigabytes
opens in a few megabytes, and `Array.row` reads one clip at a time. Protocols 2 to 5, numpy 1 and 2.

This needs `pickle._Unpickler`, the unpickler written in Python, which is private: the public one, in C, lets neither its
opcodes be replaced nor long values stay in the file. `_unfit` tries it once a process; where a Python has another, files are
refused, since no guard would hold.
"""

import codecs
import io
import math
import os
import pickle
import platform
import re
import reprlib
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pipeline.datasets.refusal import shown
from pipeline.errors import DatasetError

INLINE = 1 << 16  # bytes; what is longer stays in the file
BLOCK = 1 << 25  # bytes held while an array is brought into row order
MAX_FRAME = 1 << 26  # bytes; pickle's own frames are of 64 KiB, its other values far shorter
KEYS = (str, int, float, bytes, type(None))  # a dict's; a tuple's hash may take for ever, or all of the C stack
UNPICKLER: Any = getattr(pickle, "_Unpickler", pickle.Unpickler)
HOSTILE = (
    b"}}b.",  # a state
    *(b"\x8f.", b"}(K\x01K\x01\x91K\x01s."),  # sets
    *(b"})K\x01s.", b"}()K\x01u.", b"()K\x01d."),  # a tuple as a key
)
DTYPE = re.compile(r"[biufSUO][1-9]\d*")  # numbers, text, objects
DAMAGE = (
    *(pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError),
    MemoryError,
)


@dataclass(frozen=True)
class Span:
    """Bytes that stay where they are. text: they are the UTF-8 of a string."""

    file: BinaryIO
    offset: int
    length: int
    text: bool = False

    def read(self, start: int, size: int) -> bytes:
        self.file.seek(self.offset + start)
        return self.file.read(size)


class Array:
    """An array of the file. Its bytes are those of the shape `stored` in C order; `axes` transposes that to `shape`."""

    def __init__(self, spare: BinaryIO) -> None:
        self._spare = spare
        self._fill((0,), np.dtype("f8"), Span(io.BytesIO(), 0, 0), None)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        axes = tuple(range(len(shape)))[::-1] if fortran else None
        self._fill(shape[::-1] if fortran else shape, dtype.numpy, data, axes)

    def _fill(self, stored: Any, dtype: np.dtype, data: Any, axes: Any) -> None:
        stored = tuple(stored)
        longest = sys.maxsize if all(stored) else INLINE  # rows that hold nothing could be without end
        if not all(type(side) is int and 0 <= side <= longest for side in stored):
            raise ValueError(f"an array has the shape {shown(reprlib.repr(stored))}")
        self.dtype, self._stored = dtype, stored
        self._axes = tuple(axes) if axes is not None else tuple(range(len(stored)))
        if not all(type(axis) is int for axis in self._axes) or sorted(self._axes) != list(range(len(stored))):
            raise ValueError(f"an array of {len(stored)} axes has them in the order {shown(reprlib.repr(self._axes))}")
        self.shape = tuple(self._stored[axis] for axis in self._axes)
        if dtype.hasobject != isinstance(data, list):
            raise ValueError(f"an array of {dtype} holds a {type(data).__name__}")
        self._objects: list[Any] | None = data if dtype.hasobject else None
        self._span = (
            data if isinstance(data, Span) else Span(io.BytesIO(data if self._objects is None else b""), 0, len(data))
        )
        if not self._span.text:
            self._check(self._span)

    def _check(self, span: Span) -> None:
        expected = math.prod(self.shape) * (1 if self.dtype.hasobject else self.dtype.itemsize)
        if span.length != expected:
            raise ValueError(f"an array of {self.dtype} {self.shape} needs {expected:,} bytes, it has {span.length:,}")

    def __len__(self) -> int:
        return self.shape[0]

    def row(self, index: int, most: int | None = None) -> Any:
        """Item `index` of the first axis; of its own first axis, `most` at the most."""
        if self._objects is not None:
            return self._objects[index]
        inner = self.shape[1:] if most is None else (min(most, self.shape[1]), *self.shape[2:])
        size = self.dtype.itemsize
        raw = self._rows.read(index * math.prod(self.shape[1:]) * size, math.prod(inner) * size)
        return np.frombuffer(raw, self.dtype).reshape(inner)

    def tolist(self) -> list[Any]:
        """A column's values: one number, string or object a row. Raises ValueError where a row holds several."""
        rows = (self.row(index) for index in range(len(self)))
        return [row.item() if isinstance(row, np.ndarray) else row for row in rows]

    @cached_property
    def _rows(self) -> Span:
        """The bytes of `shape` in C order; of an array that is stored otherwise, a copy on disk."""
        span = self._span
        if span.text:
            try:
                span = _encoded(span, self._spare)
                self._check(span)
            except ValueError as error:
                raise DatasetError(f"An array of the file is damaged ({error}). Download it again.") from None
        if self._axes == tuple(range(len(self.shape))):
            return span
        return _written(self._spare, self._transposed(span))

    def _transposed(self, span: Span) -> Iterator[bytes]:
        """Blocks of rows in C order, each gathered from all over the span."""
        first = self._axes[0]
        outer, inner = math.prod(self._stored[:first]), math.prod(self._stored[first + 1 :]) * self.dtype.itemsize
        rows = max(BLOCK // max(outer * inner, 1), 1)
        for start in range(0, len(self), rows):
            count = min(rows, len(self) - start)
            parts = [span.read((place * len(self) + start) * inner, count * inner) for place in range(outer)]
            block = np.frombuffer(b"".join(parts), self.dtype)
            shape = (*self._stored[:first], count, *self._stored[first + 1 :])
            yield block.reshape(shape).transpose(self._axes).tobytes()


def _encoded(span: Span, spare: BinaryIO) -> Span:
    """The bytes that protocol 2 writes as a string of as many characters."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    starts = range(0, span.length, BLOCK)
    parts = (span.read(start, min(BLOCK, span.length - start)) for start in starts)
    return _written(spare, (decoder.decode(part).encode("latin1") for part in parts))


def _written(spare: BinaryIO, parts: Iterator[bytes]) -> Span:
    """The parts, at the end of the spare file (which they may be read from)."""
    start = end = spare.seek(0, os.SEEK_END)
    for part in parts:
        spare.seek(end)
        end += spare.write(part)
    return Span(spare, start, end - start)


class _Dtype:
    """numpy.dtype(code), its byte order set by what follows it."""

    def __init__(self, code: str, *_: Any) -> None:
        if not DTYPE.fullmatch(code):
            raise DatasetError(f"holds an array of the type {code!r}, expected numbers, text or objects")
        self.numpy = np.dtype("O" if code.startswith("O") else code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in "<>":
            self.numpy = self.numpy.newbyteorder(state[1])


class _Source:
    """The file as opcodes read it: a value whole or not at all, and none of a length that only a hostile one has."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, length: int) -> bytes:
        if length > MAX_FRAME:
            raise DatasetError(f"has a value of {length:,} bytes, expected {MAX_FRAME:,} at the most")
        found = self._file.read(length)
        if len(found) < length:
            raise EOFError("it ends too early")
        return found

    def readline(self) -> bytes:
        found = self._file.readline(INLINE)
        if not found.endswith(b"\n"):
            raise EOFError("a line of it has no end")
        return found


class _Reader(UNPICKLER):
    dispatch: dict[int, Any] = dict(getattr(UNPICKLER, "dispatch", {}))

    def __init__(self, file: BinaryIO, spare: BinaryIO) -> None:
        super().__init__(_Source(file))
        self.file, self.spare, self.size = file, spare, os.fstat(file.fileno()).st_size
        self.known: dict[str, Any] = {
            "numpy.ndarray": None,  # an argument, never called
            "numpy.dtype": _Dtype,
            "numpy._core.multiarray._reconstruct": lambda *_: Array(spare),
            "numpy._core.multiarray.scalar": self._scalar,
            "numpy._core.numeric._frombuffer": self._frombuffer,
            "_codecs.encode": self._encode,
            "collections.OrderedDict": lambda items=(): OrderedDict((_key(key), value) for key, value in items),
        }

    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}"
        ours = re.sub(r"^numpy\.core\.", "numpy._core.", wanted)
        if ours not in self.known:
            raise DatasetError(f"tries to use {shown(wanted)}; numpy arrays and plain containers are all it may hold")
        return self.known[ours]

    def load_build(self) -> None:
        if not isinstance(self.stack[-2], Array | _Dtype):
            raise DatasetError(f"tries to change an object of the type {type(self.stack[-2]).__name__}")
        super().load_build()

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({_key(items[index]): items[index + 1] for index in range(0, len(items), 2)})

    def load_setitem(self) -> None:
        _key(self.stack[-2])
        super().load_setitem()

    def load_setitems(self) -> None:
        for key in self.stack[::2]:
            _key(key)
        super().load_setitems()

    def load_set(self) -> None:
        raise DatasetError("holds a set, expected lists and dicts")

    def blob(self, length: int, text: bool) -> None:
        """Push a string of bytes or characters: a short one itself, a long one as a Span."""
        frame = self._unframer.current_frame
        in_frame = frame is not None and frame.tell() < len(frame.getbuffer())
        if length <= INLINE or in_frame:
            raw = self.read(length)
            self.append(str(raw, "utf-8", "surrogatepass") if text else raw)
            return
        span = Span(self.file, self.file.tell(), length, text)
        if span.offset + length > self.size:
            raise EOFError(f"it ends at byte {self.size:,}, expected {span.offset + length:,} at least")
        self.file.seek(length, os.SEEK_CUR)
        self.append(span)

    def _encode(self, text: Any, encoding: str) -> Any:
        if encoding != "latin1":
            raise DatasetError(f"tries to use _codecs.encode with {shown(reprlib.repr(encoding))}, expected latin1")
        return text if isinstance(text, Span) else text.encode("latin1")

    def _scalar(self, dtype: _Dtype, raw: bytes) -> Any:
        return np.frombuffer(raw, dtype.numpy)[0].item()

    def _frombuffer(self, data: Any, dtype: _Dtype, shape: Any, order: str, axes: Any = None) -> Array:
        array = Array(self.spare)
        fortran = order == "F"
        array._fill(shape[::-1] if fortran else shape, dtype.numpy, data, range(len(shape))[::-1] if fortran else axes)
        return array

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch.update(dict.fromkeys((pickle.EMPTY_SET[0], pickle.FROZENSET[0], pickle.ADDITEMS[0]), load_set))


def _key(found: Any) -> Any:
    if not isinstance(found, KEYS):
        raise DatasetError(f"has a dict with a {type(found).__name__} for a key, expected strings or numbers")
    return found


def _blob(width: int, text: bool) -> Callable[[_Reader], None]:
    """An opcode: a length of so many bytes, then the content."""
    return lambda reader: reader.blob(int.from_bytes(reader.read(width), "little"), text)


for _opcode in (pickle.BINBYTES, pickle.BINSTRING):
    _Reader.dispatch[_opcode[0]] = _blob(4, text=False)
for _opcode in (pickle.BINBYTES8, pickle.BYTEARRAY8):
    _Reader.dispatch[_opcode[0]] = _blob(8, text=False)
_Reader.dispatch[pickle.BINUNICODE[0]] = _blob(4, text=True)
_Reader.dispatch[pickle.BINUNICODE8[0]] = _blob(8, text=True)


def _whole(raw: bytes) -> Any:
    with tempfile.TemporaryFile() as file:
        file.write(raw)
        file.seek(0)
        return _Reader(file, io.BytesIO()).load()


def _refuses(raw: bytes) -> bool:
    try:
        _whole(raw)
    except DatasetError:
        return True
    return False


@cache
def _unfit() -> str | None:
    """Why the guards of _Reader do not hold in this Python; None where they do."""
    try:
        content = _whole(pickle.dumps({"long": bytes(1 << 17), "numbers": np.arange(3.0)}, 4))
        if not isinstance(content["long"], Span) or content["numbers"].tolist() != [0.0, 1.0, 2.0]:
            return "it reads other values"
        return None if all(map(_refuses, HOSTILE)) else "its opcodes are not replaced"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@contextmanager
def opened(path: Path, spare: Path) -> Iterator[Any]:
    """What a pickle holds: containers, strings, numbers and Arrays, which can be read until the block ends.

    spare: a folder for the copies of arrays that are not stored row after row. Raises DatasetError naming what a
    hostile pickle tried, or what is wrong with a damaged one.
    """
    if why := _unfit():
        raise DatasetError(
            f"{path} is not read: pickles can be harmful, and the guards against it need pickle._Unpickler, which Python "
            f"{platform.python_version()} lacks or has changed ({why}). Use Python 3.11 to 3.13."
        )
    with path.open("rb") as file, tempfile.TemporaryFile(dir=spare) as copies:
        try:
            content = _Reader(file, copies).load()
        except DatasetError as error:
            raise DatasetError(f"{path} is refused: it {error}. Nothing of it was run.") from None
        except DAMAGE as error:
            told = shown(str(error)) or type(error).__name__
            raise DatasetError(f"{path} is no pickle that can be read ({told}). Download it again.") from None
        yield content
