"""The zoo: every published set of weights vidact knows, as plain data, one file a family.

A name is ``architecture.weights``. How to feed a network belongs to its weights, so the spec stands beside the file it
describes. Bundled weights end in a version number; a new version is a new entry.
"""

from vidact.models.zoo.entry import Entry, LocalizerEntry, Weights
from vidact.models.zoo.lookup import DEFAULT, ENTRIES, resolve, spec_of
from vidact.models.zoo.protocols import told
from vidact.models.zoo.two_stream import joined

__all__ = ["DEFAULT", "ENTRIES", "Entry", "LocalizerEntry", "Weights", "joined", "resolve", "spec_of", "told"]
