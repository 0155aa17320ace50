"""From a path to frames with times: finding, indexing, sampling and decoding videos."""
