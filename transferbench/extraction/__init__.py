"""Images × scales → descriptors. Knows batches and devices; knows no dataset and no file."""
