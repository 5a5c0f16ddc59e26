"""`asvp spaces`: what can be swept."""

from __future__ import annotations

import click

from asvp.cli.options import OUT, config_options, json_option
from asvp.cli.planned import aligned
from asvp.config import load_config


@click.command()
@click.argument("space", required=False)
@click.argument("config", required=False)
@config_options
@json_option
def spaces(space: str | None, config: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """List the search spaces: what question each answers. With SPACE and CONFIG, show its arms; nothing is run."""
    from asvp.tune_spaces.catalogue import spaces as known

    if space is not None:
        _show(space, config, overrides, as_json)
    elif as_json:
        OUT.print_values(known())
    else:
        OUT.print(aligned(known().items()))


def _show(name: str, config: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    from asvp.tune_spaces.catalogue import load_space, question
    from asvp.tune_spaces.naming import settings_line
    from asvp.tune_spaces.space import chosen_arms, told_same

    base = load_config(config, overrides)
    space = load_space(name, base)
    arms = chosen_arms(space, base.model_dump())
    if as_json:
        told = {arm: {"changes": one.changes, "same": one.same} for arm, one in arms.items()}
        OUT.print_values({"space": name, "question": question(name), "seeds": list(space.seeds), "arms": told})
        return
    OUT.print(question(name) or name)
    OUT.print(aligned((arm, settings_line(one.changes) or "changes nothing") for arm, one in arms.items()))
    for line in told_same(arms):
        OUT.print(line)
    seeds = ", ".join(map(str, space.seeds))
    OUT.print(f"{len(arms)} arms x {len(space.seeds)} seeds ({seeds}): {len(arms) * len(space.seeds)} trials")
