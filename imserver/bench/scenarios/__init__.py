"""The scenarios: what each does to a server is a module, what there is is `table.SCENARIOS`."""
