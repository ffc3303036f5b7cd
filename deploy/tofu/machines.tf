data "openstack_images_image_v2" "machine" {
  name        = var.machine_image
  most_recent = true
}

# --- The external nginx ----------------------------------------------------------------------------------------------

resource "openstack_networking_secgroup_v2" "proxy" {
  name        = "${var.name}-proxy"
  description = "The external nginx: the web for everybody, SSH for operators"
}

resource "openstack_networking_secgroup_rule_v2" "web" {
  for_each = {
    for pair in setproduct([80, 443], ["IPv4", "IPv6"]) : "${pair[1]} ${pair[0]}" => { port = pair[0], ethertype = pair[1] }
  }

  security_group_id = openstack_networking_secgroup_v2.proxy.id
  direction         = "ingress"
  ethertype         = each.value.ethertype
  protocol          = "tcp"
  port_range_min    = each.value.port
  port_range_max    = each.value.port
}

resource "openstack_networking_secgroup_rule_v2" "operators" {
  for_each = var.operator_cidrs

  security_group_id = openstack_networking_secgroup_v2.proxy.id
  direction         = "ingress"
  ethertype         = strcontains(each.value, ":") ? "IPv6" : "IPv4"
  protocol          = "tcp"
  port_range_min    = 22
  port_range_max    = 22
  remote_ip_prefix  = each.value
}

resource "openstack_networking_port_v2" "proxy" {
  name               = "${var.name}-proxy"
  network_id         = openstack_networking_network_v2.main.id
  security_group_ids = [openstack_networking_secgroup_v2.proxy.id]

  fixed_ip {
    subnet_id  = openstack_networking_subnet_v2.main.id
    ip_address = local.proxy_address
  }
}

resource "openstack_compute_instance_v2" "proxy" {
  name        = "${var.name}-proxy"
  flavor_name = var.proxy.flavor
  key_pair    = openstack_compute_keypair_v2.operators.name
  user_data   = file("${path.module}/cloud-init/proxy.yaml")

  block_device {
    uuid                  = data.openstack_images_image_v2.machine.id
    source_type           = "image"
    destination_type      = "volume"
    boot_index            = 0
    volume_size           = var.proxy.volume_gib
    delete_on_termination = true # all on it is written anew from dachub.yaml
  }

  network {
    port = openstack_networking_port_v2.proxy.id
  }

  lifecycle {
    ignore_changes = [block_device[0].uuid] # a newer image is no reason to make the machine anew
  }
}

resource "openstack_networking_floatingip_v2" "proxy" {
  description = "The platform's public address"
  pool        = var.external_network

  lifecycle {
    prevent_destroy = true # names everywhere lead to it
  }
}

resource "openstack_networking_floatingip_associate_v2" "proxy" {
  floating_ip = openstack_networking_floatingip_v2.proxy.address
  port_id     = openstack_networking_port_v2.proxy.id

  depends_on = [openstack_networking_router_interface_v2.main]
}

data "openstack_dns_zone_v2" "main" {
  count = var.dns == null ? 0 : 1

  name = var.dns.zone
}

resource "openstack_dns_recordset_v2" "platform" {
  count = var.dns == null ? 0 : 1

  zone_id     = data.openstack_dns_zone_v2.main[0].id
  name        = var.dns.name
  description = "The platform"
  type        = "A"
  ttl         = var.dns.ttl_seconds
  records     = [openstack_networking_floatingip_v2.proxy.address]
}

# --- Logs ------------------------------------------------------------------------------------------------------------

resource "openstack_networking_secgroup_v2" "logging" {
  count = var.logging == null ? 0 : 1

  name        = "${var.name}-logging"
  description = "OpenSearch: for the machines of the platform, SSH by way of the proxy machine"
}

resource "openstack_networking_secgroup_rule_v2" "search" {
  count = var.logging == null ? 0 : 1

  security_group_id = openstack_networking_secgroup_v2.logging[0].id
  direction         = "ingress"
  ethertype         = "IPv4"
  protocol          = "tcp"
  port_range_min    = 9200
  port_range_max    = 9200
  remote_ip_prefix  = var.subnet_cidr
}

resource "openstack_networking_secgroup_rule_v2" "logging_ssh" {
  count = var.logging == null ? 0 : 1

  security_group_id = openstack_networking_secgroup_v2.logging[0].id
  direction         = "ingress"
  ethertype         = "IPv4"
  protocol          = "tcp"
  port_range_min    = 22
  port_range_max    = 22
  remote_group_id   = openstack_networking_secgroup_v2.proxy.id
}

resource "openstack_networking_port_v2" "logging" {
  count = var.logging == null ? 0 : 1

  name               = "${var.name}-logging"
  network_id         = openstack_networking_network_v2.main.id
  security_group_ids = [openstack_networking_secgroup_v2.logging[0].id]

  fixed_ip {
    subnet_id  = openstack_networking_subnet_v2.main.id
    ip_address = local.logging_address
  }
}

resource "openstack_blockstorage_volume_v3" "logs" {
  count = var.logging == null ? 0 : 1

  name        = "${var.name}-logs"
  description = "What OpenSearch keeps"
  size        = var.logging.volume_gib

  lifecycle {
    prevent_destroy = true
  }
}

resource "openstack_compute_instance_v2" "logging" {
  count = var.logging == null ? 0 : 1

  name        = "${var.name}-logging"
  flavor_name = var.logging.flavor
  image_id    = data.openstack_images_image_v2.machine.id
  key_pair    = openstack_compute_keypair_v2.operators.name
  user_data   = file("${path.module}/cloud-init/logging.yaml")

  network {
    port = openstack_networking_port_v2.logging[0].id
  }

  lifecycle {
    ignore_changes = [image_id]
  }
}

resource "openstack_compute_volume_attach_v2" "logs" {
  count = var.logging == null ? 0 : 1

  instance_id = openstack_compute_instance_v2.logging[0].id
  volume_id   = openstack_blockstorage_volume_v3.logs[0].id
}
