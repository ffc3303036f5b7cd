terraform {
  required_version = ">= 1.8"

  required_providers {
    openstack = {
      source  = "terraform-provider-openstack/openstack"
      version = "~> 3.4"
    }
  }
}

# Who we are to the cloud stands in clouds.yaml, never here.
provider "openstack" {
  cloud = var.cloud
}
