"""Rules on what runs: its settings, its size, and how little it may do."""

import re

import settings
from manifests import ROOT, containers, pod, ports

# Kernel memory of an idle socket, which counts for the pod, and what does not grow with the connections. Both are explained in
# docs/kubernetes.md, which must state the same.
KERNEL_BYTES = 4_200
FIXED_MIB = 128
MIB = 1024 * 1024
QUANTITIES = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 1024, "Mi": MIB, "Gi": 1024 * MIB}
SECRET_SETTINGS = ("SLUICE__REDIS__URL", "SLUICE__ADMIN__TOKEN", "SLUICE__AUTH__JWT__SECRET")


def quantity(text):
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)).groups()
    return float(number) * QUANTITIES[unit]


def measured_bytes():
    """Resident bytes of an idle connection, as the README has measured them."""
    row = re.search(r"resident memory per idle connection[^|]*\|\s*([0-9.]+) kB", (ROOT / "README.md").read_text())
    if row is None:
        raise RuntimeError("README.md has no row on the memory of an idle connection")
    return float(row.group(1)) * 1000


def size(manifests):
    """The memory that the limit of connections needs, all of it reserved; CPU requested and never throttled."""
    resources = manifests.gateway.get("resources", {})
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    config = settings.in_force(manifests)
    connections = config["limits"]["connections"]
    needed = connections * (measured_bytes() + KERNEL_BYTES) + FIXED_MIB * MIB
    found = []
    if connections == 0:
        found.append("limits.connections is fitted to descriptors: the memory request cannot follow it")
    if quantity(requests.get("memory", 0)) < needed:
        found.append(
            f"memory request {requests.get('memory')} is under the {needed / MIB:.0f} Mi that {connections} connections need"
        )
    if requests.get("memory") != limits.get("memory"):
        found.append("memory: request and limit differ, so that a pod can be evicted for what it was promised")
    if "cpu" not in requests or "cpu" in limits:
        found.append("cpu: it must be requested, and must not be limited (throttling makes events late)")
    if config["http"]["workers"] == 0:
        found.append("http.workers follows the machine's cores: set it to what the pod may use")
    return found


def start(manifests):
    """The gateway would start with these settings: the binary itself says so."""
    try:
        settings.in_force(manifests)
    except settings.Refused as refusal:
        return [f"the gateway would not start: {refusal}"]
    return []


def known_settings():
    section, keys = "", set()
    for line in (ROOT / "gateway/src/defaults.toml").read_text().splitlines():
        if head := re.fullmatch(r"\[([a-z.]+)\]", line):
            section = head.group(1)
        elif key := re.match(r"([a-z0-9_]+) = ", line):
            keys.add(f"SLUICE__{section}.{key.group(1)}".replace(".", "__").upper())
    return keys


def variables(manifests):
    """Every variable is a setting; addresses are the ports; secrets come from a Secret; a node goes by its pod's name."""
    found = []
    environment = settings.environment(manifests)
    for name in sorted(set(environment) - known_settings()):
        found.append(f"{name} is no setting")
    own = {item["name"]: item for item in manifests.gateway.get("env", [])}
    for name in SECRET_SETTINGS:
        if name in environment and "secretKeyRef" not in own.get(name, {}).get("valueFrom", {}):
            found.append(f"{name} must come from a Secret")
    field = own.get("SLUICE__NODE__NAME", {}).get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
    if field != "metadata.name":
        found.append("SLUICE__NODE__NAME must be the pod's name")
    for port, name in (("http", "SLUICE__HTTP__BIND"), ("admin", "SLUICE__ADMIN__BIND")):
        bound = environment.get(name, "")
        if bound != f"0.0.0.0:{ports(manifests.deployment).get(port)}":
            found.append(f"{name} is {bound!r}: that is not the container's port {port}, on every address")
    return found


def references(manifests):
    """What a pod names is there: ConfigMaps always, Secrets unless it is the one that an overlay expects to be there."""
    found = []
    for workload in manifests.workloads():
        for container in containers(workload):
            for source in container.get("envFrom", []):
                name = source.get("configMapRef", {}).get("name")
                if name and not manifests.named("ConfigMap", name):
                    found.append(f"{workload['metadata']['name']}: there is no ConfigMap {name}")
            for variable in container.get("env", []):
                secret = variable.get("valueFrom", {}).get("secretKeyRef")
                holder = secret and manifests.named("Secret", secret["name"])
                if holder and secret["key"] not in settings.values(holder):
                    found.append(f"Secret {secret['name']} has no {secret['key']}")
                elif secret and not holder and secret["name"] != "sluice-secrets":
                    found.append(f"there is no Secret {secret['name']}")
        for volume in pod(workload).get("volumes", []):
            name = volume.get("configMap", {}).get("name")
            if name and not manifests.named("ConfigMap", name):
                found.append(f"{workload['metadata']['name']}: there is no ConfigMap {name}")
    return found


def no_secret_in_the_tree(manifests):
    """Secrets only where they are obviously for development."""
    if not manifests.overlay or manifests.name.endswith("/dev"):
        return []
    return [f"Secret {item['metadata']['name']} is in the tree" for item in manifests.of("Secret")]


def restricted(manifests):
    """Every pod meets the restricted standard, with a root that cannot be written, and no token of the API server."""
    found = []
    for workload in manifests.workloads():
        name, spec = workload["metadata"]["name"], pod(workload)
        of_pod = spec.get("securityContext", {})
        wanted = [
            (of_pod.get("runAsNonRoot") is True, "runAsNonRoot"),
            (of_pod.get("runAsUser", 0) > 0, "runAsUser"),
            (of_pod.get("seccompProfile", {}).get("type") == "RuntimeDefault", "seccompProfile"),
            (spec.get("automountServiceAccountToken") is False, "automountServiceAccountToken"),
            (spec.get("enableServiceLinks") is False, "enableServiceLinks"),
            (not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), "host namespaces"),
            (not any("hostPath" in volume for volume in spec.get("volumes", [])), "hostPath"),
        ]
        for container in containers(workload):
            own = container.get("securityContext", {})
            wanted += [
                (own.get("allowPrivilegeEscalation") is False, "allowPrivilegeEscalation"),
                (own.get("readOnlyRootFilesystem") is True, "readOnlyRootFilesystem"),
                (own.get("capabilities") == {"drop": ["ALL"]}, "capabilities"),
                (not own.get("privileged"), "privileged"),
            ]
        found += [f"{name}: {what} is not as restricted pods have it" for good, what in wanted if not good]
    for item in manifests.of("ServiceAccount"):
        if item.get("automountServiceAccountToken") is not False:
            found.append(f"ServiceAccount {item['metadata']['name']} mounts its token")
    for item in manifests.of("Namespace"):
        if item["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            found.append(f"Namespace {item['metadata']['name']} does not enforce the restricted standard")
    return found


def images(manifests):
    """Each image has a tag that does not move by its name."""
    found = []
    for workload in manifests.workloads():
        for container in containers(workload):
            _, _, tag = container["image"].rpartition("/")[2].partition(":")
            if tag in ("", "latest") and "@sha256:" not in container["image"]:
                found.append(f"{container['image']}: an image needs a tag, and not `latest`")
    return found


# `start` comes first: the others ask for the settings in force.
RULES = [start, size, variables, references, no_secret_in_the_tree, restricted, images]
