"""Processing logic as Prefect flows: the developers' realm. One module or package is one flow."""
