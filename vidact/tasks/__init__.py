"""What to do with one video; knows nothing of where and when it runs."""
