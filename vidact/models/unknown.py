"""Errors for names that mean no weights: what the name is instead, what it might have meant, what to run."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from vidact.errors import ModelError
from vidact.models import zoo
from vidact.models.networks import NETWORKS
from vidact.models.zoo import localizers

NAMED = 5
"""Sets of weights named at most, where a name may mean many."""


def unknown(name: str) -> ModelError:
    """The error for a name that is no recogniser's."""
    if localizers.resolve(name):
        return ModelError(f"{name} is a localizer, not a recogniser", hint=f"vidact localize --model {name} PATH")
    if localizers.means(name):
        return unknown_localizer(name)
    sets = [known for known, entry in zoo.ENTRIES.items() if entry.spec.architecture == name]
    if sets:
        return ModelError(
            f"{name} has no bundled weights", hint=f"name a set: {', '.join(sets)}; or give --checkpoint FILE"
        )
    if name in NETWORKS:
        return ModelError(f"{name} has no published weights", hint="give --checkpoint FILE")
    return _no_model(name, [*zoo.ENTRIES, *localizers.ENTRIES], "vidact models list")


def unknown_localizer(name: str, checkpoint: str | None = None) -> ModelError:
    """The error for a name that is no localizer's, or that of an architecture whose weights differ in their use."""
    if localizers.means(name):
        sets = [known for known, spec in localizers.SPECS.items() if spec.architecture == name]
        given = "" if checkpoint else " (with --checkpoint FILE)"
        trained = f"none is published; `vidact train localizer --model {name}` makes one"
        return ModelError(
            f"{name} alone does not say how its weights are used",
            hint=f"name the set: {', '.join(sets)}{given}" if sets else trained,
        )
    recognisers = [known for known in zoo.ENTRIES if known.startswith(name)]
    if recognisers or name in NETWORKS:
        label = f"--model {name} --checkpoint FILE" if checkpoint or not recognisers else f"--model {recognisers[0]}"
        return ModelError(
            f"{name} is a recogniser, not a localizer",
            hint=f"`vidact classify {label} PATH` labels clips with it. To find when: "
            f"`vidact localize --model {localizers.DEFAULT} PATH` (camera moves and cuts), another that `vidact models "
            "list --task localization` names, or one that `vidact train localizer` makes of this network's features",
        )
    return _no_model(name, localizers.ENTRIES, "vidact models list --task localization")


def closest(name: str, sets: Iterable[str]) -> tuple[str, list[str]]:
    """The sets of weights that begin like ``name``, else those whose name or whose beginning (architecture, family) is
    nearest to it; and what they begin with, empty where that is nothing."""
    wanted, sets = name.lower(), list(sets)
    begun = [known for known in sets if wanted and known.startswith(wanted)]
    if begun:
        return wanted, begun
    beginnings = {known: (known.partition(".")[0], known.partition(".")[0].partition("-")[0]) for known in sets}
    choices = dict.fromkeys(text for known in sets for text in (*beginnings[known], known))
    near = difflib.get_close_matches(wanted, choices, n=NAMED)
    if near and near[0] not in beginnings:
        return near[0], [known for known in sets if near[0] in beginnings[known]]
    return "", [text for text in near if text in beginnings]


def _no_model(name: str, sets: Iterable[str], command: str) -> ModelError:
    word, close = closest(name, sets)
    if not close:
        hint = f"`{command}` shows every name"
    elif len(close) > NAMED:
        hint = f"did you mean {', '.join(close[:NAMED])}, …? `vidact models list {word}` shows all {len(close)}"
    else:
        hint = f"did you mean {', '.join(close)}? `{command}` shows every name"
    return ModelError(f"there is no model {name!r}", hint=hint)
