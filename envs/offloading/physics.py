"""The formulas: link budget, energy, and processor sharing without event loops.

Processor sharing is exact here. A server that runs at f cycles/s and needs eta cycles per bit gives each of its n
tasks f/(n eta) bits/s. With residual sizes in descending order L_1 >= ... >= L_n, work W (bits served in total) takes
the same amount x off every task that has that much left, and

    served(x) = sum_j min(L_j, x) = min_k [k x + sum_{j>k} L_j]     so that     x = max_k (W - sum_{j>k} L_j) / k.

Left alone, task i finishes after (eta/f) sum_j min(L_i, L_j) seconds, so all remaining delays together are
(eta/f) sum_i sum_j min(L_i, L_j), and a new task of size L adds (eta/f) (L + 2 sum_j min(L, L_j)): its own delay and
what it costs the others.

Arrays of residuals are [Q, ...]: one level per queue place, largest first, zeros after the last task. Every operation
is elementwise or runs over levels in order, so a copy's numbers do not depend on its neighbours, not even in the last
bit.
"""

from __future__ import annotations

import numpy as np

NEGLIGIBLE_BITS = 1e-3
"""A task with no more than this left is done: subtraction leaves about 1e-8 bit of a task that ends just then."""


def path_loss_db(distance_m: np.ndarray, carrier_hz: float) -> np.ndarray:
    """Compute the path loss over line of sight in an urban macro cell, in dB.

    PL = 28.0 + 22 log10(d / 1 m) + 20 log10(f_c / 1 GHz).

    Source: 3GPP TR 38.901, table 7.4.1-1, UMa LOS below the breakpoint; with a base station at 25 m and terminals at
    10 m the breakpoint 4 (h_BS - 1)(h_UT - 1) f_c / c is 10 km at 3.5 GHz.
    """
    return 28.0 + 22.0 * np.log10(distance_m) + 20.0 * np.log10(carrier_hz / 1e9)


def decibels(value_db: np.ndarray | float) -> np.ndarray:
    """Turn decibels into a ratio: 10^(dB/10)."""
    return np.asarray(10.0 ** (np.asarray(value_db) / 10.0))


def shannon_rate(bandwidth_hz: float, sinr: np.ndarray) -> np.ndarray:
    """Compute the capacity of a Gaussian channel, W log2(1 + SINR), in bit/s."""
    return bandwidth_hz * np.log2(1.0 + sinr)


def energy_j(
    size_bits: np.ndarray,
    transmission_s: np.ndarray,
    frequency_hz: np.ndarray,
    *,
    transmit_w: float,
    cycles_per_bit: float,
    capacitance: float,
) -> np.ndarray:
    """Compute a task's energy: p T_off for sending it, kappa f^2 for each of its eta L cycles.

    Args:
        size_bits: L.
        transmission_s: T_off.
        frequency_hz: f, of the server that runs it.
        transmit_w: p, of the user's radio.
        cycles_per_bit: eta.
        capacitance: kappa, effective switched capacitance, J s^2 per cycle^3.

    Returns:
        Joule, in the broadcast shape.

    Source: Yang, Wen, Zhang, Tang (2025), section 3: E = E_off + E_exe.
    """
    return transmit_w * transmission_s + capacitance * cycles_per_bit * frequency_hz**2 * size_bits


def drained(residual: np.ndarray, work: np.ndarray) -> np.ndarray:
    """Find how many bits each running task loses while its server serves `work` bits in total.

    Args:
        residual: [Q, ...] bits, descending along the first axis; Q >= 1.
        work: [...] bits.

    Returns:
        [...] x; at least the largest residual when the work suffices for all.
    """
    most = work / len(residual)
    spare, share = work.copy(), np.empty_like(work)
    for k in range(len(residual) - 1, 0, -1):
        spare -= residual[k]  # the work less all but the k largest
        np.divide(spare, k, out=share)
        np.maximum(most, share, out=most)
    return most


def serve(residual: np.ndarray, work: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Compute the residuals [Q, ...] after each server has served `work` [...] bits, into `out` if given."""
    left = np.subtract(residual, drained(residual, work), out=out)
    left[left <= NEGLIGIBLE_BITS] = 0.0
    return left


def insert(residual: np.ndarray, size_bits: np.ndarray) -> np.ndarray:
    """Put a task [...] into its place of the descending order [Q, ...]; one level more comes back. Size 0 is no task."""
    above = np.concatenate([np.full((1, *size_bits.shape), np.inf), residual])
    below = np.concatenate([residual, np.zeros((1, *size_bits.shape))])
    return np.maximum(below, np.minimum(above, size_bits))


def shared_bits(residual: np.ndarray, served: np.ndarray, size_bits: np.ndarray) -> np.ndarray:
    """Compute L + 2 sum_j min(L, L_j): what a new task adds to the remaining delays, times f/eta.

    Args:
        residual: [Q, ...] bits now.
        served: [...] bits that every task present will have lost when the new one joins.
        size_bits: [...] L, the new task.

    Returns:
        [...] bits.
    """
    total, share = np.zeros_like(served), np.empty_like(served)
    for level in residual:
        np.subtract(level, served, out=share)
        np.maximum(share, 0.0, out=share)
        total += np.minimum(share, size_bits, out=share)
    return size_bits + 2.0 * total


def remaining_delay_s(residual: np.ndarray, seconds_per_bit: np.ndarray) -> np.ndarray:
    """Compute the summed remaining delay of all tasks, no more arriving.

    With ranks from the largest, (eta/f) sum_i (2 i - 1) L_i = (eta/f) sum_i (n-i+1)^2 (L_i - L_{i-1}) in ascending
    order.

    Args:
        residual: [Q, ...] bits, descending.
        seconds_per_bit: [...] eta/f.

    Source: Yang, Wen, Zhang, Tang (2025), equations 27-29.
    """
    ranks = 2.0 * np.arange(1, len(residual) + 1) - 1.0
    return seconds_per_bit * np.tensordot(ranks, residual, axes=1)
