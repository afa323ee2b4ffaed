"""How flows become deployments on Fargate: where developers and cloud engineers meet."""
