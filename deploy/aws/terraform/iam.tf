data "aws_region" "here" {}

data "aws_partition" "here" {}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.${data.aws_partition.here.dns_suffix}"]
    }
  }
}

data "aws_iam_policy_document" "pull" {
  statement {
    sid       = "EcrToken"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "EcrPull"
    actions   = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:ListImages"]
    resources = var.repository_arns
  }

  dynamic "statement" {
    for_each = var.tag_immutability ? [1] : []
    content {
      sid       = "EcrTagImmutability"
      actions   = ["ecr:DescribeRepositories"]
      resources = var.repository_arns
    }
  }

  dynamic "statement" {
    for_each = var.ecr_public ? [1] : []
    content {
      sid       = "EcrPublicToken"
      actions   = ["ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = length(var.assumable_role_arns) > 0 ? [1] : []
    content {
      sid       = "AssumePullRole"
      actions   = ["sts:AssumeRole"]
      resources = var.assumable_role_arns
    }
  }
}

resource "aws_iam_role" "this" {
  name               = var.name
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "pull" {
  name   = "pull"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.pull.json
}

resource "aws_iam_instance_profile" "this" {
  name = var.name
  role = aws_iam_role.this.name
}
