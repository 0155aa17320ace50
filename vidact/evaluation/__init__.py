"""How good predictions are: accuracy of labels, detection of segments, scores of single frames."""
