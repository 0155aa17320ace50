"""Training: recognisers on labelled videos, localizers on features and annotations."""
