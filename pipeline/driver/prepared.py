"""A configuration that can be run: what `prepare` found, small enough to travel, and read without PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from asvp.compute import Backend
from asvp.compute.jobs import Choice, EncoderSpec
from asvp.compute.probe import Probe
from asvp.config import Config, EncoderConfig
from asvp.data import Dataset
from asvp.driver.modes import ModePlan
from asvp.features.cache import Cache, content_key
from asvp.progress import Reporter


@dataclass(frozen=True)
class Prepared:
    """A configuration held against its data, its encoder and its strategies.

    Attributes
    ----------
    config : Config
    dataset : Dataset
    mode : ModePlan
    selection, cold_start : Choice
    cache : Cache or None
    fingerprint : str or None
        Of the pre-trained encoder, where the encoder is resolved; None: it is found when it is asked for.
    device : str or None
        What the workers compute on, "cpu" or "cuda", where the encoder is resolved; None: as this process would.
    """

    config: Config
    dataset: Dataset
    mode: ModePlan
    selection: Choice
    cold_start: Choice
    cache: Cache | None
    fingerprint: str | None = None
    device: str | None = None

    @property
    def encoder(self) -> EncoderSpec:
        """What workers load."""
        return EncoderSpec(self.config.encoder, self.dataset.kind)

    @property
    def probe(self) -> Probe:
        """Work like that of this run, to try workers on."""
        return Probe(self.encoder, self.dataset.pool, self.config.training, len(self.dataset.classes))

    @property
    def looks_at_features(self) -> bool:
        """Whether rows are chosen, or refreshes decided, by looking at features."""
        asked = self.selection.inputs or self.cold_start.inputs or self.mode.policy.needs
        return bool(asked) or self.mode.scoring == "head"

    def plan(self, number: int) -> Choice:
        """What chooses the rows of a round."""
        return self.selection if number else self.cold_start

    def resolved(self, encoder: EncoderConfig, device: str | None) -> Prepared:
        """The same with what the encoder became where its configuration says `auto`, on a kind of device."""
        if (encoder, device) == (self.config.encoder, self.device):
            return self
        config = self.config.model_copy(update={"encoder": encoder})
        return replace(self, config=config, device=device, fingerprint=None)

    def resolved_by(self, backend: Backend, machine: Mapping[str, Any]) -> Prepared:
        """The same as it is for those who do its work, on what they call their machine."""
        return self.resolved(backend.resolve(), "cuda" if machine.get("gpus") else "cpu")

    def with_devices(self, devices: int | Literal["auto"]) -> Prepared:
        """The same with so many workers that train a model together."""
        training = self.config.training.model_copy(update={"devices": devices})
        return replace(self, config=self.config.model_copy(update={"training": training}))

    def with_seed(self, seed: int) -> Prepared:
        """The same with another seed."""
        return replace(self, config=self.config.model_copy(update={"seed": seed}))

    def fingerprinted(self) -> Prepared:
        """The same with the encoder's fingerprint, so that no other process has to read the encoder's files."""
        return replace(self, fingerprint=self.encoder_fingerprint)

    @property
    def trusted(self) -> tuple[str, ...]:
        """The checkpoint, if code that comes with it is run."""
        encoder = self.config.encoder
        return (encoder.model,) if encoder.trust_remote_code and self.dataset.kind != "features" else ()

    @cached_property
    def encoder_fingerprint(self) -> str:
        """Of the pre-trained encoder, and of all else by which last bits of its features differ.

        The encoder must be resolved.
        """
        if self.fingerprint is not None:
            return self.fingerprint
        if self.dataset.kind == "features":
            return "none"
        # PyTorch comes with it.
        from asvp.models.encoder import BATCHES, encoder_spec_fingerprint
        from asvp.models.failures import find_device

        encoder, device = self.config.encoder, self.device or find_device(None).type
        return content_key(encoder_spec_fingerprint(encoder, self.dataset.kind), BATCHES, encoder.batch_size, device)


def tell_of_code(models: Iterable[str], say: Callable[[str], None]) -> None:
    """Say, a line each, of which checkpoints the own code is run."""
    for model in models:
        say(f"Warning: {code_is_run(model)}")


def code_is_run(model: str) -> str:
    """What is to be known of a checkpoint whose code is trusted."""
    return f"Python code that comes with the checkpoint {model} is run: encoder.trust_remote_code is true"


def tell_of_data(prepared: Prepared, reporter: Reporter) -> None:
    """Say, a line each, what was left out of the data or looks unintended; `asvp check` looks at the rows too."""
    for note in prepared.dataset.notes:
        reporter.say(f"Warning: {note}")
