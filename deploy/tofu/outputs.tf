output "public_address" {
  description = "Floating IP address of the external nginx: what the platform's name leads to."
  value       = openstack_networking_floatingip_v2.proxy.address
}

output "cluster_name" {
  description = "For `openstack coe cluster config`, which gives the kubeconfig."
  value       = openstack_containerinfra_cluster_v1.main.name
}

output "platform_address" {
  description = "Address for the load balancer before the hub: loadBalancerIP in deploy/routes/load-balancer.yaml, and nginx.upstreams in dachub.yaml."
  value       = local.platform_address
}

output "logging_address" {
  description = "Where OpenSearch is; null without one."
  value       = var.logging == null ? null : local.logging_address
}

output "share_network" {
  description = "Network and subnet for a Manila share network, where the cloud's shares need one."
  value = {
    network_id = openstack_networking_network_v2.main.id
    subnet_id  = openstack_networking_subnet_v2.main.id
  }
}
