"""Recognition networks, one a file, each with the key maps of the formats it is published in."""
