"""The core's side of bench_core.py: its training loop with its reference pass, and its first step in double precision."""

import time
from functools import partial

import core_rigs as rigs
import numpy as np
from core_probe import Probe


def run_pareto(rig, device, n_steps, gradient_file, *, sort, packed, micro=rigs.BATCH):
    import torch
    import torch.nn.functional as F

    from pareto.core import loop
    from pareto.core.logps import response_logps, sums
    from pareto.core.loop import Hooks, TrainConfig, train
    from pareto.core.objective import Objective

    table = rigs.table_of(rig, n_steps * rigs.BATCH)
    examples = np.arange(2 * n_steps * rigs.BATCH).reshape(-1, 2)
    model = rigs.adapted(rigs.llama(rig, device), rig)
    dtype = "float32" if device == "cpu" else "bfloat16"
    begin = time.perf_counter(), time.process_time()
    reference = sums(table, response_logps(model, table, dtype=dtype))[examples]
    reference_s = time.perf_counter() - begin[0], time.process_time() - begin[1]
    reference = torch.from_numpy(reference).float().to(device)

    def dpo(scored):
        ratio = scored.logps - reference[scored.index]
        return -F.logsigmoid(rigs.BETA * (ratio[:, 0] - ratio[:, 1])), {}

    probe = Probe(model, device, gradient_file, rigs.BATCH // micro)

    def log(figures):
        probe.losses.append(figures["loss"])
        probe.tick()

    config = TrainConfig(
        steps=n_steps,
        batch_size=rigs.BATCH,
        accumulation=rigs.BATCH // micro,
        lr=rigs.RATE,
        warmup=0.0,
        schedule="constant",
        log_every=1,
    )
    loop.backward = probe.first(loop.backward)
    loop.pack = partial(loop.pack, share_rows=packed)
    if not sort:
        loop._costs = lambda table, examples: np.ones(len(examples), np.int64)
    probe.begin()
    train(model, table, examples, Objective(dpo), config, seed=rigs.SEED, dtype=dtype, hooks=Hooks(log=log))
    result = probe.result(rigs.tokens_of(rig, rigs.batches_of(rig, n_steps, sort=sort)))
    return result | {
        "reference_wall_s_per_step": reference_s[0] / n_steps,
        "reference_cpu_s_per_step": reference_s[1] / n_steps,
    }


def run_float64(rig, device, n_steps, gradient_file):
    """The first gradient in double precision, norms included: which of the two programs is nearer to it?

    Policy and reference are the same before the first step, so that every gap is zero and the loss is known.
    """
    import torch
    import torch.nn.functional as F
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    from pareto.core.logps import make_scorer
    from pareto.core.objective import Objective
    from pareto.core.packing import pack
    from pareto.core.step import backward

    LlamaRMSNorm.forward = lambda self, x: (  # the library's own goes through float32
        self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))
    )
    model = rigs.adapted(rigs.llama(rig, device), rig).double().train()
    scorer = make_scorer(model)
    batch = rigs.batches_of(rig, n_steps)[0]
    examples = np.column_stack([2 * batch, 2 * batch + 1])
    rows = pack(rigs.table_of(rig, n_steps * rigs.BATCH), examples, pad_token_id=0, device=device)

    def dpo(scored):
        ratio = scored.logps - scored.logps.detach()
        return -F.logsigmoid(rigs.BETA * (ratio[:, 0] - ratio[:, 1])), {}

    loss, _ = backward(scorer, rows, torch.from_numpy(batch).to(device), Objective(dpo), divisor=rigs.BATCH)
    if gradient_file is not None:
        np.save(gradient_file, rigs.flat_gradient(model).cpu().numpy())
    return {"losses": [float(loss)]}
