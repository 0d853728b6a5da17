"""The scheduler: who joins, who leaves, who waits, who is refused, and what a fault costs."""

from __future__ import annotations

import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from pareto.models.generate import Sampling
from pareto.serve.lanes import Lane
from pareto.serve.metrics import Metrics
from pareto.serve.refusal import Refusal
from pareto.serve.scheduler import Scheduler
from pareto.serve.ticket import Ticket
from tests.serve.conftest import serving


@pytest.fixture
def lane(adapter_run):
    return Lane(adapter_run.steer([0.5, 0.5], method="soup"), True, 1 << 20, "soup")


def ticket(lane, deliver, n=8, weights=(0.5, 0.5), prompt="rain", seed=0):
    ids, rows = lane.policy.encode([prompt], list(weights))
    return Ticket(lane, ids[0], rows[0], Sampling(max_new_tokens=n), seed, 0, (), 0, deliver)


@torch.inference_mode()
def turn(scheduler, lane):
    scheduler._turn(lane)


def test_one_that_left_is_gone_before_the_next_step(lane):
    """Turns by hand, so that steps can be counted: the row of a client that went away costs none after it."""
    scheduler, told = Scheduler(4, 4, Metrics()), {"stays": [], "goes": []}
    stays = ticket(lane, told["stays"].append, n=30)
    goes = ticket(lane, told["goes"].append, n=30, weights=(1.0, 0.0))
    scheduler.submit([stays, goes])
    turn(scheduler, lane)
    turn(scheduler, lane)
    assert (scheduler.running, len(lane.batches), lane.batches[0].decoder.ids.shape[0]) == (2, 1, 2)
    goes.left = True
    turn(scheduler, lane)
    assert (scheduler.running, lane.batches[0].decoder.ids.shape[0]) == (1, 1)
    assert (len(told["stays"]), len(told["goes"])) == (3, 2)
    stays.left = True
    turn(scheduler, lane)
    assert (scheduler.running, lane.batches, len(told["stays"])) == (0, [], 3)


def test_requests_join_replies_that_are_being_written(lane):
    scheduler, first, second = Scheduler(4, 4, Metrics()), [], []
    scheduler.submit([ticket(lane, first.append, n=6)])
    for _ in range(3):
        turn(scheduler, lane)
    scheduler.submit([ticket(lane, second.append, n=2, weights=(0.0, 1.0))])
    turn(scheduler, lane)
    assert len(lane.batches) == 1
    assert (len(first), len(second)) == (4, 1)
    turn(scheduler, lane)
    assert second[-1].end == "length"
    assert scheduler.running == 1
    turn(scheduler, lane)
    assert first[-1].end == "length"
    assert scheduler.running == 0


def test_no_more_rows_than_allowed_and_no_more_in_the_queue(lane):
    scheduler = Scheduler(2, 3, Metrics())
    tickets = [ticket(lane, lambda told: None) for _ in range(5)]
    scheduler.submit(tickets)  # 2 rows and a queue of 3
    with pytest.raises(Refusal, match="3 requests are waiting") as refused:
        scheduler.submit([ticket(lane, lambda told: None)])
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "1")
    turn(scheduler, lane)
    assert (scheduler.running, scheduler.waiting) == (2, 3)
    for one in tickets[:2]:
        one.left = True
    turn(scheduler, lane)
    turn(scheduler, lane)
    assert (scheduler.running, scheduler.waiting) == (2, 1)


def test_a_fault_ends_the_replies_of_its_lane_and_nothing_else(adapter_run):
    with serving(adapter_run) as client:
        lane = client.service.menu.lanes()[0]
        real = lane.model.forward

        def broken(**inputs):
            raise RuntimeError("a broken policy")

        lane.model.forward = broken
        status, answer = client.post("/v1/completions", {"model": "tiny", "prompt": "a"})
        assert (status, answer["error"]["type"]) == (503, "server_error")
        assert "broken" not in json.dumps(answer)
        lane.model.forward = real
        assert client.ask()["choices"][0]["finish_reason"] == "length"


def test_logits_that_are_not_finite_are_no_reply(adapter_run):
    with serving(adapter_run) as client:
        lane = client.service.menu.lanes()[0]
        next(lane.model.model.parameters()).data.fill_(float("nan"))
        assert client.post("/v1/completions", {"model": "tiny", "prompt": "a"})[0] == 503
        assert client.get("/healthz")[0] == 200


def test_overload_is_refused_and_what_was_accepted_is_finished(adapter_run):
    with serving(adapter_run, {"queue": 2}, rows=2) as client:
        asked = {"model": "tiny", "prompt": "the cat", "max_tokens": 40}
        with ThreadPoolExecutor(16) as pool:
            answers = list(
                pool.map(
                    lambda seed: client.send("POST", "/v1/completions", asked | {"seed": seed}), range(16)
                )
            )
        statuses = {status for status, _, _ in answers}
        assert statuses == {200, 429}
        for status, headers, body in answers:
            if status == 429:
                assert headers["retry-after"] == "1"
                assert json.loads(body)["error"]["type"] == "rate_limit_error"
            else:
                assert json.loads(body)["choices"][0]["finish_reason"] in ("stop", "length")
        client.wait(lambda: client.service.scheduler.running == 0)


def test_a_client_that_goes_away_frees_its_row(adapter_run):
    with serving(adapter_run) as client:
        scheduler = client.service.scheduler
        gate = threading.Event()
        lane = client.service.menu.lanes()[0]
        real = lane.model.forward

        def held(**inputs):
            if lane.batches:  # a step, and not the reading of a prompt
                gate.wait(20)
            return real(**inputs)

        lane.model.forward = held
        for stream in (True, False):
            connection = http.client.HTTPConnection("127.0.0.1", client.port)
            body = json.dumps({"model": "tiny", "prompt": "rain", "max_tokens": 100, "stream": stream})
            connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
            client.wait(lambda: scheduler.running == 1)
            steps, left = client.service.metrics.steps, client.service.metrics.disconnects
            connection.close()
            client.wait(lambda left=left: client.service.metrics.disconnects == left + 1)
            gate.set()
            client.wait(lambda: scheduler.running == 0)
            assert client.service.metrics.steps - steps <= 1
            gate.clear()
        lane.model.forward = real
        gate.set()


def test_a_stopping_server_takes_nothing_new_and_finishes(adapter_run):
    with serving(adapter_run) as client, ThreadPoolExecutor(1) as pool:
        running = pool.submit(client.ask, "rain", max_tokens=100)
        client.wait(lambda: client.service.scheduler.running == 1 or running.done())
        client.service.drain()
        assert client.get("/readyz")[0] == 503
        assert client.get("/healthz")[0] == 200
        status, answer = client.post("/v1/completions", {"model": "tiny", "prompt": "a"})
        assert (status, answer["error"]["code"]) == (503, "stopping")
        assert running.result(30)["choices"][0]["finish_reason"] in ("stop", "length")
