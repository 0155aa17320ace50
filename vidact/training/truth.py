"""Which annotated videos are trained on and which are held out, matched with the features there are of them.

Subsets are called what data sets call them. Errors here come before torch is imported.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from vidact.errors import UsageError
from vidact.store.annotations import AnnotatedVideo, Annotations
from vidact.store.feature_files import FeatureFolder

TRAIN = ("train", "training")
VALIDATION = ("validation", "val", "valid")
TEST = ("test", "testing")
AMBIGUOUS = "Ambiguous"
"""What THUMOS-14 calls a stretch that is neither action nor background: nothing to learn, unless it is asked for."""


@dataclass(frozen=True, slots=True)
class Example:
    """An annotated video and the name its features go by."""

    video: AnnotatedVideo
    features: str


@dataclass(frozen=True, slots=True)
class Truth:
    """What is trained on, what is held out, the labels in the order of the outputs, and lines for the user."""

    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...]

    def digest(self) -> str:
        """The same for the same videos, split, segments and labels."""
        facts = [
            [(one.video.video, one.video.start.tolist(), one.video.end.tolist(), one.video.labels) for one in part]
            for part in (self.train, self.held_out)
        ]
        return hashlib.sha256(repr((facts, self.labels)).encode()).hexdigest()[:16]

    def counts(self) -> list[int]:
        """Segments to train on of every label."""
        found = Counter(label for example in self.train for label in example.video.labels)
        return [found[label] for label in self.labels]


def choose(
    annotations: Annotations,
    folder: FeatureFolder,
    *,
    train: Collection[str] = (),
    held_out: Collection[str] = (),
    share: float = 0.2,
    seed: int = 0,
    listed: bool = False,
) -> Truth:
    """Split the annotations and find each video's features.

    ``train`` and ``held_out`` name subsets; without them those called train and validation, or, where there is no
    train, validation and test as in THUMOS-14; without subsets ``share`` of the videos, drawn by ``seed``, is held out.
    Videos without features are left out and counted. ``listed``: the labels were listed on purpose, so that some may
    have no example. Raises UsageError when nothing is left, or a label has nothing to train on.
    """
    notes = list(annotations.notes)
    parts = _parts(annotations, train, held_out, notes)
    examples, missing = [], []
    for part in parts:
        names = [(video, folder.find(video.video, file=False)) for video in part]
        missing += [video.video for video, name in names if name is None]
        examples.append([Example(video, name) for video, name in names if name is not None])
    if missing:
        these = f"{len(missing)} annotated videos have no features and are"
        if len(missing) == 1:
            these = "1 annotated video has no features and is"
        notes.append(f"{these} left out (first: {missing[0]!r})")
    _refuse_shared([*examples[0], *examples[1]])
    learnt, held = examples
    if not learnt:
        _nothing(annotations, folder, missing)
    drawn = not held
    if drawn:
        learnt, held = _hold_out(learnt, share, seed)
    found = Truth(tuple(learnt), tuple(held), annotations.labels, tuple(notes))
    return _checked(found, listed, _to_validate(annotations.subsets, drawn))


def _refuse_shared(examples: Sequence[Example]) -> None:
    """UsageError where two annotated videos go by the same features: one of them would be learnt wrongly."""
    owners: dict[str, str] = {}
    for example in examples:
        video = example.video.video
        if (other := owners.setdefault(example.features, video)) != video:
            raise UsageError(
                f"the features {example.features!r} are meant by two annotated videos, {other!r} and {video!r}",
                hint="name features by the whole name of their video, or leave one of the two out",
            )


def _parts(
    annotations: Annotations, train: Collection[str], held_out: Collection[str], notes: list[str]
) -> tuple[Sequence[AnnotatedVideo], Sequence[AnnotatedVideo]]:
    if held_out and not train:
        train = [name for name in annotations.subsets if name.lower() not in {one.lower() for one in held_out}]
    if train:
        rest = annotations.of(held_out).videos if held_out else ()
        return annotations.of(train).videos, rest
    known = {name.lower(): name for name in annotations.subsets}
    named = [[known[name] for name in group if name in known] for group in (TRAIN, VALIDATION, TEST)]
    if named[0]:
        first, second = named[0], named[1] or named[2]
    elif named[1] and named[2]:
        first, second = named[1], named[2]
        notes.append(f"There is no subset to train on: training on {first[0]!r}, validating on {second[0]!r}.")
    else:
        return annotations.videos, ()
    return annotations.of(first).videos, annotations.of(second).videos if second else ()


def _nothing(annotations: Annotations, folder: FeatureFolder, missing: Sequence[str]) -> None:
    names = folder.names()
    if not missing:
        raise UsageError(
            "no annotated video is to be trained on",
            hint=f"name a subset with --train-subset; there are {', '.join(annotations.subsets) or 'none'}",
        )
    raise UsageError(
        f"none of {len(missing)} annotated videos has features in {folder.folder!r}: the annotations name "
        f"{missing[0]!r}, the features {names[0]!r}",
        hint="name both alike: the same path, with or without a suffix, or the file name without folders",
    )


def _hold_out(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """A random part of the videos, the same for the same seed, but never the last one with a label."""
    order = sorted(examples, key=lambda example: example.video.video)
    random.Random(seed).shuffle(order)
    left = Counter(label for example in order for label in set(example.video.labels))
    wanted = max(1, round(share * len(order)))
    held: list[Example] = []
    learnt: list[Example] = []
    for example in order:
        own = set(example.video.labels)
        if len(held) < wanted and own and all(left[label] > 1 for label in own):
            held.append(example)
            left.subtract(own)
        else:
            learnt.append(example)
    return learnt, held


def _to_validate(subsets: Sequence[str], drawn: bool) -> str:
    """What to do when there is nothing to validate on; ``drawn``: no subset was named for it or known by its name."""
    name = f"name another subset with --val-subset; there are {', '.join(subsets)}"
    if not drawn:
        return name
    more = "a label's only video is never held out: annotate two videos or more of every label"
    return f"{more}, or {name}" if len(subsets) > 1 else more


def _checked(found: Truth, listed: bool, hint: str) -> Truth:
    if not any(example.video.labels for example in found.train):
        why = f" ({'; '.join(found.notes)})" if found.notes else ""
        raise UsageError(
            f"the videos to train on hold no segment{why}", hint="check the annotations and --train-subset"
        )
    if not any(example.video.labels for example in found.held_out):
        raise UsageError("no video with a segment is left to validate on", hint=hint)
    empty = [label for label, count in zip(found.labels, found.counts(), strict=True) if not count]
    lacking = f"{len(empty)} labels have" if len(empty) > 1 else "1 label has"
    if empty and not listed:
        raise UsageError(
            f"{lacking} no segment to train on, such as {empty[0]!r}",
            hint="give --labels FILE: without them to leave their segments out, or with them to keep their places",
        )
    if empty:
        note = f"{lacking} no segment to train on and will never be found, such as {empty[0]!r}"
        return replace(found, notes=(*found.notes, note))
    return found
