"""The release path: a push to the source repository becomes the image that the next run uses.

Covered: a git repository in the place of CodeCommit's, or of the provider's behind a connection,
with GetBranch, GetCommit and an event for each reference that is pushed; CodePipeline's executions
in SUPERSEDED mode, with the actions CodeCommit, CodeStarSourceConnection and CodeBuild, their
artifacts in S3, GetPipelineExecution, ListPipelineExecutions, GetPipelineState,
ListActionExecutions and the events of pipelines, stages and actions; CodeBuild's builds, which run
the commands of the buildspec with the service role's credentials, with phases, time limit,
StopBuild, log and events; ECR's tags with their immutability, its digests, its scan of what is
pushed. Each call is made, and judged, with the rights of the role that makes it on AWS.

Not covered: the build's own image and machine (a build is processes of this machine, with the AWS
CLI of `make .venv/awscli` and the container engine found, and sees its files); the architecture (an
image for ARM64 is built for whatever this machine is); where layers come from and go to
(`--cache-from` and `--cache-to` are dropped, and the engine keeps its own); batch builds, reports,
build artifacts, caches, secondary sources, variables from SSM and Secrets Manager (an error says
so), the queue before a build; other actions than those three, approvals, retries, rollbacks, stage
conditions, triggers with filters, variables, StopPipelineExecution, transitions that are disabled,
and what becomes of an execution when its pipeline changes; KMS; who may push to the repository (who
can write its folder); lifecycle rules of images; what a scan really finds (what a test says, by
default nothing); enhanced scanning. CodeCommit's permissions without an API, and UseConnection, are
judged where CodePipeline would use them. A pipeline that EventBridge starts says that its trigger
was StartPipelineExecution, by the rule's role.

Reads from the bottom up: `stages`, `scan` and `arguments` decide; `source`, `images`, `docker` and
`builds` (of `build` and `log`) are one service each; `pipelines` (of `executions`) goes from one to
the next; `path` puts all of it in moto's place.
"""
