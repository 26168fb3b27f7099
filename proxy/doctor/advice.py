"""What to do where a step fails, by how an upstream is signed in to."""

from enum import Enum
from typing import NamedTuple

from proxy.core.ecr_names import EcrHost


class SignIn(Enum):
    """The kinds of ``auth`` of an upstream."""

    ANONYMOUS = "anonymous"
    BASIC = "basic"
    DOCKER_CONFIG = "dockerconfig"
    ECR = "ecr"
    ECR_PUBLIC = "ecr-public"


_LET_IN = {
    SignIn.ANONYMOUS: "give the upstream an auth, such as {type: basic, username: …, password_file: …}",
    SignIn.BASIC: "check username and password_file; Docker Hub, ghcr.io and others want an access token as password",
    SignIn.DOCKER_CONFIG: "log in anew with docker login, or make the Secret anew: the file is read again by itself",
    SignIn.ECR: "check account and region in the name of the upstream, and its role_arn",
    SignIn.ECR_PUBLIC: "allow ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken",
}
_FILE = "make the file readable for the user that Entrepot runs as, or correct its name"
_REFUSED = {
    SignIn.ANONYMOUS: "it is asked without credentials: a private image needs auth under the upstream; many registries "
    "refuse what does not exist too, so check the name",
    SignIn.BASIC: "give the user the right to pull this repository, or check its name",
    SignIn.DOCKER_CONFIG: "give the user of that login the right to pull this repository, or check its name",
    SignIn.ECR: "allow ecr:BatchGetImage and ecr:GetDownloadUrlForLayer on this repository, or give credentials that "
    "may pull it",
    SignIn.ECR_PUBLIC: "all images there are public: check the name of the image",
}


class Advice(NamedTuple):
    """For one upstream; ``ecr`` is the private ECR registry that it is, None for any other."""

    sign_in: SignIn
    ecr: EcrHost | None

    def let_in(self) -> str:
        """Where our credentials are not taken."""
        return _LET_IN[self.sign_in]

    def readable(self) -> str:
        """Where our credentials cannot be had."""
        helper = "; a credential helper that it names has to be installed, and to answer"
        return f"{_FILE}{helper if self.sign_in is SignIn.DOCKER_CONFIG else ''}"

    def refused(self) -> str:
        """Where an image is refused."""
        return _REFUSED[self.sign_in]

    def route(self) -> str:
        """Where nothing is reached."""
        if self.ecr is None:
            return "check routes, firewall and NAT: the machine must reach this host"
        return (
            f"allow port 443 out in the security group, and have a NAT or the VPC endpoint "
            f"com.amazonaws.{self.ecr.region}.ecr.dkr with private DNS and port 443 in from here"
        )

    def image(self) -> str:
        """Where an image is not there."""
        if self.ecr is None:
            return "check the name of the image"
        return (
            f"check the name of the image, and that account {self.ecr.account} has it in {self.ecr.region} and not "
            f"archived"
        )

    def blob(self) -> str:
        """Where a layer cannot be had though its manifest can."""
        if self.ecr is None:
            return "blobs are often redirected to a CDN: allow port 443 out to everywhere"
        return "ECR's layers come from S3: add the S3 gateway endpoint to the route table, and allow its prefix list"
