"""CoIPO: answers that do not change when the prompt gets noisy, by contrast between prompts."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PromptContrast, needs
from pareto.errors import ConfigError


@LOSSES.register("coipo", source="CoIPO, contrastive inverse preference optimization; official code")
@needs(reference=False)
def coipo(
    batch: PromptContrast,
    *,
    contrast_weight: float = 1000.0,
    form: Literal["softplus", "saturating"] = "softplus",
) -> Tensor:
    """Likelihood of the answer after the clean and after the noisy prompt, and a contrast between two examples.

        k = KL(o0 || p0) - KL(o1 || p0) + KL(o1 || p1) - KL(o0 || p1)

    with o_i and p_i the next-token distributions of example i after its clean and its noisy prompt: k is small where a
    noisy prompt is answered like its own clean one and unlike the other's. "saturating" is the released
    exp(k - max(0, k)) = min(1, e^k), which has no gradient whenever k > 0, so exactly where it should act; "softplus" is
    log(1 + e^k). The contrast is scaled to at most the likelihood term: weight min(contrast_weight, NLL / contrast),
    without gradient.

    Args:
        batch: B couples of examples.
        contrast_weight: > 0, largest weight of the contrast.
        form: of the contrast.

    Returns:
        [B] float, loss of each couple in nats per token, not reduced.

    Raises:
        ConfigError: an unknown form.

    Source: the official code; difference: "softplus" is the default, "saturating" is theirs, and the scale is worked out
    for each couple instead of the batch.
    """
    if form not in CONTRASTS:
        raise ConfigError(f"form must be one of {', '.join(CONTRASTS)}; got {form!r}")
    likelihood = -((batch.clean_logps + batch.noisy_logps) / batch.lengths).mean(-1)
    kl = batch.kl
    k = kl[:, 0, 0] - kl[:, 1, 0] + kl[:, 1, 1] - kl[:, 0, 1]
    contrast = CONTRASTS[form](k)
    with torch.no_grad():
        scale = (likelihood / contrast.clamp(min=SMALLEST_CONTRAST)).clamp(max=contrast_weight)
    return likelihood + scale * contrast


SMALLEST_CONTRAST = 1e-12
"""Keeps the scale finite where the contrast is zero."""

CONTRASTS = {"softplus": F.softplus, "saturating": lambda k: (k - k.relu()).exp()}
