# Machines that install AmneziaWG at their first boot. No provider is needed to try it out:
#   URL=https://… DOMAIN=example.org ./render vpn-1 vpn-2 && terraform init && terraform apply
# terraform_data stands where your provider's machine belongs; see the end of the file.

terraform {
  required_version = ">= 1.4"
}

variable "hosts" {
  description = "Name of each machine, as it was given to ./render"
  type        = set(string)
  default     = ["vpn-1", "vpn-2"]
}

variable "user_data_limit" {
  description = "Bytes of user-data that the provider takes; AWS documents 16384, Hetzner 32768"
  type        = number
  default     = 16384
}

locals {
  # What `awg-install render cloud-init` has printed. It holds no secret: whoever is on the machine can read it.
  user_data = { for host in var.hosts : host => file("${path.module}/user-data/${host}") }
}

resource "terraform_data" "vpn" {
  for_each = local.user_data

  # user_data = each.value, in the resource of a provider.
  input = each.value

  # User-data counts at the first boot only: another one means another machine.
  triggers_replace = sha256(each.value)

  lifecycle {
    precondition {
      condition     = startswith(each.value, "#cloud-config\n") || startswith(each.value, "#!/bin/sh\n")
      error_message = "user-data/${each.key} is not what `awg-install render` prints for cloud-init or tiny-cloud"
    }
    precondition {
      # length() alone counts characters, not bytes.
      condition     = length(base64encode(each.value)) / 4 * 3 <= var.user_data_limit
      error_message = "user-data/${each.key} is larger than the provider takes"
    }
  }
}

output "user_data_sha256" {
  description = "What each machine was started with"
  value       = { for host, machine in terraform_data.vpn : host => sha256(machine.output) }
}

# The same with providers; each takes plain text here (AWS has user_data_base64 for what is encoded already):
#
# resource "hcloud_server" "vpn" {
#   for_each    = local.user_data
#   name        = each.key
#   image       = var.image        # an Alpine image with cloud-init; with tiny-cloud: KIND=tiny-cloud ./render …
#   server_type = var.server_type
#   user_data   = each.value
#   lifecycle { ignore_changes = [user_data] }   # a running server is upgraded, not replaced
# }
#
# resource "aws_instance" "vpn" {
#   for_each      = local.user_data
#   ami           = var.ami
#   instance_type = var.instance_type
#   user_data     = each.value
#   metadata_options { http_tokens = "required" }
# }
