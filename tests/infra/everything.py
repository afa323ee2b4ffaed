"""A template with one of each type, wired as a CDK stack wires them."""

from __future__ import annotations

from typing import Any

from tests.infra.cloud import Template, allow, get, ref, resource, role


def everything(**setting: Any) -> Template:
    """One of each type, wired as a CDK stack wires them; what an update may change is a setting."""
    s: dict[str, Any] = {
        "days": 7,
        "rate": "rate(1 day)",
        "threshold": 1,
        "image": "img:1",
        "compute": "BUILD_GENERAL1_SMALL",
        "branch": "main",
        "amount": 10,
        "action": "s3:GetObject",
        "port": 443,
    } | setting
    zone = {"Fn::Select": [0, {"Fn::GetAZs": ""}]}
    partition = ref("AWS::Partition")
    source = {
        "Name": "Source",
        "ActionTypeId": {
            "Category": "Source",
            "Owner": "AWS",
            "Provider": "CodeCommit",
            "Version": "1",
        },
        "Configuration": {"RepositoryName": get("Source", "Name"), "BranchName": s["branch"]},
        "OutputArtifacts": [{"Name": "source"}],
    }
    build = {
        "Name": "Build",
        "ActionTypeId": {
            "Category": "Build",
            "Owner": "AWS",
            "Provider": "CodeBuild",
            "Version": "1",
        },
        "Configuration": {"ProjectName": ref("Build")},
        "InputArtifacts": [{"Name": "source"}],
    }
    container = {
        "Name": "main",
        "Image": s["image"],
        "ReadonlyRootFilesystem": True,
        "Memory": 512,  # moto cannot run it without
        "StopTimeout": 120,
        "Secrets": [{"Name": "KEY", "ValueFrom": "arn:aws:ssm:us-east-1:1:parameter/key"}],
        "LogConfiguration": {"LogDriver": "awslogs", "Options": {"awslogs-group": ref("Log")}},
        "MountPoints": [{"SourceVolume": "tmp", "ContainerPath": "/tmp"}],
    }
    return {
        "Vpc": resource("EC2::VPC", CidrBlock="10.0.0.0/16", EnableDnsHostnames=True),
        "Gateway": resource("EC2::InternetGateway"),
        "Attached": resource(
            "EC2::VPCGatewayAttachment", VpcId=ref("Vpc"), InternetGatewayId=ref("Gateway")
        ),
        "Subnet": resource(
            "EC2::Subnet", VpcId=ref("Vpc"), CidrBlock="10.0.0.0/24", AvailabilityZone=zone
        ),
        "Routes": resource("EC2::RouteTable", VpcId=ref("Vpc")),
        "Route": resource(
            "EC2::Route",
            {"DependsOn": "Attached"},
            RouteTableId=ref("Routes"),
            DestinationCidrBlock="0.0.0.0/0",
            GatewayId=ref("Gateway"),
        ),
        "Association": resource(
            "EC2::SubnetRouteTableAssociation", SubnetId=ref("Subnet"), RouteTableId=ref("Routes")
        ),
        "Endpoint": resource(
            "EC2::VPCEndpoint",
            VpcId=ref("Vpc"),
            ServiceName={"Fn::Sub": "com.amazonaws.${AWS::Region}.s3"},
            RouteTableIds=[ref("Routes")],
            VpcEndpointType="Gateway",
        ),
        "Address": resource("EC2::EIP", Domain="vpc"),
        "Nat": resource(
            "EC2::NatGateway",
            SubnetId=ref("Subnet"),
            AllocationId=get("Address", "AllocationId"),
        ),
        "Group": resource(
            "EC2::SecurityGroup",
            GroupDescription="jobs",
            VpcId=ref("Vpc"),
            SecurityGroupEgress=[
                {"CidrIp": "0.0.0.0/0", "IpProtocol": "tcp", "FromPort": 80, "ToPort": 80}
            ],
        ),
        "In": resource(
            "EC2::SecurityGroupIngress",
            GroupId=get("Group", "GroupId"),
            SourceSecurityGroupId=get("Group", "GroupId"),
            IpProtocol="tcp",
            FromPort=4200,
            ToPort=4200,
        ),
        "Out": resource(
            "EC2::SecurityGroupEgress",
            GroupId=get("Group", "GroupId"),
            CidrIp="0.0.0.0/0",
            IpProtocol="tcp",
            FromPort=s["port"],
            ToPort=s["port"],
        ),
        "Images": resource(
            "ECR::Repository",
            RepositoryName="images",
            EmptyOnDelete=True,
            ImageTagMutability="IMMUTABLE_WITH_EXCLUSION",
            ImageTagMutabilityExclusionFilters=[
                {
                    "ImageTagMutabilityExclusionFilterType": "WILDCARD",
                    "ImageTagMutabilityExclusionFilterValue": "live",
                }
            ],
            ImageScanningConfiguration={"ScanOnPush": True},
        ),
        "Bucket": resource("S3::Bucket", BucketName="bucket"),
        "BucketPolicy": resource(
            "S3::BucketPolicy",
            Bucket=ref("Bucket"),
            PolicyDocument=allow("s3:*", get("Bucket"), Principal="*"),
        ),
        "Role": role(
            RoleName="role",
            Policies=[
                {
                    "PolicyName": "data",
                    "PolicyDocument": allow(
                        s["action"],
                        {"Fn::Join": ["", ["arn:", partition, ":s3:::", ref("Bucket"), "/*"]]},
                    ),
                }
            ],
        ),
        "Inline": resource(
            "IAM::Policy",
            PolicyName="inline",
            PolicyDocument=allow(s["action"]),
            Roles=[ref("Role")],
        ),
        "Managed": resource(
            "IAM::ManagedPolicy",
            Description="extra",
            PolicyDocument=allow(s["action"]),
            Roles=[ref("Role")],
        ),
        "Cluster": resource("ECS::Cluster", ClusterName="cluster"),
        "Providers": resource(
            "ECS::ClusterCapacityProviderAssociations",
            Cluster=ref("Cluster"),
            CapacityProviders=["FARGATE", "FARGATE_SPOT"],
            DefaultCapacityProviderStrategy=[],
        ),
        "Task": resource(
            "ECS::TaskDefinition",
            Family="family",
            Cpu="256",
            Memory="512",
            NetworkMode="awsvpc",
            RequiresCompatibilities=["FARGATE"],
            RuntimePlatform={"CpuArchitecture": "ARM64", "OperatingSystemFamily": "LINUX"},
            ExecutionRoleArn=get("Role"),
            Volumes=[{"Name": "tmp"}],
            ContainerDefinitions=[container],
        ),
        "Service": resource(
            "ECS::Service",
            {"DependsOn": ["Providers"]},
            ServiceName="service",
            Cluster=ref("Cluster"),
            TaskDefinition=ref("Task"),
            CapacityProviderStrategy=[{"CapacityProvider": "FARGATE", "Weight": 1}],
            DeploymentConfiguration={"MinimumHealthyPercent": 0, "MaximumPercent": 100},
            EnableECSManagedTags=True,
            PropagateTags="SERVICE",
            NetworkConfiguration={
                "AwsvpcConfiguration": {
                    "Subnets": [ref("Subnet")],
                    "SecurityGroups": [get("Group", "GroupId")],
                    "AssignPublicIp": "ENABLED",
                }
            },
        ),
        "Log": resource("Logs::LogGroup", LogGroupName="/log", RetentionInDays=s["days"]),
        "Source": resource("CodeCommit::Repository", RepositoryName="source"),
        "BuildRole": role("codebuild"),
        "Build": resource(
            "CodeBuild::Project",
            Name="build",
            ServiceRole=get("BuildRole"),
            Source={"Type": "CODEPIPELINE", "BuildSpec": "buildspec.yml"},
            Artifacts={"Type": "CODEPIPELINE"},
            Environment={
                "Type": "ARM_CONTAINER",
                "ComputeType": s["compute"],
                "Image": "image",
                "PrivilegedMode": True,
            },
        ),
        "PipelineRole": role("codepipeline"),
        "Pipeline": resource(
            "CodePipeline::Pipeline",
            Name="pipeline",
            PipelineType="V2",
            RoleArn=get("PipelineRole"),
            ArtifactStore={"Type": "S3", "Location": ref("Bucket")},
            Stages=[
                {"Name": "Source", "Actions": [source]},
                {"Name": "Build", "Actions": [build]},
            ],
        ),
        "Dead": resource("SQS::Queue", QueueName="dead", SqsManagedSseEnabled=True),
        "Queue": resource(
            "SQS::Queue",
            QueueName="queue",
            RedrivePolicy={"deadLetterTargetArn": get("Dead"), "maxReceiveCount": 3},
        ),
        "QueuePolicy": resource(
            "SQS::QueuePolicy",
            Queues=[ref("Queue")],
            PolicyDocument=allow("sqs:SendMessage", get("Queue"), Principal="*"),
        ),
        "Topic": resource("SNS::Topic", TopicName="topic"),
        "TopicPolicy": resource(
            "SNS::TopicPolicy",
            Topics=[ref("Topic")],
            PolicyDocument=allow("sns:Publish", ref("Topic"), Principal="*"),
        ),
        "Mail": resource(
            "SNS::Subscription", TopicArn=ref("Topic"), Protocol="email", Endpoint="a@b.example"
        ),
        "Rule": resource(
            "Events::Rule",
            Name="rule",
            EventPattern={"source": ["aws.ecs"]},
            Targets=[
                {"Id": "Queue", "Arn": get("Queue")},
                {
                    "Id": "Topic",
                    "Arn": ref("Topic"),
                    "InputTransformer": {
                        "InputPathsMap": {"at": "$.time"},
                        "InputTemplate": '"<at>"',
                    },
                },
                {
                    "Id": "Pipeline",
                    "Arn": {"Fn::Sub": "arn:aws:codepipeline:us-east-1:1:${Pipeline}"},
                    "RoleArn": get("Role"),
                },
            ],
        ),
        "Schedules": resource("Scheduler::ScheduleGroup", Name="group"),
        "Schedule": resource(
            "Scheduler::Schedule",
            Name="schedule",
            GroupName=ref("Schedules"),
            ScheduleExpression=s["rate"],
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": "arn:aws:scheduler:::aws-sdk:ecs:updateService",
                "RoleArn": get("Role"),
                "Input": "{}",
            },
        ),
        "Alarm": resource(
            "CloudWatch::Alarm",
            AlarmName="alarm",
            Namespace="AWS/SQS",
            MetricName="ApproximateNumberOfMessagesVisible",
            Dimensions=[{"Name": "QueueName", "Value": get("Dead", "QueueName")}],
            Statistic="Maximum",
            Period=300,
            EvaluationPeriods=1,
            Threshold=s["threshold"],
            ComparisonOperator="GreaterThanOrEqualToThreshold",
            AlarmActions=[ref("Topic")],
        ),
        "Budget": resource(
            "Budgets::Budget",
            Budget={
                "BudgetName": "budget",
                "BudgetType": "COST",
                "TimeUnit": "MONTHLY",
                "BudgetLimit": {"Amount": s["amount"], "Unit": "USD"},
                "CostFilters": {"TagKeyValue": ["user:nightshift$prod"]},
            },
            NotificationsWithSubscribers=[
                {
                    "Notification": {
                        "NotificationType": "FORECASTED",
                        "ComparisonOperator": "GREATER_THAN",
                        "Threshold": 100,
                    },
                    "Subscribers": [{"SubscriptionType": "SNS", "Address": ref("Topic")}],
                }
            ],
        ),
        "Export": resource(
            "BCMDataExports::Export",
            {"DependsOn": "BucketPolicy"},
            Export={
                "Name": "export",
                "DataQuery": {"QueryStatement": "SELECT A FROM B"},
                "DestinationConfigurations": {
                    "S3Destination": {
                        "S3Bucket": ref("Bucket"),
                        "S3Prefix": "bills",
                        "S3Region": ref("AWS::Region"),
                        "S3OutputConfigurations": {
                            "Compression": "PARQUET",
                            "Format": "PARQUET",
                            "OutputType": "CUSTOM",
                            "Overwrite": "OVERWRITE_REPORT",
                        },
                    }
                },
                "RefreshCadence": {"Frequency": "SYNCHRONOUS"},
            },
        ),
        "CDKMetadata": resource("CDK::Metadata", Analytics="v2:deflate64:"),
    }
