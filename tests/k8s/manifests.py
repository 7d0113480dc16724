"""Rendered manifests, and what is asked of them again and again. It renders by kustomize and judges nothing."""

import copy
import os
import pathlib
import subprocess

import yaml

# The one in C, where PyYAML was built with it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
ROOT = pathlib.Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
# Kinds whose pods run something.
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")


class Refused(Exception):
    """What kustomize will not render, in its own words."""


def load(text):
    return yaml.load(text, Loader=LOADER)


def kustomize(folder):
    """The manifests that `kubectl kustomize FOLDER` prints, with no flag."""
    command = os.environ.get("SLUICE_KUSTOMIZE", "kubectl kustomize").split()
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise Refused(done.stderr.strip())
    return done.stdout


class Manifests:
    """The objects of one rendering. `overlay` says that they are complete: somebody may apply them."""

    def __init__(self, name, objects, overlay=True):
        self.name = name
        self.objects = objects
        self.overlay = overlay

    @classmethod
    def parse(cls, name, text, overlay=True):
        return cls(name, [item for item in yaml.load_all(text, Loader=LOADER) if item], overlay)

    @classmethod
    def render(cls, folder, overlay=True):
        name = os.path.relpath(folder, ROOT)
        return cls.parse(name, kustomize(folder), overlay)

    def copy(self):
        return Manifests(self.name, copy.deepcopy(self.objects), self.overlay)

    def of(self, *kinds):
        return [item for item in self.objects if item["kind"] in kinds]

    def named(self, kind, name):
        """The object of this kind and name, or None."""
        return next((item for item in self.of(kind) if item["metadata"]["name"] == name), None)

    def workloads(self):
        return self.of(*WORKLOADS)

    @property
    def deployment(self):
        """The gateways."""
        return self.named("Deployment", "sluice")

    @property
    def gateway(self):
        """Their container."""
        return self.deployment["spec"]["template"]["spec"]["containers"][0]

    def labels_of_pods(self):
        """The labels of each workload's pods, by the workload's name."""
        return {
            item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"]
            for item in self.workloads()
        }


def pod(workload):
    return workload["spec"]["template"]["spec"]


def containers(workload):
    spec = pod(workload)
    return spec.get("initContainers", []) + spec["containers"]


def ports(workload):
    """Port numbers of a workload's containers by their names."""
    return {
        port.get("name"): port["containerPort"]
        for container in containers(workload)
        for port in container.get("ports", [])
    }


def selects(selector, labels):
    """Whether a label selector (of equalities) fits these labels. An empty one fits all."""
    wanted = selector.get("matchLabels", selector if "matchExpressions" not in selector else {})
    return all(labels.get(key) == value for key, value in wanted.items())
