"""Training steps of the core beside TRL's DPOTrainer: work, memory, time and numbers, on the same model and tokens.

    python tests/bench/bench_core.py                    # what is missing of the table, then reports/core
    python tests/bench/bench_core.py --rigs full_8k     # some of it
    python tests/bench/bench_core.py --device cuda      # the same table for a Llama of a billion weights in bf16

Every cell (rig, program, repeat) is a process of its own and leaves one JSON file in runs/bench_core/<device>; a stopped run
goes on where it stopped. Repeats alternate between the programs, so that what else the machine does falls on all of them.
Both programs get the same weights, the same token ids in the same batches, AdamW at 1e-3 and clipping at 1.

Programs: `pareto` is `pareto.core.loop.train` on a `ResponseTable`, with its reference pass; `trl_compact` is TRL with the
head on response positions only, which TRL does on GPUs but not on a CPU, where we switch it on; `trl` is TRL as it comes.
Ragged data also run `_unsorted`: batches in random order, which is what TRL does with data; `pareto_apart` has a row for every
example, so that what packing gives can be seen.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

os.environ.setdefault(
    "OMP_WAIT_POLICY", "PASSIVE"
)  # threads that wait do not spin, so that CPU seconds mean work
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "bench"))
BATCH, BETA, RATE, SEED = 8, 0.1, 1e-3, 0
WARM, TIMED, NUMERIC = 1, 2, 20
FIRST_IDS = 4  # pad, beginning, end, unknown

RIGS = {
    "full_8k": {"vocab": 8192},
    "lora_8k": {"vocab": 8192, "lora": True},
    "full_32k": {"vocab": 32768},
    "lora_8k_prompt448": {"vocab": 8192, "lora": True, "prompt": 448},
    "ragged_full_8k": {"vocab": 8192, "ragged": True},
}
CPU_SHAPE = {"hidden": 256, "layers": 4, "heads": 4, "ffn": 1024}
CUDA_SHAPE = {"hidden": 2048, "layers": 16, "heads": 32, "ffn": 8192}


def shape_of(device):
    return CPU_SHAPE if device == "cpu" else CUDA_SHAPE


def responses(rig, n):
    """Prompts and pairs of responses, ids drawn evenly; ragged: lengths drawn evenly from half to one and a half."""
    draw = np.random.default_rng([SEED, 17])
    prompts, replies = [], []
    for _ in range(n):
        sizes = [rig.get("prompt", 128), 64, 64]
        if rig.get("ragged"):
            sizes = [int(draw.integers(s // 2, s + s // 2 + 1)) for s in sizes]
        prompt, chosen, rejected = (draw.integers(FIRST_IDS, rig["vocab"], s) for s in sizes)
        chosen[-1] = rejected[-1] = 2
        prompts.append(prompt)
        replies += [chosen, rejected]
    return prompts, replies


def table_of(rig, n):
    from pareto.data.pairs import Ragged, ResponseTable

    prompts, replies = responses(rig, n)
    return ResponseTable(Ragged.of(prompts), Ragged.of(replies), np.repeat(np.arange(n), 2))


def batches_of(rig, n_steps, *, sort=True):
    """[n_steps, BATCH] examples in the order of the core's own sampler: similar lengths together, or plainly shuffled."""
    from pareto.core.sampler import Sampler

    prompts, replies = responses(rig, n_steps * BATCH)
    lengths = np.array(
        [len(p) + len(replies[2 * i]) + len(replies[2 * i + 1]) for i, p in enumerate(prompts)]
    )
    lengths = lengths if sort else np.ones_like(lengths)
    sampler = Sampler(lengths, BATCH, SEED)
    return np.stack([sampler.batch(step) for step in range(n_steps)])


def llama(rig, device):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    size = shape_of(device)
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=rig["vocab"],
        hidden_size=size["hidden"],
        intermediate_size=size["ffn"],
        num_hidden_layers=size["layers"],
        num_attention_heads=size["heads"],
        num_key_value_heads=size["heads"],
        max_position_embeddings=2048,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
    )
    config._attn_implementation = "sdpa"
    return LlamaForCausalLM(config).float().to(device)


LORA = {
    "r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.0,
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "task_type": "CAUSAL_LM",
}


def same_adapter(model):
    """Give the low-rank factors values that depend on their names alone."""
    import torch

    for name, parameter in trainable(model).items():
        if "lora_A" in name:
            number = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
            noise = torch.Generator().manual_seed(number)
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, generator=noise) / parameter.shape[1] ** 0.5)


def trainable(model):
    """Trained parameters under names that both programs share."""
    return {n.replace("module.", ""): p for n, p in model.named_parameters() if p.requires_grad}


def matmul_counter():
    """Counts operations of matrix products, the in-place ones that torch's own table leaves out included."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def addmm_(_, a, b, *__, out_shape=None, **___):
        return 2 * a[0] * a[1] * b[1]

    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: addmm_})


class Probe:
    """Time, memory, products, losses and the first gradient of one program's steps."""

    def __init__(self, model, device, gradient_file, passes=1):
        self.model, self.device, self.gradient_file = model, device, gradient_file
        self.passes, self.calls = passes, 0
        self.wall, self.cpu, self.losses, self.products = [], [], [], 0
        self.start_mb = self.peak_mb = 0.0

    def begin(self):
        """Start of training: what is in memory now is the start that the peak is measured over."""
        import torch

        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self.start_mb = torch.cuda.memory_allocated() / 2**20
        else:
            _give_back_freed_memory()
            Path("/proc/self/clear_refs").write_text("5")
            self.start_mb = _status_mb("VmRSS")
        self.tick()

    def tick(self):
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())

    def first(self, step):
        """Wrap forward and backward: the passes of the first step are counted and the gradient after them kept."""
        import torch

        def wrapped(*args, **kwargs):
            self.calls += 1
            if self.calls > self.passes:
                return step(*args, **kwargs)
            with matmul_counter() as counter:
                result = step(*args, **kwargs)
            self.products += counter.get_total_flops()
            if self.gradient_file is not None and self.calls == self.passes:
                parts = {n: p.grad for n, p in sorted(trainable(self.model).items())}
                np.save(
                    self.gradient_file, torch.cat([g.flatten() for g in parts.values()]).float().cpu().numpy()
                )
            return result

        return wrapped

    def result(self, tokens_per_step):
        import torch

        wall, cpu = np.diff(self.wall)[WARM:], np.diff(self.cpu)[WARM:]
        if self.device == "cuda":
            self.peak_mb = torch.cuda.max_memory_allocated() / 2**20
        else:
            self.peak_mb = _status_mb("VmHWM")
        return {
            "gflop_per_step": self.products / 1e9,
            "peak_mb": self.peak_mb,
            "over_start_mb": self.peak_mb - self.start_mb,
            "wall_s_per_step": float(np.median(wall)),
            "cpu_s_per_step": float(np.median(cpu)),
            "steps_timed": len(wall),
            "tokens_per_step": tokens_per_step,
            "losses": self.losses,
        }


def _status_mb(key):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


def _give_back_freed_memory():
    import ctypes

    ctypes.CDLL("libc.so.6").malloc_trim(0)


def tokens_of(rig, batches):
    """Mean tokens of a step in the layout that nobody shares: each response with its prompt. The same for everyone."""
    prompts, replies = responses(rig, batches.size)
    whole = [
        2 * len(prompts[i]) + len(replies[2 * i]) + len(replies[2 * i + 1]) for i in batches[WARM:].ravel()
    ]
    return float(np.sum(whole) / len(batches[WARM:]))


def run_pareto(rig, device, n_steps, gradient_file, *, sort, packed, micro=BATCH):
    import torch
    import torch.nn.functional as F

    from pareto.core import loop
    from pareto.core.logps import response_logps, sums
    from pareto.core.loop import Hooks, TrainConfig, train
    from pareto.core.objective import Objective

    table = table_of(rig, n_steps * BATCH)
    examples = np.arange(2 * n_steps * BATCH).reshape(-1, 2)
    model = llama(rig, device)
    if rig.get("lora"):
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(**LORA))
        same_adapter(model)
    dtype = "float32" if device == "cpu" else "bfloat16"
    begin = time.perf_counter(), time.process_time()
    reference = sums(table, response_logps(model, table, dtype=dtype))[examples]
    reference_s = time.perf_counter() - begin[0], time.process_time() - begin[1]
    reference = torch.from_numpy(reference).float().to(device)

    def dpo(scored):
        ratio = scored.logps - reference[scored.index]
        return -F.logsigmoid(BETA * (ratio[:, 0] - ratio[:, 1])), {}

    probe = Probe(model, device, gradient_file, BATCH // micro)

    def log(figures):
        probe.losses.append(figures["loss"])
        probe.tick()

    config = TrainConfig(
        steps=n_steps,
        batch_size=BATCH,
        accumulation=BATCH // micro,
        lr=RATE,
        warmup=0.0,
        schedule="constant",
        log_every=1,
    )
    loop.backward = probe.first(loop.backward)
    loop.pack = partial(loop.pack, share_rows=packed)
    if not sort:
        loop._costs = lambda table, examples: np.ones(len(examples), np.int64)
    probe.begin()
    train(model, table, examples, Objective(dpo), config, seed=SEED, dtype=dtype, hooks=Hooks(log=log))
    result = probe.result(tokens_of(rig, batches_of(rig, n_steps, sort=sort)))
    return result | {
        "reference_wall_s_per_step": reference_s[0] / n_steps,
        "reference_cpu_s_per_step": reference_s[1] / n_steps,
    }


def word_tokenizer(vocab):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ["<pad>", "<s>", "</s>", "<unk>"] + [f"w{i}" for i in range(FIRST_IDS, vocab)]
    words = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def run_trl(rig, device, n_steps, gradient_file, *, compact, order, micro=BATCH):
    from datasets import Dataset, disable_progress_bars
    from transformers import TrainerCallback
    from transformers.trainer_callback import PrinterCallback
    from trl import DPOConfig, DPOTrainer
    from trl.trainer import utils as trl_utils

    disable_progress_bars()
    if compact:
        trl_utils._use_triton = lambda device: True  # the positions only: its kernels look elsewhere
    prompts, replies = responses(rig, n_steps * BATCH)
    names = np.array(["<pad>", "<s>", "</s>", "<unk>"] + [f"w{i}" for i in range(FIRST_IDS, rig["vocab"])])

    def text(ids):
        return " ".join(names[ids])

    rows = [
        {
            "prompt": text(prompts[i]) + " ",
            "chosen": text(replies[2 * i]),
            "rejected": text(replies[2 * i + 1]),
        }
        for i in order.ravel()
    ]
    model = llama(rig, device)
    reference = None if rig.get("lora") else llama(rig, device)
    adapter = None
    if rig.get("lora"):
        from peft import LoraConfig

        adapter = LoraConfig(**LORA)
    with tempfile.TemporaryDirectory() as folder:
        config = DPOConfig(
            output_dir=folder,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=BATCH // micro,
            max_steps=n_steps,
            beta=BETA,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            max_length=None,
            bf16=device == "cuda",
            use_cpu=device == "cpu",
            gradient_checkpointing=False,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            seed=SEED,
            max_grad_norm=1.0,
            train_sampling_strategy="sequential",
        )
        trainer = DPOTrainer(
            model=model,
            ref_model=reference,
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=word_tokenizer(rig["vocab"]),
            peft_config=adapter,
        )
        first = trainer.train_dataset[0]
        for key, ids in zip(
            ("prompt_ids", "chosen_ids", "rejected_ids"),
            (prompts[order[0, 0]], replies[2 * order[0, 0]], replies[2 * order[0, 0] + 1]),
        ):
            if list(first[key]) != ids.tolist():
                raise SystemExit(f"TRL made other token ids of {key}")
        if rig.get("lora"):
            same_adapter(trainer.model)
        probe = Probe(trainer.model, device, gradient_file, BATCH // micro)

        class Ticks(TrainerCallback):
            def on_step_end(self, *args, **kwargs):
                probe.tick()

        trainer.add_callback(Ticks())
        trainer.remove_callback(PrinterCallback)
        step = probe.first(trainer.training_step)

        def noted(*args, **kwargs):
            loss = step(*args, **kwargs)
            probe.losses.append(float(loss))
            return loss

        trainer.training_step = noted
        probe.begin()
        trainer.train()
        probe.losses = np.reshape(probe.losses, (n_steps, -1)).sum(1).tolist()  # each pass has its share
        return probe.result(tokens_of(rig, order))


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
    model = llama(rig, device)
    if rig.get("lora"):
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(**LORA))
        same_adapter(model)
    model = model.double().train()
    scorer = make_scorer(model)
    batch = batches_of(rig, n_steps)[0]
    examples = np.column_stack([2 * batch, 2 * batch + 1])
    rows = pack(table_of(rig, n_steps * BATCH), examples, pad_token_id=0, device=device)

    def dpo(scored):
        ratio = scored.logps - scored.logps.detach()
        return -F.logsigmoid(BETA * (ratio[:, 0] - ratio[:, 1])), {}

    loss, _ = backward(scorer, rows, torch.from_numpy(batch).to(device), Objective(dpo), divisor=BATCH)
    if gradient_file is not None:
        parts = [p.grad.flatten() for _, p in sorted(trainable(model).items())]
        np.save(gradient_file, torch.cat(parts).cpu().numpy())
    return {"losses": [float(loss)]}


def run_cell(rig_name, program, device, n_steps, gradient_file):
    import torch

    torch.set_num_threads(2)
    rig = RIGS[rig_name]
    if program == "float64":
        return run_float64(rig, device, n_steps, gradient_file)
    name, _, suffix = program.partition("_unsorted")
    sort = program == name
    if name.startswith("pareto"):
        return run_pareto(rig, device, n_steps, gradient_file, sort=sort, packed=suffix != "_apart")
    order = batches_of(rig, n_steps, sort=sort)
    return run_trl(rig, device, n_steps, gradient_file, compact=name == "trl_compact", order=order)


def cells(rigs, alternations):
    """(rig, program, repeat, steps) in the order in which they run: repeats alternate between the programs.

    Last come the long ones, which only compare losses.
    """
    short = WARM + TIMED
    for repeat in map(str, range(alternations)):
        for rig in rigs:
            yield rig, "pareto", repeat, short
            yield rig, "trl_compact", repeat, short
        for rig in rigs:
            if RIGS[rig].get("ragged"):
                for program in ("trl_compact_unsorted", "pareto_unsorted", "pareto_unsorted_apart"):
                    yield rig, program, repeat, short
    for rig in rigs:
        yield rig, "float64", "0", short
    for rig in rigs:
        yield rig, "trl", "0", short
    for rig in rigs:
        for program in ("pareto", "trl_compact"):
            yield rig, program, "numbers", NUMERIC


def measure(args):
    """Run every missing cell in a process of its own."""
    folder = args.scratch / args.device
    folder.mkdir(parents=True, exist_ok=True)
    for rig, program, repeat, steps in cells(args.rigs, args.alternations):
        path = folder / f"{rig}-{program}-{repeat}.json"
        if path.exists():
            continue
        command = [sys.executable, __file__, "--device", args.device, "--cell", rig, program, str(steps)]
        if repeat == "0":
            command += ["--gradient", str(path.with_suffix(".npy"))]
        environment = {**os.environ, "OMP_NUM_THREADS": "2"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            print(f"{path.stem} failed\n{done.stderr[-2000:]}", flush=True)
            continue
        path.write_text(lines[-1])
        shown = ("gflop_per_step", "over_start_mb", "cpu_s_per_step", "wall_s_per_step")
        print(path.stem, {k: round(v, 2) for k, v in json.loads(lines[-1]).items() if k in shown}, flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rigs", nargs="+", choices=RIGS, default=list(RIGS))
    parser.add_argument("--alternations", type=int, default=3)
    parser.add_argument("--scratch", type=Path, default=ROOT / "runs" / "bench_core")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "core")
    parser.add_argument("--cell", nargs=3, metavar=("RIG", "PROGRAM", "STEPS"), help=argparse.SUPPRESS)
    parser.add_argument("--gradient", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise SystemExit(
                "--device cuda needs a CUDA device; torch sees none here, so nothing was measured"
            )
    if args.cell:
        rig, program, steps = args.cell
        print(json.dumps(run_cell(rig, program, args.device, int(steps), args.gradient)))
        return
    measure(args)
    from bench_core_report import write

    write(args.scratch, args.out, RIGS, BATCH)


if __name__ == "__main__":
    main()
