"""One of two processes that train together; started by test_parallel.py the way a launcher does it, by environment.

What each scenario gives is written by the first process as safetensors and JSON, for the test to compare with one process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from pareto.core.figures import Figures
from pareto.core.logps import make_scorer, response_logps
from pareto.core.loop import Hooks, TrainConfig, batch_gradient, train
from pareto.core.optimizer import trainable
from pareto.core.parallel import full, join, sharded_copy
from pareto.state.checkpoint import Checkpoints
from tests.core import small
from tests.core.learned import learned_dpo, state

TABLE = small.table((3, 1, 7, 2), ((1, 4, 2), (6, 1, 1), (3, 9, 5), (2, 2, 8)))
EXAMPLES = np.array([[0, 1], [0, 2], [1, 2], [3, 4], [3, 5], [4, 5], [6, 7], [6, 8], [9, 10], [9, 11]])
REFERENCE = torch.linspace(-20, -5, 20).view(10, 2)
BATCH = np.array([7, 1, 4, 0, 9])  # an odd number: the processes' shares differ
CONFIG = TrainConfig(steps=4, batch_size=5, accumulation=2, lr=0.01, log_every=2, checkpoint_every=2)
MILD = {
    "initializer_range": 0.1
}  # well-conditioned: what is left between two orders of summation is below 1e-6
MODELS = {
    "full": lambda: small.llama(**MILD),
    "tied": lambda: small.llama(tie_word_embeddings=True, **MILD),
    "adapter": lambda: small.with_lora(small.llama(**MILD)),
    "dropout": lambda: small.with_lora(small.llama(**MILD), dropout=0.2),
}


def gradient(name, parallel="auto"):
    """(loss, name -> whole gradient) of one batch in two micro-batches."""
    model, objective = MODELS[name](), learned_dpo(REFERENCE)
    processes = join(parallel, torch.device("cpu"))
    if processes.sharded:
        model = sharded_copy(model, torch.device("cpu"))
    scorer = make_scorer(model)
    parameters = trainable(model, objective.module)
    meter = Figures(torch.device("cpu"), processes)
    loss = batch_gradient(scorer, TABLE, EXAMPLES, BATCH, objective, 2, parameters, processes, meter)
    processes.add([loss])
    return loss, {n: full(p.grad).clone() for n, p in parameters.items()}


def trained(name, parallel="auto", checkpoints=None, **changes):
    """(weights and learned state, logged rows) after some steps."""
    model, objective, rows = MODELS[name](), learned_dpo(REFERENCE), []
    hooks = Hooks(log=rows.append, checkpoints=checkpoints)
    config = CONFIG.model_copy(update={"parallel": parallel, **changes})
    result = train(model, TABLE, EXAMPLES, objective, config, seed=1, hooks=hooks)
    weights = model.state_dict() | {f"learned/{n}": t for n, t in state(objective).items()}
    weights["logps"] = torch.from_numpy(response_logps(model, TABLE))
    return weights, {"rows": rows, "tokens": result.tokens}


def main(out, rank):
    def write(scenario, tensors, facts):
        if rank == 0:
            save_file(
                {n: t.contiguous().clone() for n, t in tensors.items()}, out / f"{scenario}.safetensors"
            )
            (out / f"{scenario}.json").write_text(json.dumps(facts))

    for parallel in ("auto", "fsdp2"):
        for name in ("full", "tied", "adapter"):
            loss, gradients = gradient(name, parallel)
            write(f"gradient-{parallel}-{name}", gradients, {"loss": float(loss)})
            write(f"trained-{parallel}-{name}", *trained(name, parallel))
    # The two processes see different folders: only the first one's is used.
    folder = out / f"checkpoints-{rank}"
    write("whole", *trained("dropout"))
    trained("dropout", checkpoints=Checkpoints(folder))
    write("resumed", *trained("dropout", checkpoints=Checkpoints(folder)))
    trained("full", "fsdp2", Checkpoints(out / f"sharded-{rank}"))
    write("resumed-fsdp2", *trained("full", "fsdp2", Checkpoints(out / f"sharded-{rank}")))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    import os

    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(os.environ["RANK"]))
