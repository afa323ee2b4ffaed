"""The orchestrator: Prefect's server, its ECS worker and Litestream in one ECS task, awake only
around the runs that it starts.

Reads from the inside out: `life` decides what is next from what is seen, and touches nothing;
`executor` looks and carries it out; `journal`, `history`, `wake_up` and `requests` are each about
one thing that is kept in AWS; `look`, `catch_up` and `again` about what Prefect has; `programs`,
`environments` and `surroundings` about the ECS task that it runs in.
"""
