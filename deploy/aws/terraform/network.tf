locals {
  interface_services = var.create_endpoints ? toset(concat(
    ["ecr.api", "ecr.dkr"],
    length(local.roles) > 0 ? ["sts"] : [],
  )) : toset([])
}

resource "aws_security_group" "cache" {
  name        = var.name
  description = "Entrepot: pulls in, HTTPS out"
  vpc_id      = var.vpc_id

  ingress {
    description = "pulls"
    from_port   = var.port
    to_port     = var.port
    protocol    = "tcp"
    cidr_blocks = var.client_cidr_blocks
  }

  egress {
    description = "registries, AWS APIs and S3"
    from_port   = 443
    to_port     = 443
    protocol    = "tcp"
    cidr_blocks = var.egress_cidr_blocks
  }
}

resource "aws_security_group" "endpoints" {
  count       = var.create_endpoints ? 1 : 0
  name        = "${var.name}-endpoints"
  description = "HTTPS from Entrepot to the interface endpoints"
  vpc_id      = var.vpc_id

  ingress {
    description     = "HTTPS from the cache"
    from_port       = 443
    to_port         = 443
    protocol        = "tcp"
    security_groups = [aws_security_group.cache.id]
  }
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = local.interface_services
  vpc_id              = var.vpc_id
  service_name        = "com.amazonaws.${data.aws_region.here.name}.${each.key}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = var.endpoint_subnet_ids
  security_group_ids  = [aws_security_group.endpoints[0].id]
  private_dns_enabled = true
}

# Layers come from S3. A gateway endpoint is free of charge, and its default policy lets other users of the VPC go on.
resource "aws_vpc_endpoint" "s3" {
  count             = var.create_endpoints ? 1 : 0
  vpc_id            = var.vpc_id
  service_name      = "com.amazonaws.${data.aws_region.here.name}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.route_table_ids
}
