"""Where a reward model looks: the hidden state after the last token of every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pareto.core.logps import Scorer, batches_by_tokens, make_scorer
from pareto.core.packing import PackedRows, pack
from pareto.data.pairs import ResponseTable
from pareto.errors import ShapeError
from pareto.models.reward_models.steps import Steps


@dataclass(frozen=True)
class StepTable:
    """Replies and where they are read.

    The state after a token is the one that predicts the next; behind the last word stands the end token, which every reply
    has. So a read is named by the token that it would predict.

    Args:
        table: replies that end with an end token.
        reads: [total response tokens] bool, aligned with `table.responses.flat`.
        offsets: [n_responses + 1] int64, where each reply's reads start among all reads.
    """

    table: ResponseTable
    reads: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, table: ResponseTable, tokenizer: Any, steps: Steps) -> StepTable:
        """Find the steps of every reply.

        Args:
            table: replies that end with an end token; what comes before are the steps.
            tokenizer: of the ids.
            steps: the rule.

        Raises:
            ShapeError: a reply without any token.
        """
        lengths = table.responses.lengths
        if (lengths < 1).any():
            raise ShapeError(
                f"a reply must hold its end token at least; reply {int(np.argmin(lengths))} is empty"
            )
        reads = np.zeros(len(table.responses.flat), dtype=bool)
        counts = np.zeros(len(lengths), dtype=np.int64)
        for i, start in enumerate(table.responses.offsets[:-1]):
            ends = steps.ends(tokenizer, table.responses[i][:-1].tolist())
            at = start + (ends + 1 if len(ends) else np.zeros(1, dtype=np.int64))  # nothing said is one step
            reads[at], counts[i] = True, len(at)
        return cls(table, reads, np.concatenate([[0], np.cumsum(counts)]))

    @property
    def last(self) -> np.ndarray:
        """[n_responses] int64, the read at the end of each reply."""
        return self.offsets[1:] - 1

    def reads_of(self, responses: np.ndarray) -> np.ndarray:
        """[R] int64, reads of some replies, one reply after the other."""
        counts = self.offsets[responses + 1] - self.offsets[responses]
        ends = np.cumsum(counts)
        return np.arange(ends[-1] if len(ends) else 0) + np.repeat(
            self.offsets[responses] - (ends - counts), counts
        )

    def mask_of(self, responses: np.ndarray) -> np.ndarray:
        """Which of these replies' tokens, one reply after the other, are reads."""
        offsets = self.table.responses.offsets
        return np.concatenate([self.reads[offsets[i] : offsets[i + 1]] for i in responses])


def states(
    scorer: Scorer, steps: StepTable, examples: np.ndarray, device: torch.device
) -> tuple[Tensor, int]:
    """Hidden states at the reads of some examples, with gradients where they are on.

    Args:
        scorer: of the backbone.
        steps: all replies.
        examples: [B, K] int64, response indices; the K responses of an example answer one prompt.
        device: of the backbone.

    Returns:
        [R, d], in the order of `steps.reads_of(examples.ravel())`, and the tokens computed.
    """
    rows: PackedRows = pack(
        steps.table,
        examples,
        pad_token_id=scorer.pad_token_id,
        share_prompts=scorer.share_prompts,
        device=device,
    )
    mask = torch.from_numpy(steps.mask_of(examples.ravel())).to(device)
    return scorer.hidden(rows)[rows.source[mask]], rows.n_tokens


@torch.no_grad()
def all_states(model: Any, steps: StepTable, *, dtype: str = "float32", batch_tokens: int = 8192) -> Tensor:
    """[n_reads, d] float32 hidden states of a frozen model at every read, on the model's device.

    Args:
        model: a causal model on its device; in evaluation mode for the pass.
        steps: the replies.
        dtype: "bfloat16" runs under autocast.
        batch_tokens: padded tokens of a forward pass.
    """
    scorer = make_scorer(model)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    out: Tensor | None = None
    for batch in batches_by_tokens(steps.table, np.arange(len(steps.last))[:, None], batch_tokens):
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
            found, _ = states(scorer, steps, batch, device)
        if out is None:
            out = torch.zeros(int(steps.offsets[-1]), found.shape[1], device=device)
        out[torch.from_numpy(steps.reads_of(batch.ravel())).to(device)] = found.float()
    model.train(was_training)
    return torch.zeros(0, 1, device=device) if out is None else out
