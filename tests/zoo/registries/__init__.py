"""Each kind of registry in a file of its own, which says where its manners are described."""

from tests.zoo.registries.artifact_registry import ArtifactRegistry
from tests.zoo.registries.artifactory import Artifactory
from tests.zoo.registries.azure import Azure
from tests.zoo.registries.distribution2 import Distribution2
from tests.zoo.registries.distribution3 import Distribution3
from tests.zoo.registries.docker_hub import DockerHub
from tests.zoo.registries.ecr import Ecr
from tests.zoo.registries.ecr_public import EcrPublic
from tests.zoo.registries.ghcr import Ghcr
from tests.zoo.registries.gitlab import GitLab
from tests.zoo.registries.harbor import Harbor
from tests.zoo.registries.nexus import Nexus
from tests.zoo.registries.quay import Quay
from tests.zoo.registries.zot import Zot

REGISTRIES = (
    DockerHub,
    Ghcr,
    Quay,
    ArtifactRegistry,
    Azure,
    Ecr,
    EcrPublic,
    GitLab,
    Harbor,
    Artifactory,
    Nexus,
    Zot,
    Distribution2,
    Distribution3,
)

__all__ = ["REGISTRIES"]
