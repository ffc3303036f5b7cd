data "openstack_images_image_v2" "node" {
  name        = var.node_image
  most_recent = true
}

data "openstack_images_image_v2" "gpu" {
  count = try(var.gpu.image, null) == null ? 0 : 1

  name        = var.gpu.image
  most_recent = true
}

locals {
  labels = merge(
    {
      auto_scaling_enabled = "true"
      auto_healing_enabled = "true"
      boot_volume_size     = tostring(var.node_boot_volume_gib)
    },
    var.labels,
  )
}

resource "openstack_containerinfra_clustertemplate_v1" "main" {
  count = var.cluster_template_id == null ? 1 : 0

  name                = var.name
  coe                 = "kubernetes"
  image               = data.openstack_images_image_v2.node.id
  keypair_id          = openstack_compute_keypair_v2.operators.name
  master_flavor       = var.control.flavor
  flavor              = var.core.flavor
  external_network_id = data.openstack_networking_network_v2.external.id
  fixed_network       = openstack_networking_network_v2.main.id
  fixed_subnet        = openstack_networking_subnet_v2.main.id
  dns_nameserver      = one(slice(var.dns_nameservers, 0, min(1, length(var.dns_nameservers))))
  network_driver      = "calico" # keeps the network policies of the charts
  volume_driver       = "cinder"
  server_type         = "vm"
  master_lb_enabled   = true
  floating_ip_enabled = false
  labels              = local.labels
}

# Its first group of nodes, which Magnum cannot remove or change, holds what nobody may scale away.
resource "openstack_containerinfra_cluster_v1" "main" {
  name                = var.name
  cluster_template_id = one(concat(openstack_containerinfra_clustertemplate_v1.main[*].id, compact([var.cluster_template_id])))
  keypair             = openstack_compute_keypair_v2.operators.name
  master_count        = var.control.count
  master_flavor       = var.control.flavor
  node_count          = var.core.count
  flavor              = var.core.flavor
  fixed_network       = openstack_networking_network_v2.main.id
  fixed_subnet        = openstack_networking_subnet_v2.main.id
  master_lb_enabled   = true
  floating_ip_enabled = false # nodes are reached from inside alone
  create_timeout      = 60
  merge_labels        = true
  labels = merge(local.labels, {
    # Of the first group: as many as there are, so that the autoscaler leaves it alone.
    min_node_count = tostring(var.core.count)
    max_node_count = tostring(var.core.count)
  })

  lifecycle {
    # Nearly every change here would replace the cluster with all that runs on it.
    prevent_destroy = true
  }

  depends_on = [openstack_networking_router_interface_v2.main]
}

resource "openstack_containerinfra_nodegroup_v1" "users" {
  name           = "users"
  cluster_id     = openstack_containerinfra_cluster_v1.main.id
  image_id       = data.openstack_images_image_v2.node.id
  flavor_id      = var.users.flavor
  node_count     = var.users.min
  min_node_count = var.users.min
  max_node_count = var.users.max
  role           = "users"
  merge_labels   = true

  lifecycle {
    ignore_changes = [node_count] # the autoscaler's from then on
  }
}

resource "openstack_containerinfra_nodegroup_v1" "gpu" {
  count = var.gpu == null ? 0 : 1

  name           = "gpu"
  cluster_id     = openstack_containerinfra_cluster_v1.main.id
  image_id       = one(concat(data.openstack_images_image_v2.gpu[*].id, var.gpu.image == null ? [data.openstack_images_image_v2.node.id] : []))
  flavor_id      = var.gpu.flavor
  node_count     = var.gpu.min
  min_node_count = var.gpu.min
  max_node_count = var.gpu.max
  role           = "gpu"
  merge_labels   = true

  lifecycle {
    ignore_changes = [node_count]
  }
}
