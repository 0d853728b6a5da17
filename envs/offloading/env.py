"""`pareto/Offloading-v0`: one copy, as a plain gymnasium environment."""

from __future__ import annotations

from typing import final

from ..batched import SingleEnv
from .dynamics import OffloadingDynamics


@final
class Offloading(SingleEnv):
    """Place the tasks of mobile users on a cloud or on edge servers, for little delay and little energy.

    Description:
        A cloud and E edge servers of different frequencies run the tasks of U users. Once a slot the task at the head
        of a first-come-first-served queue is placed on a server: it is sent over the air, then shares the server's
        processor with the tasks already there. The cloud is fast and far; a cycle costs energy with the square of the
        frequency. On average as much work arrives as all servers together can do, so that placing it badly builds
        queues. After the last slot of an episode (100 by default) the tasks placed run to their end.

    Observation:
        [S, F] float32, a row per server, the cloud first: task size, rate, frequency, tasks on the server, edge
        servers, backlog, slots gone by, what choosing it adds to the delays and costs in energy, and the histogram of residual sizes
        in bins of 1 Mbit (last one open); see `encoding.FEATURES` for the scales. Rows of servers that are not there
        are -1; `encoding.present` gives the mask.

    Action:
        Discrete(S): the server. In a slot without a task (size 0) the choice has no effect.

    Reward space:
        [2] float64, both maximised: minus the seconds the choice adds to all tasks' delays, minus its joules. The first
        sums exactly to minus the total delay of the tasks placed, each from its decision to its end.

    Start:
        All servers empty; frequencies (and E, where it is a range), distances and shadowing drawn anew.

    Termination:
        Never terminated; truncated after 100 slots.

    Arguments:
        ``config``: a name in `SYSTEMS` ("training-8", "wide-6", ...) or an `OffloadingConfig`; or fields of
        `OffloadingConfig` as plain values, such as ``system={"kind": "range", "edges": [1, 8], "max_edges": 10}``.
        The reference point goes with the system: worst of the fronts of random, greedy and LinUCB plus 10 % of their
        range, undiscounted; see `frozen`.

    Credits:
        Yang, Wen, Zhang, Tang (2025), Generalizable Pareto-optimal offloading with reinforcement learning in mobile edge
        computing, IEEE Transactions on Services Computing. Different here: the link budget (see `channel`), fading
        redrawn every slot, four more features a server (see `encoding`), time in the queue left out of the delay (no
        action changes it).
    """

    dynamics_class = OffloadingDynamics
