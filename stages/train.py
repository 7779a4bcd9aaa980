"""train: data/tables -> data/runs/<dataset>/<network>-<seed> (one run a data set, network and seed)."""

from model import train


def main() -> None:
    train.run()
