# About 500 people, 125 of them at once (docs/openstack.md has the sums). Names of flavors and images are the cloud's.
cloud            = "dac"
external_network = "external"
operator_cidrs   = ["192.0.2.0/24", "2001:db8::/48"]
public_key       = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampleExam operators"

node_image    = "ubuntu-noble-kube-v1.34"
machine_image = "debian-13"
subnet_cidr   = "10.20.0.0/22"

control = { flavor = "4-cores-16-gib", count = 3 }
core    = { flavor = "8-cores-32-gib", count = 2 }
users   = { flavor = "16-cores-64-gib", min = 2, max = 14 }
proxy   = { flavor = "4-cores-8-gib" }
logging = { flavor = "4-cores-16-gib", volume_gib = 200 }
dns     = { zone = "example.org.", name = "dac.example.org." }
