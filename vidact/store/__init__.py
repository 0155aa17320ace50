"""What stands on disk: schemas, parts, run folders and path lists."""
