"""A local Fargate: RunTask and services' desired counts run containers on this machine.

Covered: RunTask, StopTask, DescribeTasks and ListTasks as ECS answers them, with overrides of the
command, the environment, CPU, memory and roles; a network interface for each task, with an IPv4
address that no other has (of this machine's loopback network); the life of a task (PROVISIONING …
STOPPED) with its state changes on EventBridge; the image pulled by digest or tag from the local
registry, after the execution role's rights to it have been used; secrets from SSM with the
execution role; the task role's credentials on a credentials endpoint; task metadata v4 with limits,
pull times and use of CPU and memory; CPU and memory limits; read-only root file systems and empty
volumes with the owner and mode that Fargate gives them; SIGTERM, then SIGKILL after stopTimeout;
logs to CloudWatch; interruptions of Spot; lack of capacity; services with their deployments, at the
limits of minimumHealthyPercent and maximumPercent, and with pauses after failures to start.

Not covered: the architecture (a task of ARM64 runs as whatever this machine is); the network beyond
that address (tasks share this machine's; security groups and subnets are looked up and open
nothing); tasks of several containers (refused); health checks; sizes of the ephemeral disk; the
time that Fargate takes to find a machine and to pull an image; credentials that end before the task
does; secrets of Secrets Manager; a strategy's bases and weights (its first provider has all tasks);
RunTask's clientToken, pages of ListTasks, tags that are propagated or asked for by a task's ARN;
stopped tasks are never forgotten (ECS: after an hour); reasons are never cut short; ECS Exec;
circuit breakers, load balancers and events of services; platform versions. Of a command that does
not exist the first process says so (exit code 1 or 127), not ECS, where the engine starts one of
its own (initProcessEnabled).

Reads from the bottom up: `request` and `services` decide and touch nothing; `task` is what is
known of one task; `containers` and `processes` run one; `life` takes one from its request to its
end; `api` puts all of it in moto's place.
"""

from infra.local.fargate.fargate import Fargate, local_fargate

__all__ = ["Fargate", "local_fargate"]
