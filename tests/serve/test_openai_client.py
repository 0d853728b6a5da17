"""The official client, as it is."""

from __future__ import annotations

import pytest

openai = pytest.importorskip("openai", reason="the official client is not installed")

from tests.serve.conftest import serving  # noqa: E402

MESSAGES = [{"role": "user", "content": "the cat"}]


@pytest.fixture(scope="module")
def client(adapter_run):
    with serving(adapter_run, tokens={"0123456789abcdef": None}, rows=1, limits={"queue": 0}) as server:
        made = openai.OpenAI(
            base_url=f"http://127.0.0.1:{server.port}/v1", api_key="0123456789abcdef", max_retries=0
        )
        yield made
        made.close()


def test_chat_models_and_completions(client):
    assert client.models.list().data[0].id == "tiny"
    assert client.models.retrieve("tiny@h").owned_by == "pareto"
    extra = {"pareto": {"weights": {"helpful": 0.7, "brief": 0.3}}}
    reply = client.chat.completions.create(
        model="tiny", messages=MESSAGES, max_tokens=6, seed=1, extra_body=extra
    )
    assert reply.pareto["weights_used"] == pytest.approx({"helpful": 0.7, "brief": 0.3})
    assert reply.usage.completion_tokens == 6
    named = client.chat.completions.create(
        model="tiny@helpful=0.7,brief=0.3",
        messages=MESSAGES,
        max_tokens=6,
        seed=1,
        logprobs=True,
        top_logprobs=2,
    )
    assert named.choices[0].message.content == reply.choices[0].message.content
    assert len(named.choices[0].logprobs.content[0].top_logprobs) == 2
    text = client.completions.create(model="tiny", prompt="the cat", max_tokens=6, seed=1, extra_body=extra)
    assert text.choices[0].text == reply.choices[0].message.content


def test_streams(client):
    whole = client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=9, seed=2)
    chunks = list(
        client.chat.completions.create(
            model="tiny",
            messages=MESSAGES,
            max_tokens=9,
            seed=2,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == 9


def test_refusals_are_the_clients_own_errors(client):
    def ask(**fields):
        return client.chat.completions.create(**({"model": "tiny", "messages": MESSAGES} | fields))

    with pytest.raises(openai.BadRequestError, match="missing: brief") as error:
        ask(extra_body={"pareto": {"weights": {"helpful": 1}}})
    assert error.value.param == "pareto"
    with pytest.raises(openai.NotFoundError):
        ask(model="gpt-4")
    with pytest.raises(openai.RateLimitError):
        ask(n=3)
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=client.base_url, api_key="wrong", max_retries=0).models.list()
