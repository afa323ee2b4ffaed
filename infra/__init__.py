"""The cloud in code: one CDK app. Cloud engineers' realm; it reads what deployments/ declares."""

import os
import sys
from pathlib import Path

# jsii runs CDK's own code on Node, and this one came with pip. Said before anything imports CDK.
os.environ.setdefault("JSII_NODE", str(Path(sys.executable).with_name("node")))
