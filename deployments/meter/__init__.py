"""What each flow run costs, and the size that would have done: measured, priced, told to Prefect.

On Fargate `__main__` is what the work pool runs, around what the worker would (`process`); on a
developer's machine it runs a module, as cProfile does (`here`). No flow has a line about it.
"""
