"""Whatever has a gradient, and what measures it: training table -> runs, predictions, metrics."""
