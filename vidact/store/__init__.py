"""What stands on disk: run folders, features, and the lists and annotations of users and data sets."""
