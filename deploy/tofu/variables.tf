variable "cloud" {
  description = "Entry of clouds.yaml that says which project of which cloud."
  type        = string
  nullable    = false
}

variable "name" {
  description = "What everything is called, or begins with; a second platform in the same project needs another."
  type        = string
  default     = "dachub"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.name))
    error_message = "The name consists of up to 20 small letters, digits and hyphens, and begins with a letter."
  }
}

# --- Network ---------------------------------------------------------------------------------------------------------

variable "external_network" {
  description = "Name of the cloud's network with floating IP addresses."
  type        = string
  nullable    = false
}

variable "subnet_cidr" {
  description = "Addresses of the machines: as many as there may be nodes, and a quarter more during an upgrade."
  type        = string
  default     = "10.20.0.0/20"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.subnet_cidr, 99)) && can(regex("/(1[6-9]|2[0-4])$", var.subnet_cidr))
    error_message = "The subnet is an IPv4 range between /16 and /24, such as 10.20.0.0/20."
  }
}

variable "dns_nameservers" {
  description = "Name servers of the machines; the cloud's own where the list is empty."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "operator_cidrs" {
  description = "From where operators may reach the proxy machine by SSH."
  type        = set(string)
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.operator_cidrs : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "Each is a range such as 192.0.2.0/24; the whole internet is none."
  }
}

variable "public_key" {
  description = "OpenSSH public key of the operators, for every machine."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+", var.public_key))
    error_message = "That is no OpenSSH public key, such as the content of ~/.ssh/id_ed25519.pub."
  }
}

# --- Cluster ---------------------------------------------------------------------------------------------------------

variable "cluster_template_id" {
  description = "UUID of a cluster template of the cloud's; null: one is made, which not every cloud allows."
  type        = string
  default     = null
}

variable "node_image" {
  description = "Name of the image of the cluster's machines; its properties say which Kubernetes it is."
  type        = string
  nullable    = false
}

variable "node_boot_volume_gib" {
  description = "Disk of each node: system, images of the notebook environments, and what people's servers write outside of their homes."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.node_boot_volume_gib >= 50
    error_message = "A node needs 50 GiB or more: images alone take 20."
  }
}

variable "labels" {
  description = "Further labels of Magnum for the cluster; what they are depends on the cloud's driver."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "control" {
  description = "Machines of the control plane."
  type = object({
    flavor = string
    count  = optional(number, 3)
  })
  nullable = false

  validation {
    condition     = contains([1, 3, 5], var.control.count)
    error_message = "A control plane has 1, 3 or 5 machines: etcd needs a majority."
  }
}

variable "core" {
  description = "Nodes of hub, proxy, service and database; never scaled, so that nobody's session depends on it."
  type = object({
    flavor = string
    count  = optional(number, 2)
  })
  nullable = false

  validation {
    condition     = var.core.count >= 2
    error_message = "Two core nodes or more: one must be able to die."
  }
}

variable "users" {
  description = "Nodes of people's servers; the cluster's autoscaler keeps their number between min and max."
  type = object({
    flavor = string
    min    = optional(number, 1)
    max    = number
  })
  nullable = false

  validation {
    condition     = var.users.min >= 1 && var.users.max > var.users.min
    error_message = "min is 1 or more (Magnum's Cluster API driver cannot scale from none), and max is more than min."
  }
}

variable "gpu" {
  description = "Nodes with GPUs for people's servers; null: none. They cost while they wait: min is 1 at least."
  type = object({
    flavor = string
    min    = optional(number, 1)
    max    = number
    image  = optional(string)
  })
  default = null

  validation {
    condition     = var.gpu == null ? true : var.gpu.min >= 1 && var.gpu.max >= var.gpu.min
    error_message = "min is 1 or more, and max is not less than min."
  }
}

# --- Machines beside the cluster -------------------------------------------------------------------------------------

variable "machine_image" {
  description = "Name of the image of the machines beside the cluster: Debian 12 or newer, or Ubuntu 24.04 or newer."
  type        = string
  nullable    = false
}

variable "proxy" {
  description = "The machine of the external nginx."
  type = object({
    flavor     = string
    volume_gib = optional(number, 20)
  })
  nullable = false
}

variable "logging" {
  description = "A machine for OpenSearch with a volume of its own; null: logs go elsewhere."
  type = object({
    flavor     = string
    volume_gib = number
  })
  default = null
}

variable "dns" {
  description = "Zone of the cloud's name service and the platform's name in it; null: the record is made elsewhere."
  type = object({
    zone        = string
    name        = string
    ttl_seconds = optional(number, 300)
  })
  default = null

  validation {
    condition     = var.dns == null ? true : endswith(var.dns.zone, ".") && endswith(var.dns.name, ".${var.dns.zone}")
    error_message = "Both end with a full stop, and the name lies in the zone: zone \"example.org.\", name \"dac.example.org.\"."
  }
}
