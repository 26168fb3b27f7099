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

# What the upstreams of the configuration call, and no more.
locals {
  private    = anytrue([for name, each in var.upstreams : try(each.auth.type == "ecr", can(regex("\\.dkr[.-]ecr(-fips)?\\.", name)))])
  signed     = anytrue([for each in values(var.upstreams) : try(each.auth.type == "ecr-public", false)])
  push_times = anytrue([for each in values(var.upstreams) : try(each.push_times, false)])
  roles      = distinct(compact([for each in values(var.upstreams) : try(each.auth.role_arn, "")]))

  statements = [
    {
      wanted    = local.private
      sid       = "EcrToken"
      actions   = ["ecr:GetAuthorizationToken"]
      resources = ["*"]
    },
    {
      wanted    = local.private
      sid       = "EcrPull"
      actions   = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      resources = var.repository_arns
    },
    {
      wanted    = local.private && var.tags_list
      sid       = "EcrTagsList"
      actions   = ["ecr:ListImages"]
      resources = var.repository_arns
    },
    {
      wanted    = local.private && var.tag_immutability
      sid       = "EcrTagImmutability"
      actions   = ["ecr:DescribeRepositories"]
      resources = var.repository_arns
    },
    {
      wanted    = local.push_times
      sid       = "EcrPushTimes"
      actions   = ["ecr:DescribeImages"]
      resources = var.repository_arns
    },
    {
      wanted    = local.private && var.pull_through_rules
      sid       = "EcrPullThroughCacheRules"
      actions   = ["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"]
      resources = var.repository_arns
    },
    {
      wanted    = local.signed
      sid       = "EcrPublicToken"
      actions   = ["ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"]
      resources = ["*"]
    },
    {
      wanted    = length(local.roles) > 0
      sid       = "AssumePullRole"
      actions   = ["sts:AssumeRole"]
      resources = local.roles
    },
  ]

  policy = {
    Version = "2012-10-17"
    Statement = [
      for each in local.statements : { Sid = each.sid, Effect = "Allow", Action = each.actions, Resource = each.resources }
      if each.wanted
    ]
  }
}

resource "aws_iam_role" "this" {
  name               = var.name
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "pull" {
  count  = length(local.policy.Statement) > 0 ? 1 : 0
  name   = "pull"
  role   = aws_iam_role.this.id
  policy = jsonencode(local.policy)

  lifecycle {
    precondition {
      condition     = !local.private || length(var.repository_arns) > 0
      error_message = "repository_arns must list what may be pulled from the ECR registries among the upstreams."
    }
  }
}

resource "aws_iam_instance_profile" "this" {
  name = var.name
  role = aws_iam_role.this.name
}
