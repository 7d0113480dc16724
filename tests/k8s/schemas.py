"""Every object against the schema of its kind, with no network. Unknown fields are refused, in Kubernetes' own kinds and in
those of the Prometheus Operator, KEDA and the Gateway API."""

import functools
import json
import os
import pathlib
import subprocess

import kubernetes_validate
from kubernetes_validate import utils

from manifests import ROOT

# The oldest that has what the manifests use by default (preStop `sleep`), what kubectl here is of, the newest that is known.
VERSIONS = ("1.30", "1.32", "1.37")
OWN_GROUPS = ("", "apps", "autoscaling", "batch", "networking.k8s.io", "policy", "rbac.authorization.k8s.io")

# Each file of schemas once; they are large.
utils.schema_contents = functools.lru_cache(maxsize=None)(utils.schema_contents)
judged = {}


def where(item):
    return f"{item.get('kind')} {item.get('metadata', {}).get('name')}"


def schemas(manifests):
    """A complaint for each object that its schema refuses."""
    own = [item for item in manifests.objects if is_own(item)]
    return [text for item in own for text in of_kubernetes(item)] + of_definitions(custom(manifests))


def prime(many):
    """Judges the custom resources of many manifests at once: the program that does it takes long to start."""
    of_definitions([item for manifests in many for item in custom(manifests)])


def is_own(item):
    version = item.get("apiVersion", "")
    return (version.split("/")[0] if "/" in version else "") in OWN_GROUPS


def custom(manifests):
    return [item for item in manifests.objects if not is_own(item)]


def of_kubernetes(item):
    key = json.dumps(item, sort_keys=True, default=str)
    if key not in judged:
        judged[key] = [text for version in VERSIONS for text in by_version(item, version)]
    return judged[key]


def by_version(item, version):
    try:
        kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        path = ".".join(str(step) for step in error.path)
        return [f"{where(item)}: Kubernetes {version}: {path}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [f"{where(item)}: {error.message}"]
    return []


def of_definitions(items):
    new = {text: item for item in items if (text := json.dumps(item)) not in judged}
    if new:
        found = by_definition(list(new.values()))
        for index, (text, item) in enumerate(new.items()):
            judged[text] = [f"{where(item)}: {entry['complaint']}" for entry in found if entry["index"] == index]
    return [complaint for item in items for complaint in judged[json.dumps(item)]]


def by_definition(items):
    installed = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "k8s" / "node"
    done = subprocess.run(
        ["node", str(pathlib.Path(__file__).with_name("crds.mjs")), str(installed)],
        input=json.dumps(items),
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the schemas of custom resources do not load: {done.stderr}")
    return json.loads(done.stdout)
