"""Table 1 → modules; the dense form; weights in and out. Owns torch's layers; knows no dataset."""
