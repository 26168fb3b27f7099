variable "name" {
  description = "Name of every resource, and their prefix."
  type        = string
  default     = "entrepot"
}

variable "vpc_id" {
  description = "VPC in which the cache stands."
  type        = string
}

variable "subnet_id" {
  description = "Private subnet of the instance. Run one cache per availability zone: traffic between zones costs more than it saves."
  type        = string
}

variable "endpoint_subnet_ids" {
  description = "Subnets for the interface endpoints, one per availability zone."
  type        = list(string)
}

variable "route_table_ids" {
  description = "Route tables that get the S3 gateway endpoint, through which all ECR layers come."
  type        = list(string)
}

variable "create_endpoints" {
  description = "Whether to make the VPC endpoints; false where the VPC has them."
  type        = bool
  default     = true
}

variable "client_cidr_blocks" {
  description = "Address ranges that may pull."
  type        = list(string)
}

variable "egress_cidr_blocks" {
  description = "Where the cache may connect by HTTPS; everywhere, since public registries and their CDNs have no fixed addresses."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "repository_arns" {
  description = "ECR repositories that the cache may pull, such as arn:aws:ecr:us-east-1:123456789012:repository/team/*."
  type        = list(string)
  default     = []
}

variable "tag_immutability" {
  description = "Whether the cache may ask ECR which tags cannot move, which saves revalidation."
  type        = bool
  default     = true
}

variable "tags_list" {
  description = "Whether clients may list the tags of ECR repositories."
  type        = bool
  default     = true
}

variable "pull_through_rules" {
  description = "Whether the cache may make first pulls through ECR's own pull through cache rules."
  type        = bool
  default     = false
}

variable "instance_type" {
  description = "A type with NVMe storage or a large EBS bandwidth does best."
  type        = string
  default     = "m7g.large"
}

variable "cache_size_gib" {
  description = "Size of the cache volume in GiB. The cache keeps to nine tenths of it."
  type        = number
  default     = 200
}

variable "port" {
  description = "Port of the pull listener; the unit has no right to those below 1024."
  type        = number
  default     = 5000

  validation {
    condition     = var.port >= 1024 && var.port <= 65535
    error_message = "port must be from 1024 to 65535."
  }
}

variable "bundle_url" {
  description = "Where the instance downloads what deploy/aws/bundle made: Entrepot and all that it needs, as wheels."
  type        = string

  validation {
    condition     = can(regex("^https://[A-Za-z0-9._~:/?#@!$&*+,;=%-]+$", var.bundle_url))
    error_message = "bundle_url must be a URL that begins with https://."
  }
}

variable "bundle_sha256" {
  description = "The SHA-256 that deploy/aws/bundle printed. Nothing else is installed."
  type        = string

  validation {
    condition     = length(var.bundle_sha256) == 64 && can(regex("^[0-9a-f]+$", var.bundle_sha256))
    error_message = "bundle_sha256 must be 64 hexadecimal digits."
  }
}

variable "upstreams" {
  description = "The 'upstreams' section of the configuration; an ECR name needs no settings. The rights of the role follow from it."
  type        = any
  default = {
    "public.ecr.aws" = {}
  }
}
