"""Whether MMSA's own code gives our numbers: from equal weights, batch, stored features and u-labels."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.encoders.bert import load_bert
from model.networks.self_mm import Network
from model.records import BRANCHES, Batch
from model.training import checkpoint, jobs, predict
from model.training.batch import Clips
from model.training.fit import fit, seeded
from model.training.run import setup_of
from pipeline import tables

EPOCHS = 3  # of training before the batch that is compared, so that u-labels and stored features are real ones
SEED = 1111
TOLERANCE = 1e-5
NAMES = {  # of our parameters, in MMSA's model
    "encoders.text.bert.": "Model.text_model.model.",
    "encoders.audio.lstm.": "Model.audio_model.rnn.",
    "encoders.audio.project.": "Model.audio_model.linear_1.",
    "encoders.vision.lstm.": "Model.video_model.rnn.",
    "encoders.vision.project.": "Model.video_model.linear_1.",
    **{
        f"heads.{branch}.{layer}.": f"Model.post_{theirs}_layer_{number}."
        for branch, theirs in zip(BRANCHES, ("fusion", "text", "audio", "video"), strict=True)
        for number, layer in enumerate(("project", "deeper.0", "predict"), 1)
    },
}


def run(dataset: str, peer: list[str], folder: Path) -> None:
    """Print the largest differences. peer: the command that runs peer_runner.py white-box with encoder and config;
    folder: for the two .npz files. Exits with a message where u-labels or loss differ by more than TOLERANCE."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"state": folder / "ours.npz", "out": folder / "peer.npz"}
    found = ours(dataset, files["state"])
    options = [text for name, file in files.items() for text in (f"--{name}", file)]
    subprocess.run([*peer, *options], check=True)  # noqa: S603  our own command
    theirs = dict(np.load(files["out"]))
    if found.keys() != theirs.keys():
        raise SystemExit(f"Only one side has {', '.join(sorted(found.keys() ^ theirs.keys()))}.")
    differences = {}
    for kind in dict.fromkeys(name.split("/")[0] for name in found):
        pairs = [(value, theirs[name]) for name, value in found.items() if name.startswith(f"{kind}/")]
        differences[kind] = max(float(np.abs(a - b).max()) for a, b in pairs)
        largest = max(float(np.abs(b).max()) for _, b in pairs)
        print(f"{kind:25} largest difference {differences[kind]:.1e}, of values up to {largest:.2g}")
    if max(differences[kind] for kind in ("loss", "centre", "ulabel_of_equal_features")) > TOLERANCE:
        raise SystemExit(f"The loss, the centres or the u-labels differ from MMSA's by more than {TOLERANCE:g}.")


def ours(dataset: str, state: Path) -> dict[str, np.ndarray]:
    """Train the released settings for a few epochs, write what MMSA needs to take one more batch (every train clip)
    to `state`, take it here too; the results by kind and branch, kinds as peer_runner.white_box has them."""
    network, clips = trained(dataset)
    batch, ulgm = clips.batch(range(len(clips))), network.ulgm
    rows = [ulgm._rows[clip] for clip in batch.ids]
    network.zero_grad()
    network.eval()
    output = network(batch)
    seen = {f"seen/{branch}": output[branch].feature for branch in BRANCHES}
    stored = {f"{kind}/{b}": x[b].clone() for kind, x in held(network).items() for b in BRANCHES}
    write(
        state,
        batch,
        {"index": torch.tensor(rows), "epoch": torch.tensor(EPOCHS + 1)} | stored | seen | weights(network),
    )
    terms = network.loss(output, batch)
    torch.stack(list(terms.values())).sum().backward()
    network.observe(output, batch, EPOCHS + 1)
    found = {f"loss/{branch}": term for branch, term in terms.items()}
    for branch in BRANCHES:
        found[f"prediction/{branch}"], found[f"feature/{branch}"] = output[branch].prediction, output[branch].feature
        found[f"centre/{branch}/pos"], found[f"centre/{branch}/neg"] = ulgm._centres[branch]
        for kind in ("ulabel", "ulabel_of_equal_features"):
            found[f"{kind}/{branch}"] = ulgm._labels[branch][rows]
    found |= {f"gradient/{named(name)}": x.grad for name, x in network.named_parameters() if x.grad is not None}
    return {name: value.detach().to_dense().numpy() for name, value in found.items()}


def trained(dataset: str) -> tuple[Network, Clips]:
    """The network after EPOCHS epochs, and the train clips."""
    source = jobs.source(dataset)
    choice = jobs.Choice(preset="released", values="mmsa")
    job = jobs.task(source, "self_mm", choice, SEED, {"fit": {"max_epochs": EPOCHS, "patience": EPOCHS}}).job
    torch.set_num_threads(1)
    seeded(SEED)
    bert = load_bert(job.encoder, pooler=False)
    setup = setup_of(job, source.metadata, bert, None, 0)
    network = checkpoint.network_of(setup, bert)
    train, valid = (predict.clips_for(setup, tables.read_arrow(source.file), split) for split in ("train", "valid"))
    fit(network, train, valid, job.hyper.groups, job.hyper.fit, SEED)
    return network, train


def held(network: Network) -> dict[str, dict[str, torch.Tensor]]:
    return {"labels": network.ulgm._labels, "features": network.ulgm._features}


def weights(network: Network) -> dict[str, torch.Tensor]:
    return {f"weights/{named(name)}": value for name, value in network.state_dict().items()}


def named(ours: str) -> str:
    """MMSA's name of a parameter."""
    prefix = next(prefix for prefix in NAMES if ours.startswith(prefix))
    return NAMES[prefix] + ours.removeprefix(prefix)


def write(file: Path, batch: Batch, values: dict[str, torch.Tensor]) -> None:
    """With the batch as MMSA's loader gives it."""
    text, lengths = batch.inputs["text"], batch.lengths
    mask = torch.arange(text.shape[1]) < lengths["text"][:, None]
    values["text"] = torch.stack([text, mask, torch.zeros_like(text)], dim=1).float()  # (B, 3, L)
    for modality in ("audio", "vision"):
        values |= {modality: batch.inputs[modality], f"{modality}_lengths": lengths[modality]}
    arrays: dict[str, Any] = {name: value.detach().numpy() for name, value in values.items()}
    np.savez(file, **arrays)
