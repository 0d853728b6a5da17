"""A small sweep, in one process or as one of those a launcher started: python -m tests.study.sweeping FOLDER ENGINE."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.models import tiny


def study(folder, engine):
    training = {"steps": 3, "batch_size": 4, "lr": 1e-3, "log_every": 1}
    return {
        "study": "small",
        "task": {
            "kind": "text",
            "data": [str(folder / "rows.jsonl")],
            "objectives": ["good", {"name": "brief", "derive": "characters"}],
            "from_config": {"hidden": 32, "layers": 1, "heads": 2, "vocab_size": 300, "max_positions": 96},
            "prompt_format": "{prompt}:",
            "limits": {"prompt_tokens": 24, "response_tokens": 24},
            "split": {"selection": 0.2, "heldout": 0.3},
            "sft": {"on": "all", "training": training},
            "generation": {"prompts": 2, "sampling": {"max_new_tokens": 4}},
        },
        "method": {"name": "modpo", "training": training, "adapter": {"kind": "lora", "r": 2, "alpha": 4}},
        "weights": {"n": 2},
        "engine": {"device": "cpu", "kind": engine},
    }


def rows(folder):
    """Preference rows that name a winner for two objectives."""
    with (folder / "rows.jsonl").open("w") as file:
        for i in range(30):
            replies = [" ".join(tiny.WORDS[i % 5 : i % 5 + n]) for n in (2, 4, 6)]
            row = {"prompt": f"tell {i}", "responses": replies, "scores": [{"good": k % 2} for k in range(3)]}
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    from pareto.study.run import sweep

    place, kind = Path(sys.argv[1]), sys.argv[2]
    sweep(study(place, kind), place / kind)
