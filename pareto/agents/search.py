"""C-MORL's search as a machine that can be stopped after any iteration: a first stage, then rounds of extensions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from pareto.agents.aims import Weighted
from pareto.agents.archive import Archive, lower_bounds
from pareto.agents.collecting import HardBudget
from pareto.agents.composing import Composition, actors_of, weights_to_try
from pareto.agents.evaluating import evaluate
from pareto.agents.extensions import Extension, Round
from pareto.agents.keeping import Composed, archive_from, archive_tensors, best_together
from pareto.agents.learning import Learning, Networked, constant_policies, first_policies
from pareto.agents.ledger import PORTION, Ledger
from pareto.agents.population import Snapshots
from pareto.agents.selecting import Known, Lesson, promising, volume
from pareto.agents.state_values import fit_state_values
from pareto.agents.watching import Watched, watched
from pareto.cells import Cost
from pareto.models.actors.mlp import MLPActor

if TYPE_CHECKING:
    from pareto.agents.cmorl import CMORL


FEW = 8
"""Episodes of every finalist that are watched before the budget is looked at again."""


@dataclass
class Search:
    """The state of a search and its moves.

    `candidates` are iterates that training returns speak for; at the end of a stage fresh episodes decide which of them
    enter the `archive`.

    Args:
        config: the method.
        networked: the task and the networks.
        weights: [M, m] of the first stage.
        seed: study seed.
    """

    config: CMORL
    networked: Networked
    weights: np.ndarray
    seed: int
    rounds: int = 0
    plan: Round | None = None
    tried: Counter[tuple[float, ...]] = field(default_factory=Counter)
    lessons: list[Lesson] = field(default_factory=list)

    def __post_init__(self) -> None:
        task, m = self.networked.task, self.weights.shape[1]
        self.ledger = Ledger(self.config.total_steps, self.config.max_episode_steps)
        self.archive = Archive.empty(m, self.config.archive)
        self.candidates = Archive.empty(m, self.config.candidates)
        self.gained = np.full(m, 0.1)
        stated = task.facts.ref_point if self.config.ref_point is None else self.config.ref_point
        self._ref_point = None if stated is None else np.array(stated)
        self.learning = self._first_stage()
        self.planned = self.learning.iterations(self.config.first_steps)

    @property
    def ref_point(self) -> np.ndarray:
        """[m] the configured reference point or the environment's own, else a tenth of the range below what has been reached."""
        if self._ref_point is not None or not len(self.archive):
            return np.full(self.weights.shape[1], -np.inf) if self._ref_point is None else self._ref_point
        low, high = self.archive.means.min(axis=0), self.archive.means.max(axis=0)
        return low - 0.1 * np.maximum(high - low, 1e-9)

    def step(self) -> None:
        """One iteration of learning, and what follows from it at the end of a stage."""
        if self.config.constants and not (self.rounds or self.learning.done):
            self._admit(constant_policies(self.networked, self.seed), "constants")
        self.learning.step(self.planned)
        self.ledger.training += self.learning.steps_each
        last = self.learning.done >= self.planned
        every = self.config.offer_every if self.rounds else self.config.first_offer_every
        if last or (every is not None and self.learning.done % every == 0):
            self._offer()
        if last:
            self._verify()
            self._next_round()

    @property
    def finished(self) -> bool:
        """Whether the budget is spent or nothing is left to do."""
        return self.learning.done >= self.planned

    @property
    def steps(self) -> int:
        """True environment steps so far."""
        return self.ledger.taken

    @property
    def cost(self) -> Cost:
        """What was spent."""
        return Cost(env_steps=self.ledger.training, selection_env_steps=self.ledger.selection)

    def figures(self) -> dict[str, Any]:
        """Hypervolume so far, size of the archive, round."""
        return {"hypervolume": self.hypervolume, "policies": len(self.archive), "round": self.rounds}

    @property
    def hypervolume(self) -> float:
        """Of archive and candidates, by the estimates they were chosen by: optimistic."""
        points = np.concatenate([self.archive.means, self.candidates.means])
        return volume(points, self.ref_point) if np.isfinite(self.ref_point).all() else math.nan

    def finish(self) -> tuple[Archive, Composed | None]:
        """The policies that are kept, and those composed of them: finalists get fresh episodes once more, and these alone decide.

        Where what is left of the budget will not pay for these episodes, what is known decides.
        """
        episodes = self.config.final_episodes
        last = best_together(self.archive, self.ref_point, self.config.finalists)
        composed = self._composed(last) if self.config.composed else None
        if composed is None and episodes and len(last) * episodes * self.ledger.likely <= self.ledger.left:
            assert last.policies is not None
            fresh = Archive.empty(self.weights.shape[1], self.config.finalists)
            self.archive = self._admitted(fresh, last.policies, "final", episodes)
        elif composed is None:
            self.archive = last
        return best_together(self.archive, self.ref_point, self.config.policies), composed

    def _composed(self, last: Archive) -> Composed | None:
        """Policies composed of the finalists, whose fresh episodes say what states are worth; None where these cannot be paid.

        What is composed is chosen by what the values predict: to play it would take steps that learning needs more.
        """
        c = self.config
        assert last.policies is not None
        actors = actors_of(self.networked, last.policies, c.actions)
        own = self._watched(actors, c.final_episodes, "final", 0.0)
        if not own:
            return None
        usual = sum(w.steps for w in own) / sum(w.returns.shape[0] * w.returns.shape[1] for w in own)
        values = fit_state_values([*own, *self._watched(actors, c.begun_episodes, "begun", usual)], self.seed)
        made = Composition(self.networked, actors, values)
        returns = np.concatenate([w.returns for w in own], axis=1)
        fresh = Archive.empty(self.weights.shape[1], c.finalists)
        self.archive = fresh.offer(last.policies, returns.mean(axis=1), lower_bounds(returns, c.z))
        best = self.archive.means.max(axis=0)
        weights = weights_to_try(
            lambda w: made.predicted(w, self.seed), best, self.ref_point, c.composed, self.seed
        )
        return Composed(made, weights, made.predicted(weights, self.seed))

    def _watched(self, actors: Sequence[MLPActor], episodes: int, label: str, begun: float) -> list[Watched]:
        """A few episodes of every finalist at a time, for as long as the budget surely pays for the next."""
        found: list[Watched] = []
        for played in range(0, episodes, FEW):
            n = min(FEW, episodes - played)
            if self.ledger.affords(n) < len(actors):
                break
            found.append(
                watched(
                    self.networked.task,
                    actors,
                    n,
                    begun=begun,
                    max_episode_steps=self.config.max_episode_steps,
                    seed=self.seed,
                    label=f"{label}/{played}",
                )
            )
            self.ledger.select(len(actors) * n, found[-1].steps)
        return found

    # ------------------------------------------------------------------------------------------- moves

    def _offer(self) -> None:
        """Show the present iterates to the candidates by their training returns, or to the archive by fresh episodes."""
        policies = self.learning.population.snapshots()
        if self.config.offer == "episodes":
            if not len(self.archive) or len(policies) <= self._affordable:
                self._admit(policies, f"{self.rounds}/{self.learning.done}")
            return
        window, m = self.learning.collector.window, self.weights.shape[1]
        means, lows = np.full((2, len(policies), m), np.nan)
        for p in range(len(policies)):
            episodes = window.episodes(p)
            if len(episodes) >= min(self.config.window, 16):
                means[p] = episodes.mean(axis=0)
                lows[p] = lower_bounds(episodes[None], self.config.z)[0]
        self.candidates = self.candidates.offer(policies, means, lows)

    def _verify(self) -> None:
        """Give fresh episodes to the candidates that promise most beyond the archive, and let the archive decide."""
        if self.config.offer == "episodes" or not len(self.candidates):
            return
        affordable = self._affordable if len(self.archive) else max(1, self._affordable)
        most = min(self.config.verified, affordable)
        lows, held = self.candidates.lows, self.archive.lows
        places = promising(lows, held, self.ref_point, most)
        if not len(places) and not len(
            held
        ):  # nothing is above the reference point yet: begin with what there is
            places = promising(lows, held, np.full(lows.shape[1], -np.inf), most)
        if len(places):
            policies = self.candidates.take(places).policies
            assert policies is not None
            self._admit(policies, f"{self.rounds}")
        self.candidates = Archive.empty(self.weights.shape[1], self.config.candidates)

    def _admit(self, policies: Snapshots, label: str) -> None:
        self.archive = self._admitted(self.archive, policies, label, self.config.episodes)

    def _admitted(self, archive: Archive, policies: Snapshots, label: str, episodes: int) -> Archive:
        """Fresh episodes, a portion at a time for as long as the budget surely pays for the next."""
        portions: list[np.ndarray] = []
        for played in range(0, episodes, PORTION):
            n = min(PORTION, episodes - played)
            if played and self.ledger.affords(n) < len(policies):
                break
            returns, steps = evaluate(
                self.networked,
                policies,
                n,
                self.config.actions,
                max_episode_steps=self.config.max_episode_steps,
                seed=self.seed,
                label=f"{label}/{played}",
            )
            self.ledger.select(len(policies) * n, steps)
            portions.append(returns)
        returns = np.concatenate(portions, axis=1)
        return archive.offer(policies, returns.mean(axis=1), lower_bounds(returns, self.config.z))

    def _next_round(self) -> None:
        """Plan the next course or round, where the budget allows one."""
        if self.plan is not None and self.rounds > len(self.config.courses):
            self._learn_from(self.plan)
        number, extension = self.rounds + 1, self._extension(self.rounds + 1)
        if extension is None or not len(self.archive):
            return
        points, policies = self.archive.means, self.archive.policies
        if extension.goes_on:
            points, policies = self.learning.collector.window.means(), self.learning.population.snapshots()
        plan = extension.plan(self._known(points))
        if plan is None:
            return
        ppo = extension.learning(self.config.round_ppo)
        steps = len(plan.starts) * ppo.envs * ppo.steps
        usual = extension.iterations(self.config.round_iterations, steps)
        left = self.ledger.left - self._reserve
        iterations = min(usual, left // (steps + len(plan.starts) * self._offered))
        if iterations < min(usual, 5):
            return
        self.rounds, self.plan = number, plan
        self.tried.update({tuple(key) for key in plan.keys.tolist()})
        assert policies is not None
        self.learning = self._round(plan, policies.rows(plan.starts))
        self.planned = int(iterations)

    def _extension(self, number: int) -> Extension | None:
        """What round `number` does: the courses come first."""
        courses = self.config.courses
        return courses[number - 1] if number <= len(courses) else self.config.extension

    @property
    def _affordable(self) -> int:
        """Policies whose first portion of fresh episodes the budget surely pays for."""
        return self.ledger.affords(min(PORTION, self.config.episodes))

    @property
    def _offered(self) -> int:
        """Steps per policy and iteration that offering fresh episodes may take."""
        if self.config.offer == "training":
            return 0
        return math.ceil(self.config.episodes * self.ledger.likely / self.config.offer_every)

    @property
    def _reserve(self) -> int:
        """Steps that the last choices may take: among a round's candidates, and among the finalists."""
        c = self.config
        verified = 0 if c.offer == "episodes" else c.verified * c.episodes * self.ledger.likely
        finalists = min(c.finalists, len(self.archive) + c.verified)
        final = finalists * (c.final_episodes + c.begun_episodes) * self.ledger.likely
        if c.composed:  # the last few episodes must be paid even if all of them last to their limit
            final += finalists * FEW * ((c.max_episode_steps or 0) - self.ledger.likely)
        return math.ceil(verified + final)

    def _known(self, points: np.ndarray) -> Known:
        held, ref = self.archive.means, self.ref_point
        spans = np.maximum(np.ptp(held, axis=0), 1e-3 * np.abs(held.max(axis=0) - ref))
        return Known(
            self.networked.task.objectives,
            points,
            np.maximum(spans, 1e-9),
            ref,
            self.gained,
            self.tried,
            tuple(self.lessons),
            self.weights,
        )

    def _learn_from(self, plan: Round) -> None:
        """How far the round's policies came, in spans: what is expected of the next ones."""
        reached = self.learning.collector.window.means()
        moved = (reached - plan.anchors) / plan.spans
        for start, climb, row in zip(plan.anchors.tolist(), plan.objectives.tolist(), moved):
            if np.isfinite(row[climb]):
                self.lessons.append(Lesson(tuple(start), climb, float(row[climb])))
        for j in np.unique(plan.objectives):
            own = moved[plan.objectives == j, j]
            if np.isfinite(own).any():
                self.gained[j] = 0.5 * self.gained[j] + 0.5 * max(float(np.nanmean(own)), 0.01)

    def _first_stage(self) -> Learning:
        weights = np.tile(self.weights, (self.config.starts, 1))
        start = first_policies(self.networked, len(weights), self.seed)
        return Learning(
            self.networked,
            start,
            Weighted(weights),
            self.config.ppo,
            max_episode_steps=self.config.max_episode_steps,
            window=self.config.window,
            seed=self.seed,
            stage="first",
        )

    def _round(self, plan: Round, start: Snapshots) -> Learning:
        extension = self._extension(self.rounds)
        assert extension is not None
        views = self.networked.networks.views(start.parameters)
        for name in ("actor.weight", "actor.bias"):
            if name in views:
                views[name].mul_(extension.softness)
        budget = None if plan.budgets is None else HardBudget(plan.budget_objective, plan.budgets)
        return Learning(
            self.networked,
            start,
            extension.aim(plan),
            extension.learning(self.config.round_ppo),
            max_episode_steps=self.config.max_episode_steps,
            window=self.config.window,
            seed=self.seed,
            stage=f"round {self.rounds}",
            budget=budget,
        )

    # ------------------------------------------------------------------------------------------- survival

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, facts) of the whole search."""
        tensors, facts = self.learning.state()
        for name, archive in (("archive", self.archive), ("candidates", self.candidates)):
            tensors |= archive_tensors(name, archive)
        return tensors, {
            "learning": facts,
            "ledger": self.ledger.to_json(),
            "rounds": self.rounds,
            "planned": self.planned,
            "plan": None if self.plan is None else self.plan.to_json(),
            "tried": sorted([*key, count] for key, count in self.tried.items()),
            "gained": self.gained.tolist(),
            "lessons": self.lessons,
        }

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.ledger = replace(self.ledger, **facts["ledger"])
        self.rounds, self.planned = facts["rounds"], facts["planned"]
        self.tried = Counter({tuple(key): int(count) for *key, count in facts["tried"]})
        self.gained = np.array(facts["gained"])
        self.lessons = [
            Lesson(tuple(start), climb, moved) for start, climb, moved in facts.get("lessons", [])
        ]
        self.archive = archive_from("archive", tensors, self.archive)
        self.candidates = archive_from("candidates", tensors, self.candidates)
        if facts["plan"] is not None:
            self.plan = Round.from_json(facts["plan"])
            blank = first_policies(self.networked, len(self.plan.starts), self.seed)
            self.learning = self._round(self.plan, blank)
        self.learning.load(tensors, facts["learning"])
