"""Files that ship with vidact: bundled weights and label lists."""
