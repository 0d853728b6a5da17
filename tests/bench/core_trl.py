"""TRL's side of bench_core.py: its DPOTrainer on the same weights and token ids."""

import tempfile

import core_rigs as rigs
import numpy as np
from core_probe import Probe


def word_tokenizer(vocab):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ["<pad>", "<s>", "</s>", "<unk>"] + [f"w{i}" for i in range(rigs.FIRST_IDS, vocab)]
    words = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def run_trl(rig, device, n_steps, gradient_file, *, compact, order, micro=rigs.BATCH):
    from datasets import Dataset, disable_progress_bars
    from transformers import TrainerCallback
    from transformers.trainer_callback import PrinterCallback
    from trl import DPOConfig, DPOTrainer
    from trl.trainer import utils as trl_utils

    disable_progress_bars()
    if compact:
        trl_utils._use_triton = lambda device: True  # the positions only: its kernels look elsewhere
    prompts, replies = rigs.responses(rig, n_steps * rigs.BATCH)
    names = np.array(
        ["<pad>", "<s>", "</s>", "<unk>"] + [f"w{i}" for i in range(rigs.FIRST_IDS, rig["vocab"])]
    )

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
    model = rigs.llama(rig, device)
    reference = None if rig.get("lora") else rigs.llama(rig, device)
    adapter = None
    if rig.get("lora"):
        from peft import LoraConfig

        adapter = LoraConfig(**rigs.LORA)
    with tempfile.TemporaryDirectory() as folder:
        config = DPOConfig(
            output_dir=folder,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=rigs.BATCH // micro,
            max_steps=n_steps,
            beta=rigs.BETA,
            learning_rate=rigs.RATE,
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
            seed=rigs.SEED,
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
            rigs.same_adapter(trainer.model)
        probe = Probe(trainer.model, device, gradient_file, rigs.BATCH // micro)

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
        return probe.result(rigs.tokens_of(rig, order))
