"""When to refresh: fine-tune the encoder on the labels bought so far and make all features anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from asvp.config import RefreshConfig
from asvp.config.thresholds import LOGME_FALL, LOGME_PED_GAP, READING_NOISE
from asvp.errors import ConfigError


class Reading(NamedTuple):
    """The indicators of an earlier round.

    Attributes
    ----------
    labelled : int
        Labels bought by then.
    logme, logme_ped : float or None
        In nats a row; None where a policy did not need it.
    feature_version : int
        Version the reading was taken on, so the one before the refresh in a round that refreshed.
    """

    labelled: int
    logme: float | None
    logme_ped: float | None
    feature_version: int


class Attempt(NamedTuple):
    """A refresh of an earlier round.

    Attributes
    ----------
    round : int
    labelled : int
        Labels bought by then.
    kept : bool
        False: its features did not help, and were put aside.
    """

    round: int
    labelled: int
    kept: bool


@dataclass(frozen=True)
class Observation:
    """What a policy may look at: nothing else enters a decision, so a resumed run decides as the first one did.

    Attributes
    ----------
    round : int
        Number of this round, from 0.
    labelled : int
        Labels bought so far, this round's included.
    refreshes : int
        Refreshes kept so far, which is also the number of the current feature version.
    rounds_since_refresh : int
        Rounds that bought labels since the last refresh, this one included; since the start if there was none. A
        refresh that was put aside counts.
    logme, logme_ped : float or None
        This round's indicators on the current features and all labelled rows, in nats a row; None if not computed.
    history : tuple of Reading
        Earlier rounds' readings, oldest first.
    attempts : tuple of Attempt
        Earlier refreshes, kept and put aside, oldest first.
    left : int or None
        Labels that the budget has still to buy; None: not known.
    """

    round: int
    labelled: int
    refreshes: int
    rounds_since_refresh: int
    logme: float | None
    logme_ped: float | None
    history: tuple[Reading, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    left: int | None = None

    def on_this_version(self) -> list[Reading]:
        """Readings taken on the current features, this round's last."""
        now = Reading(self.labelled, self.logme, self.logme_ped, self.refreshes)
        earlier = (Reading(*entry) for entry in self.history)
        return [reading for reading in earlier if reading.feature_version == self.refreshes] + [now]


@dataclass(frozen=True)
class Decision:
    """Whether to refresh, and a sentence that says why."""

    refresh: bool
    reason: str


class RefreshPolicy(Protocol):
    """Decides once a round, when its labels are bought; a pure function of the observation."""

    @property
    def needs(self) -> frozenset[str]:
        """Indicators to compute every round: a subset of {"logme", "logme_ped"}."""
        ...

    def decide(self, observation: Observation) -> Decision:
        """Say whether to refresh before the next rows are chosen."""
        ...


@dataclass(frozen=True)
class Never:
    """Keep the pre-trained encoder's features (mode svp)."""

    needs: frozenset[str] = frozenset()

    def decide(self, observation: Observation) -> Decision:
        """Always no."""
        return Decision(False, "the policy is never to refresh")


@dataclass(frozen=True)
class EveryRounds:
    """Refresh when so many rounds have bought labels since the last refresh; 1 refreshes in every round."""

    rounds: int
    needs: frozenset[str] = frozenset()

    def decide(self, observation: Observation) -> Decision:
        """Compare rounds since the last refresh with the interval."""
        passed = observation.rounds_since_refresh
        return Decision(passed >= self.rounds, f"{passed} of {self.rounds} rounds have passed since the last refresh")


@dataclass(frozen=True)
class AtLabels:
    """Refresh in the rounds that end with exactly one of these label counts."""

    counts: tuple[int, ...]
    needs: frozenset[str] = frozenset()

    def decide(self, observation: Observation) -> Decision:
        """Look for this round's labels among the counts."""
        wanted = ", ".join(map(str, self.counts))
        return Decision(
            observation.labelled in self.counts, f"{observation.labelled} labels; refreshes are at {wanted}"
        )


@dataclass(frozen=True)
class LogmeFall:
    """Refresh when LogME has fallen: the features cannot tell the newly bought rows apart.

    This round's LogME is compared with the highest one measured earlier on the same features, so a level, which
    differs between data sets, never enters; nor does a single low reading, since a later one must fall from a higher.
    """

    threshold: float
    needs: frozenset[str] = frozenset({"logme"})

    def decide(self, observation: Observation) -> Decision:
        """Compare this round's LogME with the best one on these features."""
        values = [reading.logme for reading in observation.on_this_version() if reading.logme is not None]
        if observation.logme is None or len(values) < 2:
            return Decision(False, "LogME has no earlier reading on these features to fall from")
        fall = max(values[:-1]) - values[-1]
        return Decision(
            fall >= self.threshold, f"LogME has fallen by {fall:.3f} from its best (threshold {self.threshold:.3f})"
        )


@dataclass(frozen=True)
class LogmePedGap:
    """Refresh when fine-tuning has much to offer: LogME-PED minus LogME, both of the labelled rows, is large.

    The gap is compared with a fixed threshold. One reading alone suffices only if it clears the threshold by
    `READING_NOISE`, more than it moves by chance; otherwise two readings in a row, on the same features, must reach it.
    """

    threshold: float
    needs: frozenset[str] = frozenset({"logme", "logme_ped"})

    def decide(self, observation: Observation) -> Decision:
        """Compare the gaps of this and the previous round with the threshold."""
        gaps = [
            reading.logme_ped - reading.logme
            for reading in observation.on_this_version()
            if reading.logme is not None and reading.logme_ped is not None
        ]
        if observation.logme is None or observation.logme_ped is None:
            return Decision(False, "LogME-PED was not measured this round")
        now = f"the gap LogME-PED - LogME is {gaps[-1]:.3f} (threshold {self.threshold:.3f})"
        if gaps[-1] < self.threshold:
            return Decision(False, now)
        if gaps[-1] >= self.threshold + READING_NOISE:
            return Decision(True, f"{now}, clear of chance")
        if len(gaps) > 1 and gaps[-2] >= self.threshold:
            return Decision(True, f"{now}, as in the round before")
        return Decision(False, f"{now}, which one reading does not settle")


@dataclass(frozen=True)
class Limited:
    """Another policy, kept from refreshing too early, too often or too late; refreshes put aside count."""

    policy: RefreshPolicy
    min_labels: int = 0
    max_refreshes: int | None = None
    min_growth: float = 1.0
    min_left: float = 0.0

    @property
    def needs(self) -> frozenset[str]:
        """What the other policy needs."""
        return self.policy.needs

    def decide(self, observation: Observation) -> Decision:
        """Ask the other policy unless a limit forbids a refresh."""
        if observation.labelled == 0:
            return Decision(False, "nothing is labelled yet")
        if observation.labelled < self.min_labels:
            return Decision(False, f"{observation.labelled} labels are fewer than refresh.min_labels {self.min_labels}")
        if self.max_refreshes is not None and len(observation.attempts) >= self.max_refreshes:
            return Decision(False, f"all {self.max_refreshes} refreshes of refresh.max_refreshes are made")
        if observation.attempts and observation.labelled < self.min_growth * observation.attempts[-1].labelled:
            last = observation.attempts[-1].labelled
            return Decision(
                False,
                f"{observation.labelled} labels are not yet {self.min_growth:g} times the {last} of the last refresh "
                "(refresh.min_growth)",
            )
        if observation.left is not None and observation.left < self.min_left * observation.labelled:
            return Decision(
                False,
                f"the {observation.left} labels left to buy are fewer than {self.min_left:g} times the "
                f"{observation.labelled} bought (refresh.min_left)",
            )
        return self.policy.decide(observation)


def make_policy(config: RefreshConfig) -> RefreshPolicy:
    """Build the policy that a configuration names, with its limits around it.

    Raises
    ------
    ConfigError
        If an option that the policy needs is missing (a checked configuration has them all).
    """
    policy = _trigger(config)
    if config.policy in ("logme", "logme_ped"):
        return Limited(policy, config.min_labels, config.max_refreshes, config.min_growth, config.min_left)
    # Who names rounds or counts has decided how often.
    return Limited(policy, config.min_labels, config.max_refreshes)


def _trigger(config: RefreshConfig) -> RefreshPolicy:
    """The policy without its limits."""
    match config.policy:
        case "never":
            return Never()
        case "every" if config.every is not None:
            return EveryRounds(config.every)
        case "at" if config.at:
            return AtLabels(tuple(config.at))
        case "logme":
            return LogmeFall(LOGME_FALL if config.threshold is None else config.threshold)
        case "logme_ped":
            return LogmePedGap(LOGME_PED_GAP if config.threshold is None else config.threshold)
    raise ConfigError(
        "is not complete or not known",
        key="refresh.policy",
        value=config.policy,
        mend="never | every (with refresh.every) | at (with refresh.at) | logme | logme_ped",
    )
