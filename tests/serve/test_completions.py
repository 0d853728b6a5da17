"""Replies over HTTP are the policy's own: same weights, same seed, same text, whoever else is there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pareto.models.generate import Sampling
from tests.models import tiny as models
from tests.serve.conftest import serving

PROMPT = "a dog ran after"


@pytest.fixture(scope="module")
def soup(adapter_run):
    return adapter_run.steer([0.5, 0.5], method="soup", among="all")


def said(policy, weights, prompt=PROMPT, seed=1, **sampling):
    reply = policy.replies(
        [prompt], Sampling(**({"max_new_tokens": 8} | sampling)), weights=weights, seed=seed
    )[0]
    return reply.text, reply.logps


def test_a_reply_is_the_policys_own(tiny, soup):
    for weights in ([0.7, 0.3], [0.1, 0.9]):
        answer = tiny.ask(PROMPT, pareto={"weights": dict(zip(("helpful", "brief"), weights))}, logprobs=0)
        text, logps = said(soup, weights)
        assert answer["choices"][0]["text"] == text
        np.testing.assert_allclose(answer["choices"][0]["logprobs"]["token_logprobs"], logps, rtol=1e-5)
        assert answer["pareto"]["weights_used"] == pytest.approx({"helpful": weights[0], "brief": weights[1]})
    assert said(soup, [0.7, 0.3]) != said(soup, [0.1, 0.9])


def test_where_weights_may_stand_and_which_of_them_counts(tiny):
    def used(headers=None, **fields):
        asked = {"model": "tiny", "prompt": "rain", "max_tokens": 1} | fields
        status, answer = tiny.post("/v1/completions", asked, headers)
        assert status == 200, answer
        return answer["pareto"]["weights_used"]

    header = {"X-Pareto-Weights": "helpful=0.25,brief=0.75"}
    body = {"weights": {"helpful": 9, "brief": 1}}
    assert used() == {"helpful": 0.5, "brief": 0.5}
    assert used(header) == {"helpful": 0.25, "brief": 0.75}
    assert used(header, model="tiny@helpful=3,brief=1") == {"helpful": 0.75, "brief": 0.25}
    assert used(header, model="tiny@helpful=3,brief=1", pareto=body) == {"helpful": 0.9, "brief": 0.1}
    assert used(model="tiny@b") == {"helpful": 0.0, "brief": 1.0}
    assert used(model="tiny@helpful>=0.4, max brief") == {"helpful": 0.5, "brief": 0.5}
    assert used(pareto={"at": "brief >= 0.4, max helpful"}) == {"helpful": 0.5, "brief": 0.5}
    assert used(extra_body={"pareto": body}) == {
        "helpful": 0.9,
        "brief": 0.1,
    }  # some clients send it unopened


def test_what_serves_and_what_was_measured_near_it_is_told(tiny):
    about = tiny.ask(pareto={"weights": {"helpful": 0.8, "brief": 0.2}})["pareto"]
    assert about["method"] == "soup"
    assert about["shares"] == pytest.approx({"h": 0.6, "half": 0.4})
    near = about["nearest_measured"]
    assert (near["policy"], near["values"]) == ("h", {"helpful": 1.0, "brief": 0.0})
    assert near["distance"] == pytest.approx(0.2 * 2**0.5)
    assert about["extrapolated"] is False
    exact = tiny.ask(pareto={"weights": {"helpful": 1, "brief": 1}})["pareto"]
    assert (exact["shares"], exact["nearest_measured"]["distance"]) == ({"half": 1.0}, 0.0)
    assert "exactly these weights" in exact["why"]


def test_a_vertex_is_the_stored_policy(tiny, adapter_run):
    for name in ("h", "half", "b"):
        stored = adapter_run.policy(name)
        answer = tiny.ask(PROMPT, pareto={"policy": name}, logprobs=0)
        text, logps = stored.replies([PROMPT], Sampling(max_new_tokens=8), seed=1)[0].text, None
        assert answer["choices"][0]["text"] == text
        logps = stored.replies([PROMPT], Sampling(max_new_tokens=8), seed=1)[0].logps
        np.testing.assert_allclose(answer["choices"][0]["logprobs"]["token_logprobs"], logps, rtol=1e-5)


def test_thirty_two_at_once_with_thirty_two_weights_are_each_as_alone(tiny, soup):
    vectors = [[w, 1 - w] for w in np.linspace(0, 1, 32)]

    def ask(w):
        fields = {"pareto": {"weights": {"helpful": w[0], "brief": w[1]}}, "temperature": 0, "logprobs": 0}
        return tiny.ask(models.PROMPTS[int(w[0] * 31) % 4], **fields)

    with ThreadPoolExecutor(32) as pool:
        together = list(pool.map(ask, vectors))
    for w, answer in zip(vectors, together):
        text, logps = said(soup, w, models.PROMPTS[int(w[0] * 31) % 4], temperature=0.0)
        assert answer["choices"][0]["text"] == text
        np.testing.assert_allclose(
            answer["choices"][0]["logprobs"]["token_logprobs"], logps, rtol=1e-5, atol=2e-6
        )


def test_streams_put_together_are_the_whole_reply(tiny):
    asked = {"model": "tiny", "prompt": PROMPT, "max_tokens": 12, "seed": 3, "n": 2}
    status, whole = tiny.post("/v1/completions", asked)
    assert status == 200
    events = tiny.events("/v1/completions", asked | {"stream_options": {"include_usage": True}})
    for choice in whole["choices"]:
        pieces = [c for e in events for c in e["choices"] if c["index"] == choice["index"]]
        assert "".join(p["text"] for p in pieces) == choice["text"]
        assert [p["finish_reason"] for p in pieces if p["finish_reason"]] == [choice["finish_reason"]]
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == whole["usage"]
    assert whole["choices"][0]["text"] != whole["choices"][1]["text"]  # two draws of one request
    assert events[0]["pareto"] == whole["pareto"]


def test_chats(tiny, soup):
    asked = {
        "model": "tiny",
        "messages": [{"role": "user", "content": PROMPT}],
        "max_completion_tokens": 8,
        "seed": 1,
    }
    status, answer = tiny.post("/v1/chat/completions", asked | {"logprobs": True, "top_logprobs": 3})
    assert status == 200
    text, logps = said(soup, [0.5, 0.5])
    choice = answer["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": text, "refusal": None}
    told = choice["logprobs"]["content"]
    np.testing.assert_allclose([t["logprob"] for t in told], logps, rtol=1e-5)
    assert all(len(t["top_logprobs"]) == 3 and t["top_logprobs"][0]["logprob"] >= t["logprob"] for t in told)
    parts = [{"type": "text", "text": "a dog "}, {"type": "text", "text": "ran after"}]
    status, again = tiny.post(
        "/v1/chat/completions", asked | {"messages": [{"role": "user", "content": parts}]}
    )
    assert again["choices"][0]["message"]["content"] == text
    events = tiny.events("/v1/chat/completions", asked)
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in events) == text
    status, refused = tiny.post(
        "/v1/chat/completions", asked | {"messages": [{"role": "system", "content": "x"}, *asked["messages"]]}
    )
    assert (status, refused["error"]["param"]) == (400, "messages")
    assert "no chat template" in refused["error"]["message"]


def test_stop_strings_end_a_reply_and_are_no_part_of_it(tiny):
    whole = tiny.ask(PROMPT, max_tokens=24, seed=5)["choices"][0]["text"]
    stop = whole[len(whole) // 2 : len(whole) // 2 + 2]
    want = whole[: whole.index(stop)]
    choice = tiny.ask(PROMPT, max_tokens=24, seed=5, stop=["never said", stop])["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == (want, "stop")
    events = tiny.events(
        "/v1/completions", {"model": "tiny", "prompt": PROMPT, "max_tokens": 24, "seed": 5, "stop": stop}
    )
    assert "".join(c["text"] for e in events for c in e["choices"]) == want


def test_every_row_has_its_own_sampling(tiny, soup):
    def ask(fields):
        return tiny.ask(PROMPT, max_tokens=12, **fields)["choices"][0]["text"]

    some = [{"temperature": 0}, {"temperature": 0.5, "seed": 4}, {"top_p": 0.5, "seed": 5}, {"seed": 6}]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(ask, some))
    want = [
        said(
            soup,
            None,
            seed=f.get("seed", 1),
            max_new_tokens=12,
            **{k: float(v) for k, v in f.items() if k != "seed"},
        )[0]
        for f in some
    ]
    assert got == want


def test_unknown_fields_are_named_and_unknown_keys_of_ours_refused(tiny):
    answer = tiny.ask(presence_penalty=0.3, user="me")
    assert answer["pareto"]["warnings"] == ["field 'presence_penalty' is ignored", "field 'user' is ignored"]
    status, refused = tiny.post(
        "/v1/completions", {"model": "tiny", "prompt": "a", "pareto": {"wieghts": {}}}
    )
    assert (status, refused["error"]["param"]) == (400, "pareto.wieghts")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pareto": {"weights": {"helpful": 1}}}, "missing: brief"),
        ({"pareto": {"weights": {"helpful": 1, "briev": 1}}}, "did you mean 'brief'"),
        ({"pareto": {"weights": {"helpful": -1, "brief": 2}}}, "must be >= 0"),
        ({"pareto": {"weights": {"helpful": 0, "brief": 0}}}, "at least one weight"),
        ({"pareto": {"weights": {"helpful": 1.7, "brief": -0.7}, "extrapolate": True}}, "at least -0.5"),
        ({"pareto": {"weights": {"helpful": 1, "brief": "1"}}}, "number"),
        ({"pareto": {"at": "helpful >= 7, max brief"}}, "none of the 3 measured"),
        ({"pareto": {"at": "fast"}}, "expected a query"),
        ({"pareto": {"policy": "nobody"}}, "holds no policy 'nobody'"),
        ({"pareto": {"method": "sup"}}, "did you mean 'soup'"),
        ({"pareto": {"method": "select"}}, "needs a query"),
        ({"pareto": {"method": "heads"}}, "has action heads"),
        ({"pareto": {"at": "max helpful", "policy": "h"}}, "give one of"),
        ({"model": "tiny@helpful=1,helpful=2"}, "expected weights such as"),
        ({"max_tokens": 100_000}, "max_tokens may be at most"),
        ({"max_tokens": 0}, "greater than or equal to 1"),
        ({"n": 9}, "n may be at most 8"),
        ({"stop": ["a"] * 5}, "stop may be at most 4"),
        ({"temperature": 3}, "less than or equal to 2"),
        ({"prompt": []}, "1 to 16 prompts"),
        ({"prompt": "\ud800"}, "surrogate"),
        ({"prompt": "the cat " * 200}, "leaves no room"),
    ],
)
def test_what_is_refused_and_why(tiny, fields, words):
    status, answer = tiny.post("/v1/completions", {"model": "tiny", "prompt": "a", "max_tokens": 1} | fields)
    assert status == 400, answer
    assert words in answer["error"]["message"]
    assert answer["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("completions", {"prompt_embeds": "AAAA"}),
        ("completions", {"prompt": {"tensor": [1.0, 2.0]}}),
        ("chat/completions", [{"type": "image_url", "image_url": {"url": "http://192.0.2.1/x.png"}}]),
        (
            "chat/completions",
            [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": "file:///etc/passwd"}],
        ),
        ("chat/completions", [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]),
    ],
)
def test_neither_tensors_nor_addresses_are_taken(tiny, path, fields):
    asked = fields if isinstance(fields, dict) else {"messages": [{"role": "user", "content": fields}]}
    status, answer = tiny.post(f"/v1/{path}", {"model": "tiny", "max_tokens": 1} | asked)
    assert status == 400
    assert answer["error"]["param"].split(".")[0] in ("prompt", "messages")


def test_another_model_is_not_found(tiny):
    status, answer = tiny.post("/v1/completions", {"model": "gpt", "prompt": "a"})
    assert (status, answer["error"]["code"]) == (404, "model_not_found")


def test_outside_the_simplex_only_on_request_and_marked(tiny, adapter_run):
    answer = tiny.ask(PROMPT, pareto={"weights": {"helpful": 1.2, "brief": -0.2}, "extrapolate": True})
    assert answer["pareto"]["extrapolated"] is True
    want = adapter_run.steer([1.2, -0.2], method="soup", extrapolate=True)
    assert answer["choices"][0]["text"] == want.generate([PROMPT], max_new_tokens=8, seed=1)[0]
    inside = tiny.ask(PROMPT, pareto={"weights": {"helpful": 0.7, "brief": 0.3}, "extrapolate": True})
    assert inside["pareto"]["extrapolated"] is False


def test_decoding_mixtures_and_averaged_factors_by_name(tiny, adapter_run):
    for method in ("mod", "soup_factors"):
        want = adapter_run.steer([0.7, 0.3], method=method).generate([PROMPT], max_new_tokens=8, seed=1)[0]
        answer = tiny.ask(PROMPT, pareto={"weights": {"helpful": 0.7, "brief": 0.3}, "method": method})
        assert answer["choices"][0]["text"] == want


def test_whole_models_are_mixed_one_vector_at_a_time(model_run):
    vectors = [[0.7, 0.3], [0.2, 0.8], [0.7, 0.3], [0.0, 1.0]]
    policy = model_run.steer([0.5, 0.5], method="soup", among="all")
    with serving(model_run) as client, ThreadPoolExecutor(4) as pool:
        fields = [{"weights": {"helpful": w[0], "brief": w[1]}} for w in vectors]
        got = list(
            pool.map(lambda f: client.ask(PROMPT, max_tokens=20, pareto=f)["choices"][0]["text"], fields)
        )
    assert got == [said(policy, w, max_new_tokens=20)[0] for w in vectors]


def test_a_chat_template_is_used_where_there_is_one(adapter_run, soup):
    with serving(adapter_run) as client:
        lane = client.service.menu.lanes()[0]
        lane.tokenizer.chat_template = (
            "{% for m in messages %}{{ m.role }} says {{ m.content }}. {% endfor %}it "
        )
        messages = [{"role": "system", "content": "sat"}, {"role": "user", "content": "the cat"}]
        for some, prompt in (
            (messages, "system says sat. user says the cat. it "),
            (messages[1:], "user says the cat. it "),
        ):
            asked = {"model": "tiny", "messages": some, "max_tokens": 8, "seed": 1}
            status, answer = client.post("/v1/chat/completions", asked)
            assert status == 200
            ids = lane.tokenizer(prompt, add_special_tokens=False)["input_ids"]
            assert answer["usage"]["prompt_tokens"] in (len(ids), len(ids) + 1)
