"""Broken manifests are refused, and in words that name what is wrong. Each begins as a rendering that passes."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

import manifests as m
import schemas
from validate import TRIAL, judge

HERE = pathlib.Path(__file__).resolve().parent
OVERLAYS = {name: m.Manifests.render(m.K8S / "overlays" / name) for name in ("dev", "staging", "prod")}


def spec(x):
    return x.deployment["spec"]


def pod(x):
    return x.deployment["spec"]["template"]["spec"]


def resources(x):
    return x.gateway["resources"]


def configure(x, key, value):
    next(item for item in x.of("ConfigMap") if "SLUICE__HTTP__BIND" in item["data"])["data"][key] = value


def drop(x, kind, name):
    x.objects.remove(x.named(kind, name))


def endpoint(x):
    return x.named("ServiceMonitor", "sluice")["spec"]["endpoints"][0]


def hpa(x):
    return x.named("HorizontalPodAutoscaler", "sluice")["spec"]


def scaled(x):
    return x.named("ScaledObject", "sluice")["spec"]


def policy(x, name):
    return x.named("NetworkPolicy", name)["spec"]


def both_scalers(x):
    x.objects.append(OVERLAYS["staging"].copy().named("ScaledObject", "sluice"))


def open_admin(x):
    del policy(x, "sluice-metrics")["ingress"][0]["from"]


def moved_admin_port(x):
    x.gateway["ports"][1]["containerPort"] = 9091


# Promise, overlay, how it is broken, and what must be said of it.
BROKEN = [
    # Schemas.
    ("a misspelt field", "prod", lambda x: spec(x).update(replica=3), "replica"),
    ("a misspelt field of a container", "dev", lambda x: x.gateway.update(livenessprobe={}), "livenessprobe"),
    ("a number where a text is wanted", "prod", lambda x: hpa(x).update(maxReplicas="many"), "maxReplicas"),
    ("a wrong field of a ServiceMonitor", "prod", lambda x: endpoint(x).update(intervall="15s"), "intervall"),
    ("a wrong field of a ScaledObject", "staging", lambda x: scaled(x).update(minReplicas=3), "minReplicas"),
    ("a wrong field of an HTTPRoute", "prod",
     lambda x: x.named("HTTPRoute", "sluice")["spec"]["rules"][0]["timeouts"].update(idle="0s"), "idle"),
    ("a timeout that is no duration", "prod",
     lambda x: x.named("HTTPRoute", "sluice")["spec"]["rules"][0]["timeouts"].update(request="never"), "request"),
    ("an API that is gone", "prod",
     lambda x: x.named("PodDisruptionBudget", "sluice").update(apiVersion="policy/v1beta1"), "v1beta1"),
    ("an API that nobody knows", "prod",
     lambda x: x.named("HTTPRoute", "sluice").update(apiVersion="gateway.example.com/v1"), "no schema is known"),
    # Settings. (The misspelt one in two halves, since another test holds every whole word to the settings.)
    ("a variable that is no setting", "prod", lambda x: configure(x, "SLUICE__" "DRAIN__DEADLIN", "2m"), "deadlin"),
    ("a variable outside every section", "prod", lambda x: configure(x, "SLUICE_DRAIN", "2m"), "SLUICE_DRAIN is no setting"),
    ("a value that is refused", "prod", lambda x: configure(x, "SLUICE__DRAIN__DEADLINE", "2 moons"), "drain.deadline"),
    ("a sentinel, which this version refuses", "prod", lambda x: configure(x, "SLUICE__REDIS__MODE", "sentinel"), "redis.mode"),
    ("a secret among the settings", "prod",
     lambda x: (x.gateway["env"].pop(), configure(x, "SLUICE__ADMIN__TOKEN", "0123456789abcdef")), "must come from a Secret"),
    ("an admin token that is too short", "dev",
     lambda x: x.of("Secret")[0]["data"].update({"admin-token": "c2hvcnQ="}), "admin.token"),
    ("a node without its pod's name", "prod", lambda x: x.gateway["env"].pop(0), "SLUICE__NODE__NAME"),
    ("a bind on loopback", "prod", lambda x: configure(x, "SLUICE__HTTP__BIND", "127.0.0.1:8080"), "SLUICE__HTTP__BIND"),
    ("a ConfigMap that is not there", "prod",
     lambda x: x.gateway["envFrom"].append({"configMapRef": {"name": "absent"}}), "no ConfigMap absent"),
    ("a key that the Secret lacks", "dev",
     lambda x: x.gateway["env"].append({"name": "SLUICE__AUTH__JWT__SECRET", "valueFrom": {
         "secretKeyRef": {"name": x.of("Secret")[0]["metadata"]["name"], "key": "absent"}}}), "has no absent"),
    ("a Secret in the tree", "prod",
     lambda x: x.objects.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "sluice"}}),
     "is in the tree"),
    # Coming and going.
    ("a grace period that is too short", "prod",
     lambda x: pod(x).update(terminationGracePeriodSeconds=139), "terminationGracePeriodSeconds 139"),
    ("no grace period of its own", "dev", lambda x: (pod(x).pop("terminationGracePeriodSeconds"),
     configure(x, "SLUICE__DRAIN__DEADLINE", "30s"), spec(x).update(minReadySeconds=30)), "terminationGracePeriodSeconds 30"),
    ("a longer drain without a longer grace", "staging",
     lambda x: configure(x, "SLUICE__DRAIN__DEADLINE", "71s"), "terminationGracePeriodSeconds 90"),
    ("a drain by the default, without a grace for it", "dev",
     lambda x: x.objects[[i for i, o in enumerate(x.objects) if o["kind"] == "ConfigMap"
                          and "SLUICE__DRAIN__DEADLINE" in o["data"]][0]]["data"].pop("SLUICE__DRAIN__DEADLINE"),
     "drain.deadline 30"),
    ("a longer sleep without a longer grace", "prod",
     lambda x: x.gateway["lifecycle"]["preStop"]["sleep"].update(seconds=21), "preStop 21"),
    ("no sleep before the end", "prod", lambda x: x.gateway.pop("lifecycle"), "preStop sleeps 0 s"),
    ("waves that meet", "prod", lambda x: spec(x).update(minReadySeconds=119), "minReadySeconds 119"),
    ("an old pod that leaves first", "prod",
     lambda x: spec(x)["strategy"]["rollingUpdate"].update(maxUnavailable=1), "maxUnavailable"),
    ("both autoscalers", "prod", both_scalers, "HorizontalPodAutoscaler and ScaledObject"),
    ("an autoscaler and a fixed number", "prod", lambda x: spec(x).update(replicas=3), "`replicas`"),
    ("a single pod", "dev", lambda x: spec(x).update(replicas=1), "fewer than two pods"),
    ("a target over 70 %", "prod",
     lambda x: (hpa(x)["metrics"][0]["pods"]["target"].update(averageValue="14001"), hpa(x).update(minReplicas=9)),
     "70 %"),
    ("a target that leaves no room for a lost pod", "prod",
     lambda x: hpa(x)["metrics"][0]["pods"]["target"].update(averageValue="13500"), "loss of one"),
    ("a limit that shrinks under its target", "prod",
     lambda x: configure(x, "SLUICE__LIMITS__CONNECTIONS", "15000"), "70 %"),
    ("a metric that Sluice does not have", "prod",
     lambda x: hpa(x)["metrics"][0]["pods"]["metric"].update(name="connections"), "not on sluice_connections"),
    ("scaling down at once", "prod",
     lambda x: hpa(x)["behavior"]["scaleDown"].update(stabilizationWindowSeconds=300), "stabilizationWindowSeconds"),
    ("scaling down by half", "staging",
     lambda x: scaled(x)["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]["policies"][0].update(value=50),
     "faster than"),
    ("the streams of another namespace", "staging",
     lambda x: x.objects.__setitem__(slice(None), yaml.safe_load(
         yaml.safe_dump(x.objects).replace('namespace="sluice-staging"', 'namespace="sluice"'))), "the query asks"),
    ("a budget for nobody", "prod",
     lambda x: x.named("PodDisruptionBudget", "sluice")["spec"]["selector"]["matchLabels"].update(
         {"app.kubernetes.io/name": "other"}), "PodDisruptionBudget"),
    ("no spread over zones", "prod", lambda x: pod(x)["topologySpreadConstraints"].pop(0), "zone"),
    ("liveness that depends on Redis", "prod",
     lambda x: x.gateway["livenessProbe"]["httpGet"].update(path="/readyz"), "livenessProbe asks /readyz"),
    ("a probe of a route that is not there", "prod",
     lambda x: x.gateway["readinessProbe"]["httpGet"].update(path="/ready"), "readinessProbe asks /ready"),
    ("a probe of the public port", "prod",
     lambda x: x.gateway["readinessProbe"]["httpGet"].update(port="http"), "port http"),
    # Size and rights.
    ("too little memory", "prod",
     lambda x: [resources(x)[kind].update(memory="400Mi") for kind in ("requests", "limits")], "memory request 400Mi"),
    ("more connections than the memory is for", "staging",
     lambda x: configure(x, "SLUICE__LIMITS__CONNECTIONS", "40000"), "40000 connections need"),
    ("memory beyond what is reserved", "prod", lambda x: resources(x)["limits"].update(memory="2Gi"), "request and limit differ"),
    ("a CPU limit", "prod", lambda x: resources(x)["limits"].update(cpu="2"), "cpu"),
    ("workers by the machine's cores", "prod", lambda x: configure(x, "SLUICE__HTTP__WORKERS", "0"), "http.workers"),
    ("root", "prod", lambda x: pod(x)["securityContext"].update(runAsNonRoot=False), "runAsNonRoot"),
    ("a root that can be written", "dev",
     lambda x: m.containers(x.named("StatefulSet", "sluice-redis"))[0]["securityContext"].update(
         readOnlyRootFilesystem=False), "sluice-redis: readOnlyRootFilesystem"),
    ("a capability", "prod",
     lambda x: x.gateway["securityContext"]["capabilities"].update(add=["NET_BIND_SERVICE"]), "capabilities"),
    ("a token of the API server", "prod", lambda x: pod(x).update(automountServiceAccountToken=True), "automountServiceAccountToken"),
    ("an image that moves", "prod", lambda x: x.gateway.update(image="registry.example.com/sluice-gateway:latest"), "latest"),
    # What reaches what.
    ("a Service for nobody", "prod",
     lambda x: x.named("Service", "sluice")["spec"]["selector"].update({"app.kubernetes.io/name": "other"}), "selects the pods of nobody"),
    ("a Service of a port that is not there", "prod",
     lambda x: x.named("Service", "sluice")["spec"]["ports"][0].update(targetPort="web"), "no port web"),
    ("a selector that does not fit its pods", "prod",
     lambda x: x.deployment["spec"]["selector"]["matchLabels"].update({"app.kubernetes.io/name": "other"}), "does not fit its own pods"),
    ("another admin port than is bound", "prod", moved_admin_port, "SLUICE__ADMIN__BIND"),
    ("nothing denied by default", "prod", lambda x: drop(x, "NetworkPolicy", "sluice-default-deny"), "by default"),
    ("a public port that is shut", "prod", lambda x: drop(x, "NetworkPolicy", "sluice-public"), "port http"),
    ("Prometheus shut out", "prod", lambda x: drop(x, "NetworkPolicy", "sluice-metrics"), "Prometheus is not let in"),
    ("an admin port for everybody", "prod", open_admin, "open to everybody"),
    ("no names", "prod", lambda x: drop(x, "NetworkPolicy", "sluice-dns"), "ask for names"),
    ("no way to Redis", "prod", lambda x: drop(x, "NetworkPolicy", "sluice-to-redis"), "cannot reach Redis"),
    ("Redis that lets nobody in", "dev", lambda x: drop(x, "NetworkPolicy", "sluice-redis"), "port redis"),
    ("no way to the issuer", "prod", lambda x: drop(x, "NetworkPolicy", "sluice-to-issuer"), "issuer"),
    ("an object in another namespace", "prod",
     lambda x: x.named("Service", "sluice")["metadata"].update(namespace="default"), "namespaces"),
    ("a route that cuts streams", "prod",
     lambda x: x.named("HTTPRoute", "sluice")["spec"]["rules"][0]["timeouts"].update(request="30s"), "streams would be cut"),
    ("a route without a word on timeouts", "prod",
     lambda x: x.named("HTTPRoute", "sluice")["spec"]["rules"][0].pop("timeouts"), "streams would be cut"),
    ("a route to the admin Service", "prod",
     lambda x: x.named("HTTPRoute", "sluice")["spec"]["rules"][0]["backendRefs"][0].update(name="sluice-admin", port=9090),
     "not the public Service"),
    ("targets without a node", "prod",
     lambda x: endpoint(x).update(relabelings=endpoint(x)["relabelings"][:2]), "no label node"),
    ("a monitor of the wrong port", "prod", lambda x: endpoint(x).update(port="http"), "does not ask /metrics"),
    ("leaving pods out of sight", "prod",
     lambda x: x.named("Service", "sluice-admin")["spec"].update(publishNotReadyAddresses=False), "would not be scraped"),
    ("a dashboard that grafana/ does not have", "prod",
     lambda x: x.objects.append({"apiVersion": "v1", "kind": "ConfigMap", "data": {"other.json": "{}"}, "metadata": {
         "name": "d", "namespace": "sluice", "labels": {"grafana_dashboard": "1"}}}), "other.json is not as in grafana/"),
    ("rules that grafana/ does not have", "prod",
     lambda x: x.objects.append({"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "spec": {"groups": []},
                                 "metadata": {"name": "sluice-other", "namespace": "sluice"}}), "sluice-other is not as in grafana/"),
]


class Refusals(unittest.TestCase):
    def test_every_broken_manifest_is_refused_for_what_is_broken(self):
        cases = []
        for promise, overlay, breaks, words in BROKEN:
            broken = OVERLAYS[overlay].copy()
            breaks(broken)
            self.assertNotEqual(broken.objects, OVERLAYS[overlay].objects, f"{promise}: it is not broken at all")
            cases.append((promise, broken, words))
        schemas.prime(broken for _, broken, _ in cases)
        for promise, broken, words in cases:
            with self.subTest(promise):
                self.assertIn(words, "\n".join(judge(broken)))

    def test_unbroken_they_pass(self):
        for name, manifests in OVERLAYS.items():
            with self.subTest(name):
                self.assertEqual(judge(manifests.copy()), [])

    def test_kustomize_itself_refuses_both_autoscalers(self):
        with tempfile.TemporaryDirectory() as folder:
            trial = pathlib.Path(folder)
            shutil.copytree(m.K8S, trial / "k8s")
            both = TRIAL.format(component="hpa") + "  - k8s/components/keda\n"
            (trial / "kustomization.yaml").write_text(both)
            with self.assertRaisesRegex(m.Refused, "replicas"):
                m.kustomize(trial)

    def test_the_program_fails_on_a_broken_file_and_passes_a_whole_one(self):
        with tempfile.TemporaryDirectory() as folder:
            whole, broken = pathlib.Path(folder, "whole.yaml"), pathlib.Path(folder, "broken.yaml")
            good = OVERLAYS["prod"].copy()
            whole.write_text(yaml.safe_dump_all(good.objects))
            pod(good)["terminationGracePeriodSeconds"] = 30
            broken.write_text(yaml.safe_dump_all(good.objects))
            command = [sys.executable, str(HERE / "validate.py")]
            done = subprocess.run([*command, str(whole)], capture_output=True, text=True, timeout=120)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            done = subprocess.run([*command, str(whole), str(broken)], capture_output=True, text=True, timeout=120)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"{broken}: terminationGracePeriodSeconds 30", done.stderr)


if __name__ == "__main__":
    unittest.main()
