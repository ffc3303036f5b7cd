data "openstack_networking_network_v2" "external" {
  name     = var.external_network
  external = true
}

resource "openstack_networking_network_v2" "main" {
  name = var.name
}

resource "openstack_networking_subnet_v2" "main" {
  name            = var.name
  network_id      = openstack_networking_network_v2.main.id
  cidr            = var.subnet_cidr
  dns_nameservers = var.dns_nameservers

  # What lies below is for addresses that are known beforehand: the proxy's, and the load balancer's before the hub.
  allocation_pool {
    start = cidrhost(var.subnet_cidr, 50)
    end   = cidrhost(var.subnet_cidr, -2)
  }
}

resource "openstack_networking_router_v2" "main" {
  name                = var.name
  external_network_id = data.openstack_networking_network_v2.external.id
}

resource "openstack_networking_router_interface_v2" "main" {
  router_id = openstack_networking_router_v2.main.id
  subnet_id = openstack_networking_subnet_v2.main.id
}

resource "openstack_compute_keypair_v2" "operators" {
  name       = var.name
  public_key = var.public_key
}

locals {
  # Taken by the Service of the platform's proxy: deploy/routes/load-balancer.yaml.
  platform_address = cidrhost(var.subnet_cidr, 10)
  proxy_address    = cidrhost(var.subnet_cidr, 11)
  logging_address  = cidrhost(var.subnet_cidr, 12)
}
