"""The peer's side of benchmarks/extract_peer.py: runs where MMSA-FET 0.4.1 is installed, as installed and unedited.

extract_peer_runner.py --data FOLDER --encoder FOLDER --fps 25 --workers 2 --out features.pkl
"""

import argparse
import os
import pickle
from pathlib import Path

from MSA_FET import run_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Raw/<video>/<clip>.mp4 and label.csv")
    parser.add_argument("--encoder", required=True, help="folder of a BERT model")
    parser.add_argument("--fps", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HOME=str(asked.out.parent))
    smile = {"feature_set": "eGeMAPSv02", "feature_level": "LowLevelDescriptors", "start": None, "end": None}
    mesh = {"refine_landmarks": True, "min_detection_confidence": 0.35, "min_tracking_confidence": 0.5}
    config = {
        "audio": {"tool": "opensmile", "sample_rate": 16000, "args": smile},
        "video": {
            "tool": "mediapipe",
            "fps": asked.fps,
            "args": {"face_mesh": mesh, "visualize": False, "visualize_dir": "."},
        },
        "text": {"model": "bert", "device": "cpu", "pretrained": asked.encoder, "args": {}},
    }
    folders = {name: asked.out.parent / name for name in ("tmp_dir", "log_dir")}
    run_dataset(config=config, dataset_dir=asked.data, out_file=asked.out, num_workers=asked.workers, **folders)
    with asked.out.open("rb") as file:
        made = pickle.load(file)  # noqa: S301  written a moment ago
    splits = [made[split] for split in ("train", "valid", "test") if split in made]
    clips = sum(sum(map(bool, map(int, split[f"{m}_lengths"]))) for split in splits for m in ("audio", "vision")) // 2
    print(f"clips {clips}", flush=True)


if __name__ == "__main__":
    main()
