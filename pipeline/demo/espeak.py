"""One sentence by espeak-ng, run as a process of its own: its arguments in as JSON on stdin, int16 samples out on stdout.

espeak-ng carries state from one sentence to the next, so the same call in one process gives other samples
each time; a fresh process whose C random generator is seeded just before gives the same. This file is run
by its path and imports nothing of ours.
"""

import ctypes
import json
import sys

RETRIEVE = 1  # AUDIO_OUTPUT_RETRIEVAL: samples come to the callback
UTF8 = 1  # espeakCHARS_UTF8
PARAMETERS = {"rate": 1, "pitch": 3, "range": 4}  # espeak_PARAMETER: words a minute; 0-100; 0-100, 0 is monotone
Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def synthesize(text: str, voice: str, seed: int, settings: dict[str, int]) -> tuple[int, bytes]:
    """The sample rate in Hz and mono int16 samples. Raises LookupError for a voice that espeak-ng lacks."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    pieces: list[bytes] = []

    @Callback
    def keep(samples: ctypes.Array[ctypes.c_short], count: int, _: object) -> int:
        if samples and count:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    rate = library.espeak_Initialize(RETRIEVE, 0, espeakng_loader.get_data_path().encode(), 0)
    library.espeak_SetSynthCallback(keep)
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise LookupError(f"espeak-ng has no voice {voice!r}")
    for name, value in settings.items():
        library.espeak_SetParameter(PARAMETERS[name], value, 0)
    ctypes.CDLL(None).srand(seed)
    said = text.encode() + b"\0"
    library.espeak_Synth(said, len(said), 0, 0, 0, UTF8, None, None)
    library.espeak_Synchronize()
    return rate, b"".join(pieces)


if __name__ == "__main__":
    rate, samples = synthesize(**json.load(sys.stdin))
    sys.stdout.buffer.write(rate.to_bytes(4, "little") + samples)
