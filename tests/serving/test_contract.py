"""The service keeps its own OpenAPI: schemathesis asks what that allows, and what it forbids.

In the suite, few examples of each path; docs/serve.md says how to run many.
"""

from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, settings
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig

schema = schemathesis.pytest.from_fixture("openapi")
