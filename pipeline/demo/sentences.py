"""Sentences of graded sentiment: a subject, a verdict and a closing, the last two of one grade.

Each combination takes espeak-ng less than 3.7 s at 170 words a minute, so that a clip stays below 4 s.
"""

import numpy as np

SUBJECTS = (
    "the film", "the movie", "the story", "the acting", "the music", "the ending", "the script", "the dialogue",
    "the first half", "the last part", "the main actor", "the lead actress", "the camera work", "the plot",
    "the whole cast", "the opening", "the final scene", "the villain", "the hero", "the sequel",
    "the romance", "the comedy", "the picture", "the soundtrack",
)  # fmt: skip
VERDICTS = {
    -3: ("was just terrible", "is a complete disaster", "was the worst in years", "was utterly awful",
         "was simply horrible", "is total garbage"),
    -2: ("was very bad", "was really boring", "disappointed me a lot", "is a clear failure", "was quite annoying",
         "was really poor"),
    -1: ("was a little weak", "was slightly dull", "felt rather tired", "was a bit boring", "could be a bit better",
         "was somewhat slow"),
    0: ("was about average", "is neither good nor bad", "was what I expected", "is much like the others",
        "was quite ordinary", "is from last year"),
    1: ("was fairly good", "was quite nice", "is mostly pleasant", "was rather enjoyable", "worked fairly well",
        "was better than most"),
    2: ("was very good", "was really funny", "impressed me a lot", "is a great success", "was really beautiful",
        "was a real pleasure"),
    3: ("was just wonderful", "is a true masterpiece", "was simply perfect", "is the best in years",
        "was truly amazing", "was utterly brilliant"),
}  # fmt: skip
CLOSINGS = {
    -3: ("I hated every minute", "I want my money back", "never watch this", "I nearly walked out",
         "I hated it so much", "it made me furious"),
    -2: ("I did not like it", "it made me angry", "I was not happy", "do not waste your time",
         "I would not go again", "it made me sad"),
    -1: ("it did not convince me", "I got a little tired", "I expected more", "something was missing",
         "I lost interest", "I had some doubts"),
    0: ("that is all", "I have no opinion", "it lasts two hours", "people will decide",
        "I saw it on Monday", "it is hard to say"),
    1: ("I liked some of it", "it had its moments", "I might watch it again", "it made me smile",
        "I was rather pleased", "it was worth my time"),
    2: ("I liked it a lot", "it made me happy", "I will watch it again", "you should see it",
        "I had a good time", "I really enjoyed it"),
    3: ("I loved every minute", "you must see this", "I could not be happier", "I loved it so much",
        "I am so delighted", "I love this so much"),
}  # fmt: skip


def write(grade: int, rng: np.random.Generator) -> str:
    """A sentence of that sentiment, -3 (strongly negative) to 3 (strongly positive); 864 a grade."""
    parts = (SUBJECTS, VERDICTS[grade], CLOSINGS[grade])
    subject, verdict, closing = (options[rng.integers(len(options))] for options in parts)
    return f"{subject[0].upper()}{subject[1:]} {verdict}, {closing}."
