"""Rules on what reaches what: selectors, Services, network policies, routes, and what Prometheus and Grafana are given."""

import functools
import json
import re
import urllib.parse

import settings
from manifests import ROOT, load, ports, selects

# Of a ConfigMap, by the API server.
MOST_BYTES = 1024 * 1024


def selectors(manifests):
    """Each selector fits the pods of exactly one workload, and each named port is one of theirs."""
    pods = manifests.labels_of_pods()
    found = []
    for workload in manifests.workloads():
        name = workload["metadata"]["name"]
        if not selects(workload["spec"]["selector"], pods[name]):
            found.append(f"{name}: its selector does not fit its own pods")
    for service in manifests.of("Service"):
        name = service["metadata"]["name"]
        fitting = [other for other, labels in pods.items() if selects(service["spec"]["selector"], labels)]
        if len(fitting) != 1:
            found.append(f"Service {name} selects the pods of {fitting or 'nobody'}")
            continue
        known = ports(next(item for item in manifests.workloads() if item["metadata"]["name"] == fitting[0]))
        for port in service["spec"]["ports"]:
            if port.get("targetPort") not in known:
                found.append(f"Service {name}: the pods have no port {port.get('targetPort')}")
            if "appProtocol" not in port:
                found.append(f"Service {name}: port {port.get('name')} has no appProtocol")
    for item in manifests.of("StatefulSet"):
        if not manifests.named("Service", item["spec"]["serviceName"]):
            found.append(f"StatefulSet {item['metadata']['name']}: there is no Service {item['spec']['serviceName']}")
    return found


def policies_of(manifests, labels, direction):
    return [
        item["spec"]
        for item in manifests.of("NetworkPolicy")
        if direction in item["spec"].get("policyTypes", []) and selects(item["spec"]["podSelector"], labels)
    ]


def admitting(manifests, workload, name, number):
    """The ingress rules that let TCP into this port of a workload's pods."""
    labels = workload["spec"]["template"]["metadata"]["labels"]
    return [
        rule
        for spec in policies_of(manifests, labels, "Ingress")
        for rule in spec.get("ingress", [])
        for port in rule.get("ports", [{}])
        if port.get("protocol", "TCP") == "TCP" and port.get("port", number) in (name, number)
    ]


def way_out(manifests, number, protocol="TCP"):
    """Whether the gateways may go to some place's port of this number."""
    labels = manifests.labels_of_pods()["sluice"]
    return any(
        port.get("protocol", "TCP") == protocol and port.get("port", number) == number
        for spec in policies_of(manifests, labels, "Egress")
        for rule in spec.get("egress", [])
        for port in rule.get("ports", [{}])
    )


def default_deny(manifests):
    """Nothing in and nothing out that no policy names, for every pod."""
    found = []
    for name, labels in manifests.labels_of_pods().items():
        for direction in ("Ingress", "Egress"):
            specs = policies_of(manifests, labels, direction)
            if not any(not spec.get(direction.lower()) for spec in specs):
                found.append(f"{name}: no policy denies {direction.lower()} by default")
    for item in manifests.of("NetworkPolicy"):
        if not any(selects(item["spec"]["podSelector"], labels) for labels in manifests.labels_of_pods().values()):
            found.append(f"NetworkPolicy {item['metadata']['name']} selects nobody")
    return found


def ways_in(manifests):
    """What Services offer is let in; the admin port from named places only."""
    found = []
    for workload in manifests.workloads():
        for name, number in ports(workload).items():
            rules = admitting(manifests, workload, name, number)
            if name == "admin":
                if any("from" not in rule for rule in rules):
                    found.append("the admin port is open to everybody")
                if manifests.of("ServiceMonitor") and not rules:
                    found.append("Prometheus is not let in to the admin port")
            elif not rules:
                found.append(f"{workload['metadata']['name']}: nobody is let in to port {name}")
    return found


def ways_out(manifests):
    """DNS, Redis, and the issuer where keys come from a URL."""
    found = [
        f"the gateways cannot ask for names over {protocol}"
        for protocol in ("UDP", "TCP")
        if not way_out(manifests, 53, protocol)
    ]
    if not manifests.overlay:
        return found
    environment = settings.environment(manifests)
    redis = urllib.parse.urlsplit(environment.get("SLUICE__REDIS__URL", ""))
    if not way_out(manifests, redis.port or 6379):
        found.append("the gateways cannot reach Redis")
    service = manifests.named("Service", redis.hostname)
    if redis.hostname and "." not in redis.hostname and not service:
        found.append(f"there is no Service {redis.hostname}, which is the host of Redis")
    issuer = urllib.parse.urlsplit(environment.get("SLUICE__AUTH__JWT__JWKS_URL", ""))
    if issuer.hostname and not way_out(manifests, issuer.port or 443):
        found.append("the gateways cannot reach the issuer's keys")
    return found


def namespaces(manifests):
    """An overlay's objects are all in its own namespace."""
    if not manifests.overlay:
        return []
    own = [item["metadata"]["name"] for item in manifests.of("Namespace")]
    inside = {item["metadata"].get("namespace") for item in manifests.objects if item["kind"] != "Namespace"}
    return [] if len(own) == 1 and inside == set(own) else [f"namespaces {sorted(map(str, inside))} beside {own}"]


def routes(manifests):
    """Streams are not limited in time, the public Service is behind the route, the admin one never."""
    found = []
    for route in manifests.of("HTTPRoute"):
        if not route["spec"].get("parentRefs") or not route["spec"].get("hostnames"):
            found.append("HTTPRoute: it names no Gateway or no host")
        for rule in route["spec"]["rules"]:
            timeouts = rule.get("timeouts", {})
            for name in ("request", "backendRequest"):
                if timeouts.get(name) != "0s":
                    found.append(f"HTTPRoute: timeouts.{name} is {timeouts.get(name)}: streams would be cut")
            if [match["path"]["value"] for match in rule.get("matches", [])] != ["/v1"]:
                found.append("HTTPRoute: it must lead to /v1 and nowhere else")
            for backend in rule["backendRefs"]:
                service = manifests.named("Service", backend["name"])
                offered = service and [port["port"] for port in service["spec"]["ports"]]
                if backend["name"] != "sluice" or backend.get("port") not in (offered or []):
                    found.append(f"HTTPRoute: {backend['name']}:{backend.get('port')} is not the public Service")
    return found


def scraping(manifests):
    """The ServiceMonitor finds the admin Service, and gives the labels that dashboards and rules go by."""
    found = []
    for monitor in manifests.of("ServiceMonitor"):
        spec = monitor["spec"]
        fitting = [item for item in manifests.of("Service") if selects(spec["selector"], item["metadata"]["labels"])]
        if [item["metadata"]["name"] for item in fitting] != ["sluice-admin"]:
            found.append("ServiceMonitor: it must select the Service sluice-admin alone")
            continue
        service = fitting[0]
        if service["metadata"]["labels"].get(spec.get("jobLabel")) != "sluice":
            found.append("ServiceMonitor: the label `job` would not be sluice")
        if not service["spec"].get("publishNotReadyAddresses"):
            found.append("Service sluice-admin: leaving pods would not be scraped")
        offered = [port["name"] for port in service["spec"]["ports"]]
        for endpoint in spec["endpoints"]:
            if endpoint.get("port") not in offered or endpoint.get("path") != "/metrics":
                found.append("ServiceMonitor: it does not ask /metrics at a port of the Service")
            given = {rule.get("targetLabel"): rule for rule in endpoint.get("relabelings", [])}
            for label in ("cluster", "namespace", "pod", "node"):
                if label not in given:
                    found.append(f"ServiceMonitor: targets get no label {label}")
            if given.get("node", {}).get("sourceLabels") != ["__meta_kubernetes_pod_name"]:
                found.append("ServiceMonitor: the label `node` is not the pod's name")
    return found


@functools.lru_cache(maxsize=None)
def grafana():
    """The dashboards by file, and the rules by the object that they become."""
    dashboards = {path.name: path.read_text() for path in (ROOT / "grafana/dashboards").glob("*.json")}
    rules = {
        re.sub(r"^(sluice-)?", "sluice-", path.stem): load(path.read_text())
        for path in (ROOT / "grafana/rules").glob("*.yaml")
    }
    return dashboards, rules


def given_to_grafana(manifests):
    """Rules and dashboards are those of grafana/, each of them and no other."""
    if not manifests.of("ServiceMonitor"):
        return []
    found = []
    dashboards, rules = grafana()
    carried = {
        name: text
        for item in manifests.of("ConfigMap")
        if item["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
        for name, text in item["data"].items()
    }
    for name in sorted(dashboards.keys() | carried.keys()):
        if dashboards.get(name) != carried.get(name):
            found.append(f"dashboard {name} is not as in grafana/: run `make k8s-generate`")
        elif len(carried[name].encode()) > MOST_BYTES - 4096:
            found.append(f"dashboard {name} is too large for a ConfigMap")
        else:
            json.loads(carried[name])
    made = {item["metadata"]["name"]: item["spec"] for item in manifests.of("PrometheusRule")}
    for name in sorted(rules.keys() | made.keys()):
        if rules.get(name) != made.get(name):
            found.append(f"PrometheusRule {name} is not as in grafana/: run `make k8s-generate`")
    return found


RULES = [selectors, default_deny, ways_in, ways_out, namespaces, routes, scraping, given_to_grafana]
