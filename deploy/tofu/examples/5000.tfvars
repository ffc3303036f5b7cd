# About 5,000 people, 1,000 of them at once (docs/openstack.md has the sums). Names of flavors and images are the
# cloud's.
cloud            = "dac"
external_network = "external"
operator_cidrs   = ["192.0.2.0/24"]
public_key       = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampleExam operators"

node_image    = "ubuntu-noble-kube-v1.34"
machine_image = "debian-13"
subnet_cidr   = "10.20.0.0/20"

control = { flavor = "8-cores-32-gib", count = 3 }
core    = { flavor = "16-cores-64-gib", count = 3 }
users   = { flavor = "32-cores-128-gib", min = 4, max = 48 }
gpu     = { flavor = "16-cores-128-gib-1-gpu", min = 1, max = 8, image = "ubuntu-noble-kube-v1.34-gpu" }
proxy   = { flavor = "8-cores-16-gib" }
logging = { flavor = "8-cores-64-gib", volume_gib = 1000 }
dns     = { zone = "example.org.", name = "dac.example.org." }
