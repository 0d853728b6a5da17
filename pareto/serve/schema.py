"""What requests look like: OpenAI's fields, and `pareto` beside them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

MOST_OBJECTIVES = 64
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e100, le=1e100)]


def _number(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise ValueError("a number is needed")
    return value


Number = Annotated[Finite, BeforeValidator(_number)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=400)]
Weights = Annotated[dict[Word, Number], Field(min_length=1, max_length=MOST_OBJECTIVES)]


class ParetoFields(BaseModel):
    """What a request wants of the front; unknown keys are errors, because a typing error must not steer silently.

    Args:
        weights: objective -> number for every objective; positive sums are normalised.
        at: a query on measured values such as "helpful >= 0.6, max brief", in place of weights.
        policy: id of a measured policy, in place of weights.
        method: steering method.
        extrapolate: weights that sum to 1 may lie outside the simplex, as far as the server allows.
    """

    model_config = ConfigDict(extra="forbid")
    weights: Weights | None = None
    at: Word | None = None
    policy: Word | None = None
    method: Word | None = None
    extrapolate: bool = False


class TextPart(BaseModel):
    """A piece of a message; only text is taken."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One chat message."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        """The content in one piece."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """Of a streamed answer."""

    include_usage: bool = False


class Asked(BaseModel):
    """What both kinds of completions have.

    Args:
        model: the server's name for the run, alone or with weights, a query or a policy after an @.
        max_tokens: longest reply.
        temperature: divides the logits; 0 takes the likeliest token.
        top_p: draw from the likeliest tokens whose probabilities reach this sum.
        n: how many replies.
        stream: as server-sent events.
        stop: strings at which a reply ends.
        seed: of the draws; the same seed, prompt and weights give the same reply.
        pareto: weights, query or policy.
    """

    model_config = ConfigDict(extra="allow")
    model: Word
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: Number | None = Field(default=None, ge=0, le=2)
    top_p: Number | None = Field(default=None, gt=0, le=1)
    n: int | None = Field(default=None, ge=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    pareto: ParetoFields | None = None

    @model_validator(mode="before")
    @classmethod
    def _unpacked(cls, data: Any) -> Any:
        """Fields of a literal `extra_body`, which some clients send unopened; what stands beside it counts more."""
        more = data.get("extra_body") if isinstance(data, dict) else None
        if not isinstance(more, dict):
            return data
        return more | {key: value for key, value in data.items() if key != "extra_body"}

    @property
    def stops(self) -> list[str]:
        """Stop strings as a list."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or [])

    @property
    def ignored(self) -> list[str]:
        """Fields that came and mean nothing here."""
        return sorted(self.model_extra or {})


class ChatRequest(Asked):
    """Of /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0)


class CompletionRequest(Asked):
    """Of /v1/completions."""

    prompt: str | list[str]
    echo: bool = False
    logprobs: int | None = Field(default=None, ge=0)

    @property
    def prompts(self) -> list[str]:
        """Prompts as a list."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


class SelectRequest(BaseModel):
    """Of /v1/pareto/select: one of a query, a linear utility, or weights.

    Args:
        at: a query on measured values.
        utility: objective -> how much one unit of it is worth; objectives left out are worth nothing.
        weights: the nearest measured policy to these requested weights.
    """

    model_config = ConfigDict(extra="forbid")
    at: Word | None = None
    utility: Weights | None = None
    weights: Weights | None = None


class RolloutRequest(BaseModel):
    """Of /v1/pareto/rollout: an episode of one agent.

    Args:
        pareto: which agent.
        seed: of the episode.
        steps: most of it.
        frames: whether rendered pictures come with the steps, where the environment draws any.
    """

    model_config = ConfigDict(extra="forbid")
    pareto: ParetoFields = ParetoFields()
    seed: int = Field(default=0, ge=0, lt=2**31)
    steps: int = Field(default=200, ge=1, le=2000)
    frames: bool = False
