"""A Hugging Face sequence-classification model as a reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr

from pareto.cells import digest
from pareto.data.templates import render_chat
from pareto.errors import ConfigError, did_you_mean
from pareto.models.causal import check_source
from pareto.models.fingerprint import model_fingerprint
from pareto.models.rewards import REWARDS, Reward
from pareto.models.score_cache import ScoreCache
from pareto.objectives import Direction


@REWARDS.register("classifier", source="any AutoModelForSequenceClassification of transformers")
class Classifier(Reward):
    """Score a reply by one output of a sequence-classification model (reward models are such models).

    Scores are cached on disk under the content of each batch, so that scoring again costs nothing and gives the same
    bits. Texts longer than `max_tokens` lose the start of the prompt.

    Args:
        model: folder or hub id with safetensors weights and a tokenizer.
        label: name or index of the output; None where the model has one.
        output: "logit", or "probability" among all outputs (of one output: its logistic).
        format: "pair" (prompt and reply as the tokenizer joins two texts), "chat" (the tokenizer's chat template), or a text
            around {prompt} and {reply}.
        max_tokens: longest input.
        batch_size: replies at a time.
    """

    direction: ClassVar[Direction] = "max"
    unit: ClassVar[str] = "reward"
    model: str
    label: str | int | None = None
    output: Literal["logit", "probability"] = "logit"
    format: str = "pair"
    max_tokens: int = Field(default=512, ge=8)
    batch_size: int = Field(default=16, ge=1)
    _loaded: tuple[Any, Any, int] | None = PrivateAttr(default=None)

    def score(self, prompts: Sequence[str], replies: Sequence[str]) -> np.ndarray:
        """[B] logit or probability of the label.

        Raises:
            ConfigError: the model cannot be loaded, has an untrained head, or has no such label.
        """
        cache = ScoreCache.default()
        settings = [
            model_fingerprint(check_source(self.model)),
            self.model_dump(mode="json", exclude={"model"}),
        ]
        order = sorted(range(len(replies)), key=lambda i: len(prompts[i]) + len(replies[i]))
        scores = np.zeros(len(replies))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            texts = [[prompts[i], replies[i]] for i in batch]
            scores[batch] = cache.get(digest([settings, texts]), lambda texts=texts: self._compute(texts))
        return scores

    def _compute(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        import torch

        if self._loaded is None:
            self._loaded = self._load()
        model, tokenizer, label = self._loaded
        inputs = self._encode(tokenizer, texts).to(model.device)
        with torch.no_grad():
            logits = model(**inputs).logits.double()
        if self.output == "logit":
            return logits[:, label].cpu().numpy()
        chances = logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(-1)
        return chances[:, label].cpu().numpy()

    def _encode(self, tokenizer: Any, texts: Sequence[Sequence[str]]) -> Any:
        options = {"padding": True, "truncation": True, "max_length": self.max_tokens, "return_tensors": "pt"}
        if self.format == "pair":
            return tokenizer([p for p, _ in texts], [r for _, r in texts], **options)
        if self.format == "chat":
            turns = [[("user", p), ("assistant", r)] for p, r in texts]
            whole = [render_chat(tokenizer, [{"role": a, "content": c} for a, c in t]) for t in turns]
            return tokenizer(whole, add_special_tokens=False, **options)
        return tokenizer(
            [self.format.replace("{prompt}", p).replace("{reply}", r) for p, r in texts], **options
        )

    def _load(self) -> tuple[Any, Any, int]:
        import torch
        from transformers import AutoModelForSequenceClassification

        from pareto.core.device import resolve_device
        from pareto.models.tokenizers import first_line, load_tokenizer

        source = check_source(self.model)
        tokenizer = load_tokenizer(source, trust_remote_code=False)
        tokenizer.truncation_side = "left"
        try:
            model, info = AutoModelForSequenceClassification.from_pretrained(
                source,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except Exception as error:  # transformers raises whatever it meets in a broken folder
            raise ConfigError(f"the classifier {source} cannot be loaded: {first_line(error)}") from error
        if info["missing_keys"]:
            raise ConfigError(
                f"{source} holds no trained {', '.join(sorted(info['missing_keys'])[:3])}; its scores would be random: "
                "give a sequence-classification model"
            )
        if model.config.pad_token_id is None:
            model.config.pad_token_id = tokenizer.pad_token_id
        return model.to(resolve_device("auto")).eval(), tokenizer, self._label_index(model.config)

    def _label_index(self, config: Any) -> int:
        names = {str(name): int(i) for i, name in config.id2label.items()}
        if self.label is None and config.num_labels == 1:
            return 0
        if isinstance(self.label, int) and 0 <= self.label < config.num_labels:
            return self.label
        if isinstance(self.label, str) and self.label in names:
            return names[self.label]
        raise ConfigError(
            f"reward classifier needs one label of {self.model}: {', '.join(names)}; got {self.label!r}"
            f"{did_you_mean(str(self.label), names)}"
        )
