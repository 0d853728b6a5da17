"""Token boundaries: one beginning, one end, and the prompt that is trained is the prompt that is generated from."""

from __future__ import annotations

import numpy as np
import pytest

from pareto.data.encode import encode_prompts, encode_responses, prompt_format, set_prompt_format
from pareto.data.preferences import Preferences
from pareto.data.texts import Chat, Message
from pareto.data.tokenise import Limits, tokenise
from pareto.errors import DataError
from pareto.models.tokenizers import BOS, EOS
from pareto.objectives import Objectives
from tests.models import tiny

TEMPLATE = (
    "<s>{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{% endgeneration %}</s>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def chat_tokenizer(template=TEMPLATE):
    tokenizer = tiny.fresh_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def user(text):
    return Chat((Message("user", text),))


def assistant(text):
    return Chat((Message("assistant", text),))


def both(tokenizer, prompts, responses):
    ids = encode_prompts(tokenizer, prompts)
    return ids, *encode_responses(tokenizer, prompts, responses, ids)


def test_plain_rows_have_one_beginning_and_one_end():
    tokenizer = tiny.tokenizer()
    prompts, responses, mismatch = both(
        tokenizer, ["the cat", "<s>the cat", ""], [" sat", " sat</s>", " sat</s></s>"]
    )
    assert prompts[0] == prompts[1] == tokenizer("the cat")["input_ids"]
    assert prompts[0][0] == BOS
    assert prompts[2] == [BOS]
    plain = tokenizer(" sat", add_special_tokens=False)["input_ids"]
    assert responses == [[*plain, EOS]] * 3
    assert not mismatch.any()


def test_a_tokenizer_that_writes_ends_itself_does_not_double_them():
    from tokenizers import processors

    tokenizer = tiny.fresh_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    prompts, responses, _ = both(tokenizer, ["the cat"], [" sat"])
    assert (prompts[0][0], prompts[0].count(EOS), responses[0].count(EOS)) == (BOS, 0, 1)


def test_a_prompt_format_travels_with_the_tokenizer(tmp_path):
    from transformers import AutoTokenizer

    tokenizer = tiny.fresh_tokenizer()
    set_prompt_format(tokenizer, "the {prompt} ran")
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert prompt_format(loaded) == "the {prompt} ran"
    assert encode_prompts(loaded, ["{cat}"]) == encode_prompts(tiny.tokenizer(), ["the {cat} ran"])
    with pytest.raises(DataError, match=r"hold .prompt. once"):
        set_prompt_format(tokenizer, "no place")
    with pytest.raises(DataError, match="no chat template"):
        set_prompt_format(tokenizer, "chat")


def test_chat_rows_are_cut_where_the_reply_begins():
    tokenizer = chat_tokenizer()
    prompts, responses, mismatch = both(tokenizer, [user("the cat")], [assistant("sat on")])
    assert tokenizer.decode(prompts[0]) == "<s><user>the cat<assistant>"
    assert tokenizer.decode(responses[0]) == "sat on</s>"
    whole = "<s><user>the cat<assistant>sat on</s>"
    assert prompts[0] + responses[0] == tokenizer(whole, add_special_tokens=False)["input_ids"]
    assert not mismatch.any()


def test_strings_under_a_chat_format_are_chats():
    tokenizer = chat_tokenizer()
    as_chats = both(tokenizer, [user("the cat")], [assistant("sat")])
    set_prompt_format(tokenizer, "chat")
    as_strings = both(tokenizer, ["the cat"], ["sat"])
    assert as_strings[:2] == as_chats[:2]


def test_a_begun_reply_is_continued():
    tokenizer = chat_tokenizer()
    begun = Chat((Message("user", "the cat"), Message("assistant", "sat")))
    prompts, responses, _ = both(tokenizer, [begun], [assistant(" on it")])
    assert tokenizer.decode(prompts[0] + responses[0]) == "<s><user>the cat<assistant>sat on it</s>"


def test_several_turns_end_once_at_their_end():
    tokenizer = chat_tokenizer()
    reply = Chat((Message("assistant", "sat"), Message("user", "where"), Message("assistant", "here")))
    _, responses, _ = both(tokenizer, [user("the cat")], [reply])
    assert tokenizer.decode(responses[0]) == "sat</s>\n<user>where<assistant>here</s>"


THINKING = TEMPLATE.replace("<assistant>{% endif %}", "<assistant><think>{% endif %}")


def test_a_template_that_changes_the_prompt_is_counted_and_refused_above_a_threshold():
    tokenizer = chat_tokenizer(THINKING)
    prompts, responses, mismatch = both(tokenizer, [user("the cat")], [assistant("sat on")])
    assert tokenizer.decode(prompts[0]).endswith("<think>")  # what generation starts from
    assert tokenizer.decode(responses[0]) == "sat on</s>"
    assert mismatch.tolist() == [True]
    data = Preferences(
        Objectives(["h"]), [user("the cat")], [assistant("sat"), assistant("ran")], np.zeros(2, np.int64),
        np.array([0]), np.array([1]), np.float32([[1]]),
    )  # fmt: skip
    with pytest.raises(DataError, match="in 2 of 2 chat responses the conversation does not start"):
        tokenise(data, tokenizer, Limits())
    assert tokenise(data, tokenizer, Limits(max_mismatch=1.0)).counts.mismatches == 2


def test_tokens_that_grow_together_over_the_boundary_are_a_mismatch():
    """The prompt ends in " t" and the reply starts with "he": the whole has a token " the" that neither part has."""
    tokenizer = chat_tokenizer("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    whole = tokenizer("sat the cat", add_special_tokens=False)["input_ids"]
    assert " the" in [tokenizer.decode(i) for i in whole]
    prompts, responses, mismatch = both(tokenizer, [user("sat t")], [assistant("he cat")])
    assert mismatch.tolist() == [True]
    assert tokenizer.decode(prompts[0]) == "sat t"
    assert tokenizer.decode(responses[0]) == "he cat</s>"


def test_chat_rows_need_a_template():
    with pytest.raises(DataError, match="no chat template"):
        encode_prompts(tiny.tokenizer(), [user("the cat")])


def long_data():
    prompts = ["the cat", "the cat sat on a mat and the dog ran after it"]
    responses = [" sat", " sat on a mat and the dog ran after it", " ran", " fell"]
    return Preferences(
        Objectives(["h"]), prompts, responses, np.array([0, 0, 1, 1]), np.array([0, 2]), np.array([1, 3]),
        np.float32([[1], [-1]]), weight=np.float32([1, 2]),
    )  # fmt: skip


def test_long_texts_are_cut_where_the_rule_says():
    tokenizer = tiny.tokenizer()
    whole = tokenise(long_data(), tokenizer, Limits()).pairs
    limits = Limits(prompt_tokens=6, response_tokens=4)
    result = tokenise(long_data(), tokenizer, limits)
    cut, counts = result.pairs, result.counts
    long_prompt, long_response = whole.table.prompts[1].tolist(), whole.table.responses[1].tolist()
    assert cut.table.prompts[1].tolist() == [BOS, *long_prompt[-5:]]
    assert cut.table.responses[1].tolist() == long_response[:4]
    assert EOS not in cut.table.responses[1]
    assert cut.table.responses[0].tolist() == whole.table.responses[0].tolist()
    assert (counts.truncated_prompts, counts.truncated_responses, counts.dropped_pairs) == (1, 1, 0)
    assert counts.response_tokens == cut.table.responses.lengths.sum()


def test_long_texts_are_left_out_where_the_rule_says():
    tokenizer = tiny.tokenizer()
    result = tokenise(
        long_data(), tokenizer, Limits(prompt_tokens=6, response_tokens=4, long_response="drop")
    )
    kept, counts = result.pairs, result.counts
    assert (result.prompts.tolist(), result.responses.tolist()) == ([0, 1], [0, 2, 3])
    assert (len(kept), counts.dropped_responses, counts.dropped_pairs) == (1, 1, 1)
    assert tokenizer.decode(kept.table.responses[kept.b[0]]) == " fell</s>"
    assert kept.weight.tolist() == [2.0]
    result = tokenise(long_data(), tokenizer, Limits(prompt_tokens=6, long_prompt="drop"))
    kept, counts = result.pairs, result.counts
    assert (len(kept), counts.dropped_prompts, len(kept.table.prompts)) == (1, 1, 1)
    with pytest.raises(DataError, match="no response is left"):
        tokenise(long_data(), tokenizer, Limits(prompt_tokens=1, long_prompt="drop"))


def test_end_tokens_inside_a_text_are_counted():
    data = long_data()
    data.responses[0] = " sat</s> on"
    result = tokenise(data, tiny.tokenizer(), Limits())
    assert result.counts.inner_ends == 1
    assert result.pairs.table.responses[0][-1] == EOS


def test_without_an_end_token_nothing_can_be_tokenised():
    tokenizer = tiny.fresh_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(DataError, match="no end-of-sequence token"):
        tokenise(long_data(), tokenizer, Limits())
