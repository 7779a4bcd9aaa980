"""Which sounds become a transcript: real clips, and made ones that a recogniser invents words for.

    python -m benchmarks.hearing --english ../clips/talking --silent ../clips/edge

Makes speech in English and 27 other languages (espeak-ng), noise, hum, music, vowels that are sung, babble of many
voices, and words in a loop; adds the clips of two folders, in which English is spoken and in which nobody speaks. Prints by kind how many
clips keep their words. The thresholds were chosen on the first of two halves; the second has other languages, sentences and seeds.
`--times` prints instead how far the times of single spoken words lie from where they were put.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
from scipy.signal import lfilter, resample_poly

from benchmarks.wer import errors, spelled
from pipeline import media, params
from pipeline.demo import sentences as demo
from pipeline.demo import voice
from pipeline.transcribe import recogniser, trust
from pipeline.transcribe.words import normalise
from report.tables import Table, markdown

FOREIGN: tuple[dict[str, tuple[str, ...]], ...] = (  # by language, a half each
    {
        "cmn": (
            "我觉得这部电影非常好看，演员也很棒。",
            "今天天气不太好，我们待在家里吧。",
            "这个故事太无聊了，我差点睡着。",
        ),
        "de": (
            "Der Film hat mir sehr gut gefallen.",
            "Heute ist das Wetter leider schlecht, wir bleiben zu Hause.",
            "Die Geschichte war so langweilig, dass ich fast eingeschlafen bin.",
        ),
        "es": (
            "La película me gustó muchísimo.",
            "Hoy hace mal tiempo, así que nos quedamos en casa.",
            "La historia era tan aburrida que casi me duermo.",
        ),
        "fr": (
            "Ce film m'a beaucoup plu.",
            "Aujourd'hui il fait mauvais, alors nous restons à la maison.",
            "L'histoire était si ennuyeuse que j'ai failli m'endormir.",
        ),
        "it": (
            "Il film mi è piaciuto moltissimo.",
            "Oggi fa brutto tempo, quindi restiamo a casa.",
            "La storia era così noiosa che quasi mi addormentavo.",
        ),
        "pt": (
            "Eu gostei muito do filme.",
            "Hoje o tempo está ruim, então ficamos em casa.",
            "A história era tão chata que eu quase dormi.",
        ),
        "ru": (
            "Мне очень понравился этот фильм.",
            "Сегодня плохая погода, поэтому мы остаёмся дома.",
            "История была такой скучной, что я чуть не уснул.",
        ),
        "nl": (
            "Ik vond de film erg goed.",
            "Vandaag is het slecht weer, dus we blijven thuis.",
            "Het verhaal was zo saai dat ik bijna in slaap viel.",
        ),
        "pl": (
            "Ten film bardzo mi się podobał.",
            "Dzisiaj jest brzydka pogoda, więc zostajemy w domu.",
            "Historia była tak nudna, że prawie zasnąłem.",
        ),
        "tr": (
            "Filmi çok beğendim.",
            "Bugün hava kötü, bu yüzden evde kalıyoruz.",
            "Hikaye o kadar sıkıcıydı ki neredeyse uyuyordum.",
        ),
        "sv": (
            "Jag tyckte mycket om filmen.",
            "Idag är det dåligt väder, så vi stannar hemma.",
            "Historien var så tråkig att jag nästan somnade.",
        ),
        "hi": (
            "मुझे यह फिल्म बहुत पसंद आई।",
            "आज मौसम खराब है इसलिए हम घर पर रहेंगे।",
            "कहानी इतनी उबाऊ थी कि मैं सो गया।",
        ),
        "fi": (
            "Pidin elokuvasta todella paljon.",
            "Tänään on huono sää, joten jäämme kotiin.",
            "Tarina oli niin tylsä, että melkein nukahdin.",
        ),
        "el": (
            "Μου άρεσε πολύ η ταινία.",
            "Σήμερα ο καιρός είναι κακός και μένουμε στο σπίτι.",
            "Η ιστορία ήταν τόσο βαρετή που σχεδόν κοιμήθηκα.",
        ),
        "ko": (
            "저는 그 영화가 정말 좋았어요.",
            "오늘은 날씨가 나빠서 집에 있어요.",
            "이야기가 너무 지루해서 잠들 뻔했어요.",
        ),
    },
    {
        "ja": (
            "この映画はとても面白かったです。",
            "今日は天気が悪いので家にいます。",
            "駅はどこにあるか教えてください。",
            "子供たちがドアのそばで話しています。",
        ),
        "ar": (
            "أعجبني هذا الفيلم كثيرا.",
            "الطقس سيئ اليوم لذلك سنبقى في البيت.",
            "هل يمكنك أن تخبرني أين المحطة؟",
            "الأطفال يتكلمون قرب الباب.",
        ),
        "ro": (
            "Mi-a plăcut foarte mult filmul.",
            "Astăzi vremea este rea, așa că rămânem acasă.",
            "Îmi puteți spune unde este gara?",
            "Copiii vorbesc lângă ușă.",
        ),
        "cs": (
            "Ten film se mi moc líbil.",
            "Dnes je ošklivo, takže zůstaneme doma.",
            "Můžete mi říct, kde je nádraží?",
            "Děti si povídají u dveří.",
        ),
        "da": (
            "Jeg kunne virkelig godt lide filmen.",
            "I dag er vejret dårligt, så vi bliver hjemme.",
            "Kan du sige mig, hvor stationen er?",
            "Børnene taler ved døren.",
        ),
        "hu": (
            "Nagyon tetszett a film.",
            "Ma rossz az idő, ezért otthon maradunk.",
            "Meg tudja mondani, hol van az állomás?",
            "A gyerekek az ajtónál beszélgetnek.",
        ),
        "id": (
            "Saya sangat suka film itu.",
            "Hari ini cuaca buruk, jadi kami tinggal di rumah.",
            "Bisakah Anda memberi tahu saya di mana stasiunnya?",
            "Anak-anak berbicara di dekat pintu.",
        ),
        "uk": (
            "Мені дуже сподобався цей фільм.",
            "Сьогодні погана погода, тому ми залишаємося вдома.",
            "Скажіть, будь ласка, де вокзал?",
            "Діти розмовляють біля дверей.",
        ),
        "ca": (
            "La pel·lícula m'ha agradat molt.",
            "Avui fa mal temps, així que ens quedem a casa.",
            "Em pot dir on és l'estació?",
            "Els nens parlen a prop de la porta.",
        ),
        "nb": (
            "Jeg likte filmen veldig godt.",
            "I dag er det dårlig vær, så vi blir hjemme.",
            "Kan du si meg hvor stasjonen er?",
            "Barna snakker ved døren.",
        ),
        "vi": (
            "Tôi rất thích bộ phim này.",
            "Hôm nay thời tiết xấu nên chúng tôi ở nhà.",
            "Anh có thể cho tôi biết nhà ga ở đâu không?",
            "Bọn trẻ đang nói chuyện bên cửa.",
        ),
        "fa": (
            "من این فیلم را خیلی دوست داشتم.",
            "امروز هوا بد است و ما در خانه می‌مانیم.",
            "می‌توانید بگویید ایستگاه کجاست؟",
            "بچه‌ها کنار در حرف می‌زنند.",
        ),
    },
)
ENGLISH: tuple[tuple[str, ...], ...] = (  # a half each
    (
        "I really liked this movie, the actors were great.",
        "The weather is bad today, so we are staying at home.",
        "The story was so boring that I almost fell asleep.",
        "Could you tell me where the station is?",
        "Yesterday we walked in the park and saw many flowers.",
        "He said that he will call you tomorrow morning.",
        "The food in this restaurant is cheap and tasty.",
        "The children are talking by the door.",
        "I do not agree with you, it is not that simple.",
        "The music was beautiful, but the ending disappointed me.",
        "We have to finish the report before Friday.",
        "My brother bought a new car last week.",
        "She opened the window and looked at the sea.",
        "Please turn off the light when you leave.",
        "There are seven books on the kitchen table.",
        "It costs twenty dollars and it is worth every cent.",
        "You should never give up on your dreams.",
        "The train to London leaves in ten minutes.",
        "I cannot believe how slow this computer is.",
        "Thank you very much for your help.",
    ),
    (
        "Nobody told me that the shop would be closed today.",
        "We are looking forward to meeting your parents.",
        "The actor forgot his lines in the second act.",
        "It is raining again, so take an umbrella with you.",
        "I would rather drink a cup of coffee.",
        "My sister works in a hospital near the river.",
        "That was the funniest scene I have ever seen.",
        "They promised to repair the roof next month.",
        "Why did you leave the party so early?",
        "The camera was shaking during the whole film.",
        "He speaks three languages and plays the piano.",
        "This book changed the way I think about money.",
        "Her voice sounds tired and a little sad.",
        "The bus was late, and we missed the beginning.",
        "I think the director made a big mistake.",
        "Can I have the bill, please?",
    ),
)

VARIANTS = ("", "+f1", "+m1", "+m3", "+f4", "+Mike", "+Henrique", "+edward")
LOOPED = ("please", "yes", "no", "hello", "thank you", "never", "okay", "film", "why not", "stop", "look at that", "la")
SINGLE = (
    *("yesterday", "wonderful", "terrible", "music", "children", "window", "seven", "kitchen", "beautiful", "slowly"),
    *("brother", "morning", "computer", "garden", "happy", "problem", "monday", "orange", "winter", "doctor"),
)
NOTES = (0, 2, 4, 5, 7, 9, 11, 12)  # a major scale, in semitones
VOWELS = ((700, 1200, 2600), (300, 2300, 3000), (320, 800, 2300), (500, 1800, 2500), (480, 900, 2400))  # formants, Hz
RATE = media.SAMPLE_RATE
LOUD = 0.056  # root mean square, -25 dB


@dataclass(frozen=True)
class Sound:
    kind: str
    half: int  # 0: the thresholds were chosen on it
    samples: np.ndarray
    said: str = ""  # what an English speaker says, where that is known


@cache
def say(text: str, name: str, rate: int) -> np.ndarray:
    """A sentence by espeak-ng at 16 kHz, with 0.15 s of silence on both sides."""
    found, said = voice.synthesize({"text": text, "voice": name, "seed": 1, "settings": {"rate": rate}})
    return np.pad(levelled(resample_poly(said, RATE, found)), round(0.15 * RATE))


def levelled(samples: np.ndarray, loud: float = LOUD) -> np.ndarray:
    """The samples with this root mean square, as far as they then stay within 1."""
    quiet = samples - samples.mean()
    return (quiet * min(loud / np.sqrt(np.mean(quiet**2)), 1 / np.abs(quiet).max())).astype(np.float32)


def speech() -> Iterator[Sound]:
    for half, languages in enumerate(FOREIGN):
        for number, (language, texts) in enumerate(languages.items()):
            for index, sentence in enumerate(texts):
                name = language + VARIANTS[(3 * index + number) % len(VARIANTS)]
                yield Sound("speech in other languages", half, say(sentence, name, 150 + 20 * (index % 3)))
    rng = np.random.default_rng(1)
    for index in range(60):
        half, number = index % 2, index // 2
        sentence = (
            ENGLISH[half][number % len(ENGLISH[half])] if number % 2 else demo.write(int(rng.integers(-3, 4)), rng)
        )
        clean = say(sentence, voice.VOICES[number % len(voice.VOICES)], 150 + 10 * (number % 4))
        yield Sound("English of the demo's voices", half, clean, sentence)
        if number % 3 == 0:
            noise = levelled(coloured(len(clean), 0.5 * (number % 2), rng), LOUD * 10 ** (-(5 + 5 * (number % 4)) / 20))
            yield Sound("the same in noise (5 to 20 dB)", half, clean + noise, sentence)


def without_words() -> Iterator[Sound]:
    for index in range(16):
        rng, seconds = np.random.default_rng(index), (3, 6, 12)[index % 3]
        loud = (0.02, LOUD, 0.15)[index % 3]
        for kind, samples in (
            ("noise, white to brown", coloured(seconds * RATE, rng.choice([0, 0.25, 0.5, 1]), rng)),
            ("hum", sum(tone(f, seconds, rng) for f in rng.choice([50, 60, 100, 120]) * np.array([1, 2, 3, 5]))),
            ("melody", music(seconds, 1, rng)),
            ("chords and drums", music(seconds, 3, rng) + 0.5 * drums(seconds, rng)),
            ("sung vowels", sung(seconds, rng)),
        ):
            yield Sound(kind, index % 2, levelled(np.asarray(samples), loud))


def crowds_and_loops() -> Iterator[Sound]:
    said = [say(sentence, voice.VOICES[n % 8], 160) for n, sentence in enumerate(sum(ENGLISH, ()))]
    for index in range(20):
        rng, length = np.random.default_rng(index), (4 + 4 * (index % 2)) * RATE
        voices = [np.roll(np.resize(said[n], length), n * 997) for n in rng.choice(len(said), 7, replace=False)]
        yield Sound("babble of seven voices", index // 2 % 2, levelled(np.sum(voices, axis=0)))
    for index, words in enumerate(LOOPED):
        once = np.trim_zeros(say(words, voice.VOICES[index % 8], 160))
        for gap in (0.0, 0.2):
            looped = np.resize(np.pad(once, (0, round(gap * RATE))), (10, 15, 25)[index % 3] * RATE)
            yield Sound("words in a loop", index % 2, looped)


def coloured(count: int, power: float, rng: np.random.Generator) -> np.ndarray:
    """Noise whose amplitude falls with frequency to this power."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    return np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 1) ** power, count)


def tone(frequency: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A note of four partials that fades."""
    time = np.arange(round(seconds * RATE)) / RATE
    partials = sum(np.sin(2 * np.pi * frequency * k * time + rng.uniform(0, 6)) / k for k in (1, 2, 3, 4))
    return np.minimum(time / 0.02, 1) * np.exp(-time / (2 * seconds)) * partials


def music(seconds: float, voices: int, rng: np.random.Generator) -> np.ndarray:
    """Notes of a scale one after the other, as many at once as there are voices."""
    base, beat = rng.choice([110, 131, 165, 220, 262]), rng.choice([0.25, 0.5, 1.0])
    notes = [
        sum(tone(base * 2 ** ((start + third) / 12), beat, rng) for third in (0, 4, 7)[:voices])
        for start in rng.choice(NOTES, int(np.ceil(seconds / beat)))
    ]
    return np.concatenate(notes)[: round(seconds * RATE)]


def drums(seconds: float, rng: np.random.Generator) -> np.ndarray:
    beat = rng.standard_normal(RATE // 3) * np.exp(-np.arange(RATE // 3) / (0.03 * RATE))
    return np.resize(beat, round(seconds * RATE))


def sung(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Vowels with vibrato on the notes of a scale: pulses through three formants."""
    found = []
    for _ in range(int(np.ceil(seconds / 0.5))):
        time = np.arange(RATE // 2) / RATE
        pitch = rng.choice([110, 147, 196]) * 2 ** (rng.choice(NOTES) / 12) * (1 + 0.01 * np.sin(35 * time))
        samples = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0)
        for formant in VOWELS[rng.integers(len(VOWELS))]:
            radius = np.exp(-np.pi * 90 / RATE)
            samples = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], samples)
        found.append(levelled(samples) * np.minimum(np.minimum(time / 0.05, (0.5 - time) / 0.08), 1))
    return np.concatenate(found)[: round(seconds * RATE)]


def real(folder: Path, kind: str, most: int) -> Iterator[Sound]:
    """So many of the clips below a folder, spread over it."""
    from faster_whisper import decode_audio

    files = [file for file in sorted(folder.rglob("*")) if file.suffix in (".mp4", ".mpg", ".mov", ".flac", ".wav")]
    for number, file in enumerate(files[:: max(1, len(files) // most)]):
        try:
            yield Sound(f"{kind}: {folder.name}", number % 2, decode_audio(str(file)))
        except (IndexError, ValueError):
            print(f"{file}: no sound")


def times() -> None:
    """Print how far single words begin and end from where they were put, and how many lie in no sound."""
    options = params.load("transcribe", recogniser.Params)
    starts, ends, outside, empty = [], [], 0, 0
    for index in range(24):
        rng, at, put = np.random.default_rng(index), 1.0, []
        samples = (1e-4 * rng.standard_normal(40 * RATE)).astype(np.float32)
        for word in rng.choice(SINGLE, 5, replace=False):
            said = np.trim_zeros(np.where(np.abs(one := say(word, voice.VOICES[index % 8], 160)) > 1e-3, one, 0))
            samples[round(at * RATE) : round(at * RATE) + len(said)] += said
            put.append((word, at, at + len(said) / RATE))
            at = put[-1][2] + (0.4, 0.8, 1.5, 3.0)[index % 4]
        for word in recogniser.hear(samples[: round((put[-1][2] + 0.5) * RATE)], "en", options, 1).words:
            start, end = word.start or 0.0, word.end or 0.0
            empty += end <= start
            outside += max(min(end, last) - max(start, first) for _, first, last in put) <= 0
            if known := [(first, last) for name, first, last in put if name == word.word]:
                starts.append(abs(start - known[0][0]))
                ends.append(abs(end - known[0][1]))
    for name, found in (("start", starts), ("end", ends)):
        median, most = np.median(found), np.percentile(found, 95)
        print(
            f"{name}: off by {median:.2f} s (median), {most:.2f} s (95 %), of {len(found)} words put 0.4 to 3 s apart"
        )
    print(f"{outside} words in no sound, {empty} of no length")


def count(sounds: Iterator[Sound], threads: int, dump: Path | None) -> Table:
    """How many sounds of each kind keep their words, by half; why the others do not; how well the kept are heard."""
    options = params.load("transcribe", recogniser.Params)
    kinds: dict[str, list[tuple[Sound, list[str], str]]] = {}
    for sound in sounds:
        heard = recogniser.hear(sound.samples, "en", options, threads)
        kept, flags = trust.trusted(heard, "en", options)
        words = " ".join(word.word for passage in kept for word in passage.words)
        kinds.setdefault(sound.kind, []).append((sound, [] if kept else [str(flag) for flag in flags], words))
        if dump:
            with dump.open("a") as file:
                told = {"kind": sound.kind, "half": sound.half, "said": sound.said, "kept": bool(kept)}
                file.write(json.dumps(told | asdict(heard)) + "\n")
    rows = []
    for kind, found in kinds.items():
        halves = [[bool(words) for sound, _, words in found if sound.half == half] for half in (0, 1)]
        why = Counter(flag.removeprefix("words not trusted: ") for _, flags, _ in found for flag in flags)
        told = [(sound.said, words) for sound, _, words in found if sound.said and words]
        wrong = sum(errors(*(spelled(normalise(text)).split() for text in (words, said))) for said, words in told)
        known = sum(len(spelled(normalise(said)).split()) for said, _ in told)
        shares = (f"{sum(half)} of {len(half)}" for half in halves)
        reasons = ", ".join(f"{number} {reason}" for reason, number in why.most_common())
        rows.append((kind, *shares, reasons, f"{wrong / known:.2f}" if known else ""))
    head = ("kind", "words kept, first half", "second half", "why not", "word error rate of the kept")
    return Table("Hearing", head, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--english", type=Path, nargs="*", default=[], help="folders of clips in which English is spoken"
    )
    parser.add_argument("--silent", type=Path, nargs="*", default=[], help="folders of clips in which nobody speaks")
    parser.add_argument("--most", type=int, default=100, help="clips of each folder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dump", type=Path, help="write what was heard of each sound to this file, as JSON lines")
    parser.add_argument("--times", action="store_true", help="measure the times of words instead")
    asked = parser.parse_args()
    if asked.times:
        times()
    else:
        folders = [*(("English", folder) for folder in asked.english), *(("nobody speaks", f) for f in asked.silent)]
        clips = (real(folder, kind, asked.most) for kind, folder in folders)
        sounds = chain(*clips, speech(), without_words(), crowds_and_loops())
        print(markdown([count(sounds, asked.threads, asked.dump)]))
