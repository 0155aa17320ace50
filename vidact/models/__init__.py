"""Networks and the weights they are published with: what turns pixels into scores."""
