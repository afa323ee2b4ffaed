"""The bill report: where an account's money goes. `python -m flows.cost_report --help` explains
the command line.
"""
