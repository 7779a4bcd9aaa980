"""The peer's side of benchmarks/peer.py: runs in a virtual environment of its own, where MMSA 2.2.1 is installed.

    peer_runner.py train --network tfn --pkl F.pkl --encoder FOLDER --config mosi --seed 1111 --out peer-tfn-1111.json
    peer_runner.py white-box --state ours.npz --encoder FOLDER --config mosi --out peer.npz

Nothing of MMSA is edited: its configuration, loader, model, trainer and the steps of its `_run` are used as
installed. Its entry point MMSA_run cannot be, since it always calls torch.cuda.set_device. The only settings
changed are what the data and the encoder say (the file, the number of train clips, the encoder's folder and
width); a trainer that inherits from MMSA's notes times and results, and ends at the cap on epochs if there is one.
Data that are not aligned are to MMSA's mfn and mfm what its own layer for this makes of them.
"""

import argparse
import hashlib
import json
import logging
import os
import pickle
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

SPLITS = ("train", "valid", "test")
VECTORS = ("text", "audio", "vision", "regression_labels")  # what networks of token vectors use of a file
READ = {  # by network of MMSA: what it uses of a file
    "self_mm": ("text_bert", "audio", "vision", "audio_lengths", "vision_lengths", "regression_labels"),
    "tfn": VECTORS,
    "lmf": VECTORS,
    "mfn": VECTORS,
    "mfm": VECTORS,
}
PLACES = ("featurePath", "pretrained", "model_save_path", "res_save_dir", "device")  # settings that are of this machine
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "TQDM_DISABLE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train one seed and write its result as JSON")
    training.add_argument("--network", required=True, choices=READ, help="by MMSA's name")
    training.add_argument("--pkl", type=Path, required=True, help="what rawmsa export wrote")
    training.add_argument("--seed", type=int, required=True)
    training.add_argument("--epochs", type=int, default=0, help="at most so many; 0: until MMSA's early stop")
    checking = commands.add_parser("white-box", help="one batch through MMSA's model and trainer, in a given state")
    checking.add_argument("--state", type=Path, required=True, help="an .npz of benchmarks/peer_white_box.py")
    for command in (training, checking):
        command.add_argument("--encoder", type=Path, required=True, help="folder of a BERT model")
        command.add_argument("--config", required=True, choices=("mosi", "mosei", "sims"), help="MMSA's block")
        command.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    os.environ.update(dict.fromkeys(OFFLINE, "1"))
    logging.basicConfig(level=logging.WARNING)
    if asked.command == "train":
        result = train(asked.network, asked.pkl, asked.encoder, asked.config, asked.seed, asked.epochs)
        write(asked.out, result)
    else:
        white_box(asked.state, asked.encoder, asked.config, asked.out)


def train(network: str, pkl: Path, encoder: Path, config: str, seed: int, epochs: int) -> dict[str, Any]:
    """One seed of a network of MMSA: its test metrics, the test clips' predictions and labels, and each epoch."""
    import torch
    from MMSA import run
    from MMSA.utils import setup_seed

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        args = settings(network, encoder, config, clips_of(pkl), Path(folder))
        args.update(featurePath=str(pkl))
        stated = {key: value for key, value in args.items() if key not in PLACES}
        notes: dict[str, Any] = {"epochs": []}
        run.ATIO = watching(run.ATIO().TRAIN_MAP[network], notes, epochs)
        start = time.perf_counter()
        setup_seed(seed)
        test = run._run(args, num_workers=0)
        seconds, peak = time.perf_counter() - start, peak_mib()
    losses = [epoch["valid_loss"] for epoch in notes["epochs"]]
    told = {"network": network, "data": content(network, pkl), "config": config, "epochs": epochs}
    return {
        "side": "peer",
        "seed": seed,
        "asked": told | {"encoder": sha256(encoder)},
        "versions": {name: version(name) for name in ("MMSA", "torch", "transformers", "numpy")},
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "peak_mib": peak,
        "best_epoch": losses.index(min(losses)) + 1,
        "test": {name: float(value) for name, value in test.items()},
        "predictions": notes["predictions"],
        "labels": notes["labels"],
        "epochs": notes["epochs"],
        "args": stated,
    }


def settings(network: str, encoder: Path, config: str, clips: int, folder: Path) -> Any:
    """MMSA's own settings, and what MMSA_run adds to them. clips: of the train split; folder: for its files."""
    import torch
    from MMSA.config import get_config_regression

    args = get_config_regression(network, config)
    args.update(custom_feature="", feature_T="", feature_A="", feature_V="", train_mode="regression", cur_seed=1)
    args.update(
        train_samples=clips,
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        res_save_dir=str(folder),
    )
    args.update(model_save_path=folder / f"{network}.pth")
    if args.get("use_bert"):
        width = json.loads((encoder / "config.json").read_text())["hidden_size"]
        args.update(pretrained=str(encoder), text_out=width)
    return args


def clips_of(pkl: Path) -> int:
    with pkl.open("rb") as file:
        return len(pickle.load(file)["train"]["id"])  # noqa: S301  our own export; MMSA reads it so too


def watching(trainer: Any, notes: dict[str, Any], cap: int) -> Callable[[], Any]:
    """In ATIO's place: gives MMSA's trainer, of this class, with its methods watched. Fills `notes`."""

    class Watched(trainer):
        metrics: Any

        def __init__(self, args: Any) -> None:
            super().__init__(args)
            inner = self.metrics

            def metrics(predictions: Any, labels: Any) -> dict[str, float]:
                self.seen = (predictions.view(-1).tolist(), labels.view(-1).tolist())
                return inner(predictions, labels)

            self.metrics = metrics
            self.start = clocks()

        def init_labels(self, *x: Any) -> None:  # Self-MM's alone, before its first epoch
            super().init_labels(*x)
            self.start = clocks()

        def do_test(self, model: Any, loader: Any, mode: str = "VAL") -> dict[str, float]:
            trained = clocks()
            results = super().do_test(model, loader, mode=mode)
            if mode == "TEST":
                notes["predictions"], notes["labels"] = self.seen
                return results
            ended = clocks()
            spent = {
                "train_seconds": trained[0] - self.start[0],
                "train_cpu": trained[1] - self.start[1],
                "valid_seconds": ended[0] - trained[0],
                "valid_cpu": ended[1] - trained[1],
            }
            valid = {name: float(value) for name, value in results.items()}
            notes["epochs"].append({**spent, "valid_loss": valid["Loss"], "valid": valid})
            count = len(notes["epochs"])
            print(f"epoch {count}: valid loss {valid['Loss']:.4f}, {ended[0] - self.start[0]:.1f} s", flush=True)
            if count == cap:
                self.args.early_stop = 0
            self.start = ended
            return results

    class Trainers:
        def getTrain(self, args: Any) -> Watched:
            return Watched(args)

    return Trainers


def white_box(state: Path, encoder: Path, config: str, out: Path) -> None:
    """One batch as MMSA's loop takes it, from given weights, stored features and u-labels; evaluation mode."""
    import numpy as np
    import torch
    from MMSA.models import AMIO
    from MMSA.trains.multiTask import SELF_MM

    torch.set_num_threads(1)
    given = {name: torch.from_numpy(value) for name, value in np.load(state).items()}
    args = settings("self_mm", encoder, config, len(given["labels/fusion"]), out.parent)
    args.feature_dims[1:] = [given[modality].shape[2] for modality in ("audio", "vision")]
    model = AMIO(args).eval()
    unknown = model.load_state_dict(under("weights/", given), strict=False)
    if unknown.unexpected_keys or not all("pooler" in name for name in unknown.missing_keys):
        raise SystemExit(f"MMSA's network takes other weights than ours: {unknown}")
    trainer = SELF_MM(args)
    trainer.label_map, trainer.feature_map = under("labels/", given), under("features/", given)
    trainer.update_centers()
    found = {f"centre/{branch}/{sign}": x for branch, pair in trainer.center_map.items() for sign, x in pair.items()}
    sequences = [(given[modality], given[f"{modality}_lengths"]) for modality in ("audio", "vision")]
    output = model(given["text"], *sequences)
    index = given["index"]
    for task, branch in trainer.name_map.items():
        found[f"prediction/{branch}"] = output[task].view(-1)
        found[f"loss/{branch}"] = trainer.weighted_loss(
            output[task], trainer.label_map[branch][index], indexes=index, mode=branch
        )
    sum(found[f"loss/{branch}"] for branch in trainer.name_map.values()).backward()
    features = {branch: output[f"Feature_{branch[0]}"].detach() for branch in trainer.label_map}
    found |= {f"feature/{branch}": x for branch, x in features.items()}
    found |= {f"gradient/{name}": x.grad for name, x in model.named_parameters() if x.grad is not None}
    kept = {branch: x.clone() for branch, x in trainer.label_map.items()}
    for name, seen in (("ulabel", features), ("ulabel_of_equal_features", under("seen/", given))):
        trainer.label_map = {branch: x.clone() for branch, x in kept.items()}
        trainer.update_labels(*seen.values(), int(given["epoch"]), index, output)
        found |= {f"{name}/{branch}": x[index] for branch, x in trainer.label_map.items()}
    np.savez(out, **{name: x.detach().numpy() for name, x in found.items()})


def under(prefix: str, given: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}


def clocks() -> tuple[float, float]:
    """Seconds of the wall clock and of this process's processor time."""
    return time.perf_counter(), time.process_time()


def peak_mib() -> float:
    """Peak resident memory of this process (Linux); getrusage would count the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def content(network: str, pkl: Path) -> str:
    """SHA-256 of what a network of MMSA uses of a file."""
    import numpy as np

    with pkl.open("rb") as file:
        data = pickle.load(file)  # noqa: S301  our own export; MMSA reads it so too
    digest = hashlib.sha256()
    for split in SPLITS:
        for key in READ[network]:
            digest.update(np.ascontiguousarray(np.asarray(data[split][key], np.float32)).tobytes())
    return digest.hexdigest()


def sha256(encoder: Path) -> str:
    return hashlib.sha256((encoder / "model.safetensors").read_bytes()).hexdigest()


def write(file: Path, result: dict[str, Any]) -> None:
    """Whole, or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    part.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    part.replace(file)


if __name__ == "__main__":
    main()
