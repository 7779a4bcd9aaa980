"""The field's own file: MMSA's .pkl of features and labels, read without trusting it and written as the peers read it."""
