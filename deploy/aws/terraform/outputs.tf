output "address" {
  description = "Where clients find the cache."
  value       = "${aws_instance.this.private_ip}:${var.port}"
}

output "role_arn" {
  description = "For repository policies and trust policies of other accounts."
  value       = aws_iam_role.this.arn
}

output "security_group_id" {
  value = aws_security_group.cache.id
}
