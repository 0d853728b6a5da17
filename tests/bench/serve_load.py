"""What a `pareto serve` bears: hostile bodies, slow sockets, clients that leave, long use, four times too much.

    python tests/bench/serve_load.py runs/lab-steering [--only fuzz schema slow leave soak overload] [--requests 10000]

All traffic goes to 127.0.0.1, bounded in count; every part says in its row what was asked, what came, and whether that meets
the bar. Writes reports/serve/load.json and load.md. `schema` needs the extra fuzz (schemathesis).
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.bench.serving import Server, serving, spread, timed

OUT = Path(__file__).parents[2] / "reports" / "serve"
TRACE = re.compile(rb"Traceback|File \"|\.py\"|line \d+, in ")


def ask(server: Server, seed: int, tokens: int = 16, weight: float = 0.5) -> tuple[int, Any]:
    """One completion whose weights differ from its neighbours'."""
    model = server.model
    fields = {"weights": {server.names[0]: weight, server.names[1]: 1 - weight}}
    return server.post(
        "/v1/completions",
        {
            "model": model,
            "prompt": "How do I cook rice well?",
            "max_tokens": tokens,
            "seed": seed,
            "pareto": fields,
        },
    )


def fuzz(server: Server, args: argparse.Namespace) -> dict:
    """Bodies made of valid ones by changing, nesting, cutting and filling them."""
    draw = random.Random(0)
    junk: list[Any] = [
        None,
        True,
        0,
        -1,
        1.5,
        10**30,
        -1e308,
        "",
        "a",
        "\u0000",
        "\U0001f600" * 50,
        [],
        {},
        [[]],
        {"a": {}},
        "x" * 5000,
    ]
    keys = ["model", "prompt", "messages", "max_tokens", "temperature", "top_p", "n", "stream", "stop", "seed", "logprobs",
            "top_logprobs", "pareto", "echo", "stream_options", "extra_body", "weights", "at", "policy", "method", "utility",
            "extrapolate", "role", "content", "include_usage", server.names[0], "zzz"]  # fmt: skip

    def valid() -> tuple[str, dict]:
        base = {"model": server.model, "max_tokens": draw.randint(1, 4)}
        weights = {name: draw.random() for name in server.names}
        return draw.choice([
            ("/v1/completions", base | {"prompt": "How?", "pareto": {"weights": weights}}),
            ("/v1/chat/completions", base | {"messages": [{"role": "user", "content": "How?"}], "logprobs": True, "top_logprobs": 2}),
            ("/v1/pareto/select", {"utility": weights}),
            ("/v1/pareto/select", {"at": f"{server.names[0]} >= 1, max {server.names[1]}"}),
            ("/v1/pareto/rollout", {"seed": 1}),
        ])  # fmt: skip

    def spoil(value: Any, depth: int = 0) -> Any:
        if depth < 4 and draw.random() < 0.75:
            if isinstance(value, dict) and value:
                changed = dict(value)
                key = draw.choice(list(changed))
                what = draw.random()
                if what < 0.2:
                    del changed[key]
                elif what < 0.4:
                    changed[draw.choice(keys)] = draw.choice(junk)
                else:
                    changed[key] = spoil(changed[key], depth + 1)
                return changed
            if isinstance(value, list) and value:
                return [spoil(v, depth + 1) for v in value] * draw.choice([1, 1, 1, 50])
        return draw.choice(junk)

    def made(i: int) -> tuple[str, bytes]:
        path, body = valid()
        for _ in range(draw.randint(1, 3)):
            body = spoil(body)
        data = json.dumps(body).encode()
        if i % 5 == 0:  # bytes that are no JSON any more
            cut = bytearray(data)
            for _ in range(draw.randint(1, 6)):
                cut[draw.randrange(len(cut))] = draw.randrange(256)
            data = bytes(cut[: draw.randint(1, len(cut))])
        if i % 97 == 0:
            data = b"[" * draw.choice([100, 50_000]) + data
        return path, data

    bodies = [made(i) for i in range(args.requests)]
    answers = spread(lambda b: server.send("POST", b[0], b[1]), bodies, 8)
    statuses = collections.Counter(status for status, _, _ in answers)
    bad = [b for b, (status, _, _) in zip(bodies, answers) if status >= 500 and status != 503]
    traces = sum(bool(TRACE.search(data)) for _, _, data in answers)
    shapes = sum(status >= 400 and "error" not in json.loads(data) for status, _, data in answers)
    healthy = ask(server, 1)[0] == 200
    return {
        "asked": f"{len(bodies)} fuzzed bodies to 4 routes, 8 at a time",
        "came": {str(k): v for k, v in sorted(statuses.items())},
        "5xx_but_503": len(bad),
        "503": statuses[503],
        "stack_traces": traces,
        "errors_without_envelope": shapes,
        "met": not bad and not traces and not shapes and healthy,
    }


def schema(server: Server, args: argparse.Namespace) -> dict:
    """Schemathesis over the server's own description."""
    program = "from schemathesis.cli import schemathesis; schemathesis()"
    command = [
        sys.executable, "-c", program, "run", f"http://127.0.0.1:{server.port}/openapi.json",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--max-examples", str(args.examples), "--no-color", "--seed", "1", "--generation-database", "none",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:  # it leaves a folder of its own where it runs
        took, done = timed(
            lambda: subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=900, cwd=scratch
            )
        )
    told = next((line.strip() for line in done.stdout.splitlines() if "generated" in line), "no count")
    if done.returncode:
        print(done.stdout[-6000:], done.stderr[-2000:])
    return {
        "asked": f"schemathesis, {args.examples} examples for each of its phases and operations, {took:.0f} s",
        "came": f"test cases: {told}",
        "met": done.returncode == 0 and ask(server, 1)[0] == 200,
    }


def slow(server: Server, args: argparse.Namespace) -> dict:
    """200 sockets that send a byte of a request's headers now and then, beside one honest client."""

    def honest(n: int) -> list[float]:
        return [timed(lambda i=i: ask(server, i, tokens=8))[0] for i in range(n)]

    before = honest(30)
    held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    for s in held:
        s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nX-")
    stop = threading.Event()

    def dribble() -> None:
        while not stop.wait(0.5):
            for s in held:
                with contextlib.suppress(OSError):
                    s.sendall(b"a")

    crew = threading.Thread(target=dribble)
    crew.start()
    during, end = [], time.monotonic() + args.slow_s
    while time.monotonic() < end:
        during += honest(5)
    stop.set()
    crew.join()
    closed = 0
    for s in held:
        s.settimeout(2)
        try:
            closed += s.recv(10) == b""
        except ConnectionError:
            closed += 1
        except TimeoutError:
            pass
        s.close()
    after = honest(30)

    def p99(times: list[float]) -> float:
        return statistics.quantiles(times, n=100)[98]

    return {
        "asked": f"200 sockets with headers that do not end for {args.slow_s:g} s, deadline 10 s, and an honest client",
        "came": f"{len(during)} honest replies, all answered; {closed} slow sockets closed by the server",
        "median_s": {"before": median(before), "during": median(during), "after": median(after)},
        "p99_s": {
            "before": round(p99(before), 4),
            "during": round(p99(during), 4),
            "after": round(p99(after), 4),
        },
        "met": closed == 200,
    }


def median(times: list[float]) -> float:
    """Rounded for the report."""
    return round(statistics.median(times), 4)


def leave(server: Server, args: argparse.Namespace) -> dict:
    """Clients that close in the middle of a stream."""
    before = server.metric("pareto_disconnects_total")
    gone = 0

    def one(i: int) -> None:
        nonlocal gone
        s = socket.create_connection(("127.0.0.1", server.port))
        body = json.dumps({"model": server.model, "prompt": "How do I cook rice well?", "max_tokens": 2000 if i % 2 else 64,
                           "temperature": 2, "stream": bool(i % 3)}).encode()  # fmt: skip
        head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        s.sendall(head.encode() + body)
        if i % 3:
            s.recv(64)
        s.close()
        gone += 1

    spread(one, range(300), 8)
    end = time.monotonic() + 10
    while time.monotonic() < end and server.metric("pareto_running") + server.metric("pareto_waiting") > 0:
        time.sleep(0.02)
    left = server.metric("pareto_running") + server.metric("pareto_waiting")
    return {
        "asked": f"{gone} clients that close before their reply is over",
        "came": f"{server.metric('pareto_disconnects_total') - before:g} counted as gone; {left:g} rows held afterwards; a row "
        "costs no step after its client left (counted in tests/serve/test_scheduler.py)",
        "met": left == 0,
    }


def soak(server: Server, args: argparse.Namespace) -> dict:
    """Many requests, whole and streamed, refused and accepted; memory, descriptors and threads at the tenths."""

    def one(i: int) -> int:
        if i % 10 == 9:
            return server.post("/v1/completions", {"model": "nobody", "prompt": "a"})[0]
        if i % 3:
            return ask(server, i, tokens=6, weight=(i % 101) / 100)[0]
        body = {"model": server.model, "prompt": "How?", "max_tokens": 6, "seed": i, "stream": True}
        return server.send("POST", "/v1/completions", json.dumps(body).encode())[0]

    spread(one, range(500), 8)  # what is allocated once
    marks = []
    tenth = args.requests // 10
    took = 0.0
    for part in range(11):
        threads = len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))
        marks.append(
            (
                server.metric("process_resident_memory_bytes") / 2**20,
                server.metric("process_open_fds"),
                threads,
            )
        )
        if part < 10:
            more, statuses = timed(lambda part=part: spread(one, range(part * tenth, (part + 1) * tenth), 8))
            took += more
            assert set(statuses) == {200, 404}, collections.Counter(statuses)
    memory = [m for m, _, _ in marks]
    drift = memory[-1] / memory[0] - 1
    return {
        "asked": f"{args.requests} requests with {101} weight vectors, 8 at a time, {took:.0f} s",
        "came": f"memory {memory[0]:.0f} to {memory[-1]:.0f} MiB ({drift:+.1%}), descriptors {marks[0][1]:g} to {marks[-1][1]:g}, "
        f"threads {marks[0][2]} to {marks[-1][2]}",
        "memory_mib": [round(m, 1) for m in memory],
        "met": drift < 0.05 and marks[-1][1] <= marks[0][1] * 1.05 + 1,
    }


def overload(server: Server, args: argparse.Namespace) -> dict:
    """A closed loop at the rows' own number, then four times as many clients as rows and queue together hold."""

    def run(clients: int, n: int) -> tuple[float, collections.Counter]:
        took, statuses = timed(
            lambda: spread(lambda i: ask(server, i, tokens=24, weight=(i % 11) / 10)[0], range(n), clients)
        )
        return took, collections.Counter(statuses)

    held = args.rows + args.queue
    peak_s, peak = run(args.rows, 300)
    over_s, over = run(4 * held, 1200)
    rate, goodput = peak[200] / peak_s, over[200] / over_s
    return {
        "asked": f"{args.rows} rows and a queue of {args.queue}: {args.rows} clients, then {4 * held}",
        "came": f"{dict(peak)} at {rate:.1f} replies/s; {dict(over)} at {goodput:.1f} replies/s",
        "goodput_of_peak": round(goodput / rate, 3),
        "met": set(over) == {200, 429} and peak[200] == 300,
    }


PARTS = {"fuzz": fuzz, "schema": schema, "slow": slow, "leave": leave, "soak": soak, "overload": overload}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--examples", type=int, default=50)
    parser.add_argument("--slow-s", type=float, default=15.0)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--queue", type=int, default=16)
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / "load.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    small = ["--rows", str(args.rows), "--queue", str(args.queue)]
    for limits, names in (
        (["--queue", "200"], [n for n in args.only if n != "overload"]),
        (small, [n for n in args.only if n == "overload"]),
    ):
        if not names:
            continue
        with serving(args.run, *limits) as server:
            front = server.get("/v1/pareto/front")
            server.model, server.names = front["name"], [o["name"] for o in front["objectives"]]
            for name in names:
                found = PARTS[name](server, args)
                results = (
                    json.loads(path.read_text()) if path.exists() else {}
                )  # others may run beside this one
                results[name] = found
                print(name, json.dumps(results[name], indent=1), flush=True)
                path.write_text(json.dumps({k: results[k] for k in PARTS if k in results}, indent=1) + "\n")
                (OUT / "load.md").write_text(written(results, args.run))


def written(results: dict, run: str) -> str:
    lines = ["# What the server bears", "", f"`python tests/bench/serve_load.py {run}`; the server has one thread for decoding.", "",
             "| part | asked | came | met |", "|---|---|---|---|"]  # fmt: skip
    for name in (n for n in PARTS if n in results):
        row = results[name]
        more = {k: v for k, v in row.items() if k not in ("asked", "came", "met", "memory_mib")}
        told = "; ".join(f"{k} {v}" for k, v in more.items())
        lines.append(
            f"| {name} | {row['asked']} | {row['came']}{'; ' + told if told else ''} | {'yes' if row['met'] else 'NO'} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
