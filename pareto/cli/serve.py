"""`pareto serve`: an OpenAI-compatible server whose every request has weights of its own, and a page."""

from __future__ import annotations

import argparse
import json
import logging
import os
from pathlib import Path
from typing import Any

from pareto.cli._numbers import named_numbers
from pareto.cli._study_arguments import (
    add_import_argument,
    add_of_argument,
    add_offline_argument,
    add_trust_argument,
)
from pareto.errors import MissingPackageError, UsageError

HELP = "OpenAI-compatible server with weights of its own for every request, and a page to steer by hand"
EXAMPLES = """examples:
  pareto serve runs/demo                                   # then open http://127.0.0.1:8000
  pareto serve runs/demo --port 8080 --weights helpful=0.7,brief=0.3
  PARETO_TOKEN=$(openssl rand -hex 16) pareto serve runs/demo --host 0.0.0.0 --allow-host my.host
  curl http://127.0.0.1:8000/v1/chat/completions -H 'content-type: application/json' -d \\
    '{"model": "demo@helpful=0.7,brief=0.3", "messages": [{"role": "user", "content": "How do I stay safe online?"}]}'

Weights of a request, the first that says any: "pareto": {"weights": {...}} in its body; the model's name (demo@helpful=0.7,
brief=0.3, or demo@POLICY, or 'demo@helpful>=2, max brief'); the header X-Pareto-Weights; its token (--tokens); --weights.
Stopping (Ctrl-C or SIGTERM) finishes replies that are being written; a second signal ends at once."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="run folder")
    add_of_argument(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; any but loopback needs a token"
    )
    parser.add_argument("--port", type=int, default=8000, help="default 8000; 0 takes a free one")
    parser.add_argument("--name", help="of the model in the API (default: the study's)")
    parser.add_argument("--token", help="bearer token that requests must send (default: PARETO_TOKEN)")
    parser.add_argument(
        "--tokens",
        type=Path,
        metavar="FILE",
        help='JSON: {"TOKEN": {"a": 0.7, "b": 0.3} or null}, default weights of each',
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="further name of this server"
    )
    parser.add_argument(
        "--weights",
        type=named_numbers,
        metavar="A=0.7,B=0.3",
        help="where a request says none (default: equal ones)",
    )
    parser.add_argument(
        "--method", default="auto", help="where a request says none; see `pareto list steering`"
    )
    parser.add_argument("--device", default="cpu", help="such as cuda:0 (default cpu)")
    parser.add_argument(
        "--dtype", default="float32", choices=["float32", "bfloat16", "float16"], help="of the base"
    )
    parser.add_argument(
        "--quantize", choices=["4bit", "8bit"], help="store the base in fewer bits (extra quantized)"
    )
    parser.add_argument(
        "--rows", type=int, default=32, metavar="N", help="replies decoded at a time (default 32)"
    )
    parser.add_argument(
        "--queue", type=int, default=64, metavar="N", help="requests that may wait (default 64)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="of torch (default: torch's)")
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="another limit, such as reply_tokens=512",
    )
    add_import_argument(parser)
    add_offline_argument(parser)
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    settings = _settings(args)
    try:
        from pareto.serve.server import refuse_connections, serve
    except ModuleNotFoundError as error:
        raise MissingPackageError(str(error.name), "serve", "pareto serve") from error
    import torch

    from pareto.cli._agents import import_all
    from pareto.policy_set import load

    import_all(args.imports)
    if args.threads:
        torch.set_num_threads(args.threads)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    loaded = load(args.folder, args.of)
    if settings.weights is not None:
        loaded.objectives.vector(settings.weights)

    def started(address: str) -> None:
        print(
            f"serving {args.folder} at {address} (the page), {address}/v1 (the API); Ctrl-C stops", flush=True
        )

    print(f"loading {args.folder}: {len(loaded)} policies", flush=True)
    refuse_connections(args.host)
    serve(loaded, settings, started)
    print("stopped")
    return 0


def _settings(args: argparse.Namespace) -> Any:
    from pareto.config import from_mapping, validate
    from pareto.serve.settings import Settings

    limits: dict[str, Any] = {"queue": args.queue}
    for text in args.limit:
        name, _, number = text.partition("=")
        try:
            limits[name] = json.loads(number)
        except ValueError:
            raise UsageError(f"expected --limit NAME=NUMBER; got {text!r}") from None
    tokens: dict[str, Any] = {}
    if args.tokens is not None:
        try:
            tokens = json.loads(args.tokens.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{args.tokens} must hold JSON, token -> weights or null: {error}") from error
    token = args.token or os.environ.get("PARETO_TOKEN")
    if token:
        tokens = {token: None} | tokens
    given = {
        "host": args.host, "port": args.port, "name": args.name, "tokens": tokens, "weights": args.weights,
        "allow_hosts": list(args.allow_host), "method": args.method, "device": args.device, "dtype": args.dtype,
        "quantize": args.quantize, "rows": args.rows, "limits": limits,
    }  # fmt: skip
    return validate(Settings, from_mapping(given, "pareto serve"))
