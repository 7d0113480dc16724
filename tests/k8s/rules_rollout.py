"""Rules on how pods come and go: time to leave, waves that do not meet, and how many pods there are."""

import re

import settings
from manifests import ROOT, pod, selects

# Beyond preStop and drain, for the last writes and the process's end.
SPARE_SECONDS = 10
# Shorter, and balancers still send newcomers to a pod whose streams begin to end.
FORGOTTEN_SECONDS = 5
MOST_OF_THE_LIMIT = 0.7
QUIET_SECONDS, WAVE_SECONDS, WAVE_PERCENT = 900, 300, 10


def pre_stop(container):
    return container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)


def grace(manifests):
    """terminationGracePeriodSeconds >= preStop + drain.deadline + 10 s."""
    drain = settings.seconds(settings.in_force(manifests)["drain"]["deadline"])
    sleep = pre_stop(manifests.gateway)
    given = pod(manifests.deployment).get("terminationGracePeriodSeconds", 30)
    found = []
    if given < sleep + drain + SPARE_SECONDS:
        found.append(
            f"terminationGracePeriodSeconds {given} is less than preStop {sleep} + drain.deadline"
            f" {drain:g} + {SPARE_SECONDS}: streams would be cut, not ended"
        )
    if sleep < FORGOTTEN_SECONDS:
        found.append(f"preStop sleeps {sleep} s: balancers need {FORGOTTEN_SECONDS} s to forget a pod")
    return found


def surge(manifests):
    """A new pod first, and the next old one only when the streams of the one before have moved."""
    spec = manifests.deployment["spec"]
    drain = settings.seconds(settings.in_force(manifests)["drain"]["deadline"])
    rolling = spec.get("strategy", {}).get("rollingUpdate", {})
    startup = manifests.gateway.get("startupProbe", {})
    longest = startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3)
    found = []
    if rolling.get("maxUnavailable") != 0 or rolling.get("maxSurge") in (None, 0):
        found.append("strategy: maxUnavailable must be 0 and maxSurge at least 1")
    if spec.get("minReadySeconds", 0) < drain:
        found.append(
            f"minReadySeconds {spec.get('minReadySeconds', 0)} is less than drain.deadline {drain:g}:"
            " several pods would leave at once"
        )
    if spec.get("progressDeadlineSeconds", 600) <= spec.get("minReadySeconds", 0) + longest:
        found.append("progressDeadlineSeconds is over before a pod can count as available")
    return found


def scalers(manifests):
    return [
        item
        for item in manifests.of("HorizontalPodAutoscaler", "ScaledObject")
        if item["spec"]["scaleTargetRef"]["name"] == "sluice"
    ]


def one_autoscaler(manifests):
    """The HPA or KEDA or a fixed number, and never two of them."""
    found, replicas = [], manifests.deployment["spec"].get("replicas")
    kinds = sorted(item["kind"] for item in scalers(manifests))
    if len(kinds) > 1:
        found.append(f"{' and '.join(kinds)} would both set the number of pods: take one")
    if kinds and replicas is not None:
        found.append("an autoscaler and `replicas` would both set the number of pods")
    if not kinds and (replicas or 1) < 2:
        found.append("fewer than two pods: one that leaves takes all streams with it")
    for item in scalers(manifests):
        target = item["spec"]["scaleTargetRef"]
        if (target.get("apiVersion"), target.get("kind")) != ("apps/v1", "Deployment"):
            found.append(f"{item['kind']}: its target is no Deployment")
    return found


def shape(item):
    """The least pods, the metric, its target per pod and the behaviour, of an HPA or a ScaledObject."""
    spec = item["spec"]
    if item["kind"] == "HorizontalPodAutoscaler":
        metric = spec["metrics"][0].get("pods", {})
        target = metric.get("target", {})
        return (
            spec.get("minReplicas", 1),
            metric.get("metric", {}).get("name", ""),
            target.get("averageValue", 0),
            spec.get("behavior", {}),
        )
    trigger = spec["triggers"][0]
    advanced = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {})
    query = trigger["metadata"].get("query", "")
    metric = re.search(r"\bsluice_\w+", query)
    return (
        spec.get("minReplicaCount", 0),
        metric.group() if metric else "",
        trigger["metadata"].get("threshold", 0),
        advanced.get("behavior", {}),
    )


def scaling(manifests):
    """By streams per pod, with room for a lost pod, and down slowly."""
    found = []
    limit = settings.in_force(manifests)["limits"]["connections"]
    for item in scalers(manifests):
        least, metric, target, behavior = shape(item)
        target = float(target)
        if metric != "sluice_connections":
            found.append(f"{item['kind']}: scales on {metric or 'nothing of Sluice'}, not on sluice_connections")
        if not 0 < target <= MOST_OF_THE_LIMIT * limit:
            found.append(f"{item['kind']}: {target:g} per pod is not within 70 % of limits.connections {limit}")
        if least < 2 or target * least > limit * (least - 1):
            found.append(
                f"{item['kind']}: with {least} pods at {target:g} streams of {limit}, the loss of one does not fit"
            )
        found += [f"{item['kind']}: {text}" for text in down(behavior.get("scaleDown", {}))]
        if item["kind"] == "ScaledObject":
            found += keda(item)
    return found


def down(behavior):
    if behavior.get("stabilizationWindowSeconds", 300) < QUIET_SECONDS:
        yield f"scaleDown: stabilizationWindowSeconds is under {QUIET_SECONDS}"
    policies = behavior.get("policies", [])
    slow = [
        policy["type"] == "Percent"
        and policy["value"] <= WAVE_PERCENT
        and policy["periodSeconds"] >= WAVE_SECONDS
        for policy in policies
    ]
    if not policies or not all(slow):
        yield f"scaleDown: faster than {WAVE_PERCENT} % in {WAVE_SECONDS} s"


def keda(item):
    trigger = item["spec"]["triggers"][0]
    namespace = item["metadata"].get("namespace")
    asked = re.findall(r'namespace="([^"]*)"', trigger["metadata"].get("query", ""))
    if namespace and asked != [namespace]:
        yield f"ScaledObject: the query asks for namespace {asked}, and this is {namespace}"
    if trigger["metadata"].get("ignoreNullValues") != "false":
        yield "ScaledObject: without an answer of Prometheus it would scale to the least: ignoreNullValues"
    if "fallback" in item["spec"]:
        yield "ScaledObject: `fallback` sets a number of its own when Prometheus is away"


def disruptions(manifests):
    """Drains of machines take one gateway at a time, and spread pods over zones and machines."""
    labels = manifests.labels_of_pods()["sluice"]
    budgets = [
        item for item in manifests.of("PodDisruptionBudget") if selects(item["spec"]["selector"], labels)
    ]
    found = []
    if [item["spec"].get("maxUnavailable") for item in budgets] != [1]:
        found.append("there must be one PodDisruptionBudget of the gateways, with maxUnavailable 1")
    spread = pod(manifests.deployment).get("topologySpreadConstraints", [])
    fitting = {item["topologyKey"] for item in spread if selects(item["labelSelector"], labels)}
    for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname"):
        if key not in fitting:
            found.append(f"the gateways are not spread over {key}")
    return found


def probes(manifests):
    """Each probe asks a route that is there; only readiness may depend on more than the process."""
    routes = set(re.findall(r'\.route\("(/\w+)"', (ROOT / "gateway/src/http/probes.rs").read_text()))
    wanted = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    found = []
    for kind, path in wanted.items():
        asked = manifests.gateway.get(kind, {}).get("httpGet", {})
        if asked.get("path") != path or path not in routes:
            found.append(f"{kind} asks {asked.get('path')}, not {path}")
        if asked.get("port") != "admin":
            found.append(f"{kind} asks port {asked.get('port')}, not admin")
    return found


RULES = [grace, surge, one_autoscaler, scaling, disruptions, probes]
