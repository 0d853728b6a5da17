"""What a server allows and how it runs: every limit has a number here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from pareto.config import Config

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Limits(Config):
    """Bounds that are checked before any work is done for a request.

    Args:
        body_bytes: of a request.
        header_bytes: of all headers of a request.
        depth: nesting of JSON.
        messages: of a chat.
        prompts: of one completion request.
        prompt_chars: of all texts of a request.
        prompt_tokens: of one prompt, once it is tokenised.
        reply_tokens: longest reply.
        choices: `n`.
        stops: stop strings.
        stop_chars: of one of them.
        top_logprobs: alternatives told for each token.
        connections: open at a time; beyond, those that have not finished a request's headers are closed first.
        queue: requests that wait; beyond, 429.
        header_s: until a request's headers are whole.
        body_s: until its body is.
        write_s: until a client takes what is written.
        request_s: until a reply is done.
        extrapolation: how far outside the simplex weights may lie where a request asks for it.
    """

    body_bytes: int = Field(default=1 << 20, ge=1)
    header_bytes: int = Field(default=16 << 10, ge=1024)
    depth: int = Field(default=16, ge=4)
    messages: int = Field(default=256, ge=1)
    prompts: int = Field(default=16, ge=1)
    prompt_chars: int = Field(default=200_000, ge=1)
    prompt_tokens: int = Field(default=8192, ge=1)
    reply_tokens: int = Field(default=4096, ge=1)
    choices: int = Field(default=8, ge=1)
    stops: int = Field(default=4, ge=0)
    stop_chars: int = Field(default=200, ge=1)
    top_logprobs: int = Field(default=20, ge=0)
    connections: int = Field(default=512, ge=1)
    queue: int = Field(default=64, ge=0)
    header_s: float = Field(default=10.0, gt=0)
    body_s: float = Field(default=15.0, gt=0)
    write_s: float = Field(default=30.0, gt=0)
    request_s: float = Field(default=600.0, gt=0)
    extrapolation: float = Field(default=0.5, ge=0)


class Settings(Config):
    """How a run is served.

    Args:
        host: address to listen on; loopback needs no token, any other does.
        port: 0 takes a free one.
        name: of the model in the API; None takes the study's.
        tokens: bearer token -> default weights of who sends it, or None.
        weights: where neither request nor token says any; None takes equal ones.
        allow_hosts: further names under which the server may be called.
        method: steering method where a request says none.
        device, dtype, quantize: of the models.
        rows: sequences decoded at a time.
        prefix_bytes: most memory of kept prompt beginnings, for each model.
        policies: how many policies that cannot share a model are kept loaded.
        drain_s: how long running replies may go on after a stop is asked for.
        limits: what a request may ask for.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    name: str | None = None
    tokens: Mapping[str, Mapping[str, float] | None] = Field(default_factory=dict)
    weights: Mapping[str, float] | None = None
    allow_hosts: tuple[str, ...] = ()
    method: str = "auto"
    device: str = "cpu"
    dtype: str = "float32"
    quantize: Literal["4bit", "8bit"] | None = None
    rows: int = Field(default=32, ge=1)
    prefix_bytes: int = Field(default=256 << 20, ge=0)
    policies: int = Field(default=4, ge=1)
    drain_s: float = Field(default=30.0, ge=0)
    limits: Limits = Limits()
