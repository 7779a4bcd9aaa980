"""Raw clip -> training table: files in, Parquet out, NumPy inside, nothing with a gradient."""
