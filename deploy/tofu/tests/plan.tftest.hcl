# Plans with the values of examples/ before a cloud that is made up: `tofu test -var-file=examples/500.tfvars`.
mock_provider "openstack" {}

run "nodes_are_reached_from_inside_alone" {
  command = plan

  assert {
    condition     = openstack_containerinfra_cluster_v1.main.floating_ip_enabled == false
    error_message = "A node has a public address."
  }
  assert {
    condition = alltrue([
      for name, rule in openstack_networking_secgroup_rule_v2.web : contains([80, 443], rule.port_range_max) && rule.port_range_min == rule.port_range_max
    ])
    error_message = "More than the web is open to everybody."
  }
  assert {
    condition     = length(openstack_networking_secgroup_rule_v2.operators) == length(var.operator_cidrs)
    error_message = "SSH is open to others than operators."
  }
}

run "only_peoples_nodes_come_and_go" {
  command = plan

  assert {
    condition     = openstack_containerinfra_cluster_v1.main.labels["auto_scaling_enabled"] == "true"
    error_message = "Nothing scales."
  }
  assert {
    condition = (
      openstack_containerinfra_cluster_v1.main.labels["min_node_count"] == tostring(var.core.count) &&
      openstack_containerinfra_cluster_v1.main.labels["max_node_count"] == tostring(var.core.count)
    )
    error_message = "The autoscaler may take core nodes away."
  }
  assert {
    condition = (
      openstack_containerinfra_nodegroup_v1.users.min_node_count == var.users.min &&
      openstack_containerinfra_nodegroup_v1.users.max_node_count == var.users.max
    )
    error_message = "Nodes of people's servers do not scale as told."
  }
}

run "known_addresses_are_given_to_nobody_else" {
  command = plan

  assert {
    condition = alltrue([
      for address in [local.platform_address, local.proxy_address, local.logging_address] :
      tonumber(split(".", address)[3]) < tonumber(split(".", one(openstack_networking_subnet_v2.main.allocation_pool).start)[3])
    ])
    error_message = "An address that is known beforehand may be given to a node."
  }
  assert {
    condition     = output.platform_address == "10.20.0.10"
    error_message = "The load balancer's address is not the one in deploy/routes/load-balancer.yaml."
  }
}

run "there_are_addresses_for_every_node_and_its_successor" {
  command = plan

  assert {
    condition = (
      pow(2, 32 - tonumber(split("/", var.subnet_cidr)[1])) - 52 >=
      1.25 * (var.control.count + var.core.count + var.users.max + try(var.gpu.max, 0))
    )
    error_message = "The subnet is too small."
  }
}

run "without_a_zone_no_name_is_made" {
  command = plan

  variables {
    dns     = null
    logging = null
    gpu     = null
  }

  assert {
    condition = (
      length(openstack_dns_recordset_v2.platform) + length(openstack_compute_instance_v2.logging) +
      length(openstack_containerinfra_nodegroup_v1.gpu) == 0
    )
    error_message = "Something is made that was not asked for."
  }
}

run "a_template_of_the_clouds_is_used" {
  command = plan

  variables {
    cluster_template_id = "b9a45c5c-cd03-4958-82aa-b80bf93cb922"
  }

  assert {
    condition = (
      length(openstack_containerinfra_clustertemplate_v1.main) == 0 &&
      openstack_containerinfra_cluster_v1.main.cluster_template_id == "b9a45c5c-cd03-4958-82aa-b80bf93cb922"
    )
    error_message = "A template of our own is made all the same."
  }
}

run "ssh_for_the_whole_internet_is_refused" {
  command = plan

  variables {
    operator_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.operator_cidrs]
}

run "what_cannot_be_is_refused" {
  command = plan

  variables {
    name        = "Not A Name"
    subnet_cidr = "10.20.0.0/29"
    public_key  = "-----BEGIN OPENSSH PRIVATE KEY-----"
    control     = { flavor = "x", count = 2 }
    core        = { flavor = "x", count = 1 }
    users       = { flavor = "x", min = 0, max = 3 }
    gpu         = { flavor = "x", min = 0, max = 3 }
    dns         = { zone = "example.org", name = "dac.elsewhere.org" }
  }

  expect_failures = [
    var.name, var.subnet_cidr, var.public_key, var.control, var.core, var.users, var.gpu, var.dns,
  ]
}
