"""Networks that find when actions happen in a sequence of features, one a file, and what their candidates become."""
