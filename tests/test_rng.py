"""Seeds: named streams that are the same everywhere and do not move each other."""

from __future__ import annotations

import hashlib

from pareto import rng


def test_a_seed_is_63_bits_of_the_digest_of_its_parts():
    by_hand = int.from_bytes(hashlib.sha256(b"order\x1f7\x1f0").digest()[:8], "little") >> 1
    assert rng.derive_seed("order", 7, 0) == by_hand < 2**63


def test_parts_do_not_run_together():
    names = [("a", "b"), ("ab",), ("a", "b", ""), ("b", "a"), ("a", 1, 11), ("a", 11, 1), ("a", 111), ()]
    assert len({rng.derive_seed(*n) for n in names}) == len(names)


def test_streams_are_the_same_again_and_apart_from_each_other():
    def draw(*name):
        return rng.generator(*name).random(4).tolist()

    assert draw("x", 0) == draw("x", 0)
    assert draw("x", 0) != draw("x", 1)
    assert draw("x", 0) != draw("y", 0)
