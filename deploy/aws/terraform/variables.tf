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
}

variable "assumable_role_arns" {
  description = "Roles of other accounts that upstreams name in auth.role_arn."
  type        = list(string)
  default     = []
}

variable "ecr_public" {
  description = "Whether the cache signs in to ECR Public for its higher limits."
  type        = bool
  default     = true
}

variable "tag_immutability" {
  description = "Whether the cache may ask which tags cannot move, which saves revalidation."
  type        = bool
  default     = true
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
  description = "Port of the pull listener."
  type        = number
  default     = 5000
}

variable "package" {
  description = "What pip installs: a name and version, a wheel's URL, or a path on the image."
  type        = string
  default     = "entrepot"
}

variable "upstreams" {
  description = "The 'upstreams' section of the configuration; an ECR name needs no settings."
  type        = any
  default = {
    "public.ecr.aws" = {}
  }
}
