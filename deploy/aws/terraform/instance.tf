data "aws_ssm_parameter" "image" {
  name = "/aws/service/debian/release/12/latest/${local.architecture}"
}

data "aws_ec2_instance_type" "this" {
  instance_type = var.instance_type
}

locals {
  architecture = contains(data.aws_ec2_instance_type.this.supported_architectures, "arm64") ? "arm64" : "amd64"
}

# Where the cache is the unit says. Who may pull say the security group and client_cidr_blocks.
locals {
  settings = yamlencode({
    listen    = "0.0.0.0:${var.port}"
    anonymous = true
    cache     = { max_size = "${floor(var.cache_size_gib * 0.9)}GiB" }
    upstreams = var.upstreams
  })

  user_data = templatefile("${path.module}/user-data.sh", {
    bundle_url    = var.bundle_url
    bundle_sha256 = var.bundle_sha256
    settings      = base64encode(local.settings)
    unit          = base64encode(file("${path.module}/../../entrepot.service"))
  })
}

resource "aws_instance" "this" {
  ami                         = data.aws_ssm_parameter.image.value
  instance_type               = var.instance_type
  subnet_id                   = var.subnet_id
  vpc_security_group_ids      = [aws_security_group.cache.id]
  iam_instance_profile        = aws_iam_instance_profile.this.name
  user_data_replace_on_change = true
  user_data                   = local.user_data

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = 16
    encrypted   = true
  }

  ebs_block_device {
    device_name           = "/dev/sdf"
    volume_type           = "gp3"
    volume_size           = var.cache_size_gib
    throughput            = 500
    iops                  = 4000
    encrypted             = true
    delete_on_termination = true
  }

  tags = { Name = var.name }
}
