"""One door a stage, the same name as in dvc.yaml; __main__ is the command line."""
