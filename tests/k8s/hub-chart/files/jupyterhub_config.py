"""JupyterHub on a cluster as the stand-in's values say; what they add comes last."""

import json
import os
import sys
from pathlib import Path

VALUES = json.loads(Path(__file__).with_name("values.json").read_text())
HUB, SERVERS, CULLING = VALUES["hub"], VALUES["singleuser"], VALUES["cull"]
STORAGE = SERVERS["storage"]

c = get_config()  # noqa: F821 - JupyterHub provides it

c.JupyterHub.hub_bind_url = "http://:8081"
c.JupyterHub.hub_connect_url = "http://hub:8081"
c.JupyterHub.db_url = "sqlite:///jupyterhub.sqlite"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://proxy-api:8001"

c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
pods = c.KubeSpawner
pods.namespace = os.environ["POD_NAMESPACE"]
pods.common_labels = {"app": "jupyterhub", "release": os.environ["RELEASE_NAME"]}
pods.extra_labels = {"hub.jupyter.org/network-access-hub": "true"}
pods.image = "{name}:{tag}".format_map(SERVERS["image"])
pods.image_pull_policy = SERVERS["image"]["pullPolicy"]
pods.image_pull_secrets = SERVERS["image"]["pullSecrets"]
pods.start_timeout = SERVERS["startTimeout"]
pods.cpu_guarantee, pods.cpu_limit = (SERVERS["cpu"].get(key) for key in ("guarantee", "limit"))
pods.mem_guarantee, pods.mem_limit = (SERVERS["memory"].get(key) for key in ("guarantee", "limit"))
pods.node_selector = SERVERS["nodeSelector"]
pods.tolerations = SERVERS["extraTolerations"]
pods.uid = 1000
pods.fs_gid = 100
pods.service_account = None
pods.allow_privilege_escalation = False
pods.pod_security_context = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
pods.container_security_context = {"capabilities": {"drop": ["ALL"]}}

if STORAGE["type"] != "none":
    claim, mount = "{pvc_name}", {"name": "home", "mountPath": STORAGE["homeMountPath"]}
    if STORAGE["type"] == "static":
        claim = STORAGE["static"]["pvcName"]
        mount["subPath"] = STORAGE["static"]["subPath"]
    else:
        pods.storage_pvc_ensure = True
        pods.storage_capacity = STORAGE["capacity"]
        pods.storage_access_modes = ["ReadWriteOnce"]
        pods.storage_class = STORAGE["dynamic"].get("storageClass")
    pods.volumes = {"home": {"name": "home", "persistentVolumeClaim": {"claimName": claim}}}
    pods.volume_mounts = {"home": mount}

c.JupyterHub.services = []
c.JupyterHub.load_roles = []
if CULLING["enabled"]:
    culler = "idle-culler"
    c.JupyterHub.services.append(
        {
            "name": culler,
            "command": [
                *(sys.executable, "-m", "jupyterhub_idle_culler"),
                "--url=http://127.0.0.1:8081/hub/api",  # the hub's policy lets no hub in
                f"--timeout={CULLING['timeout']}",
                f"--cull-every={CULLING['every']}",
            ],
        }
    )
    scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
    c.JupyterHub.load_roles.append({"name": culler, "services": [culler], "scopes": scopes})

for _, code in sorted(HUB["extraConfig"].items()):
    exec(code)
