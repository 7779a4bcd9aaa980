"""assemble: features, labels -> data/tables/<dataset>/ (one training table a data set)."""

from pipeline import assemble


def main() -> None:
    assemble.run()
