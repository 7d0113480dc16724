"""Renders and judges the manifests of k8s/: the base, each component on the base, and each overlay.

    validate.py [--keep FOLDER]     the tree; what was rendered is kept in FOLDER, a file for each
    validate.py FILE…               files that somebody rendered, each a whole deployment
"""

import argparse
import pathlib
import shutil
import sys
import tempfile
import time

import rules_network
import rules_pods
import rules_rollout
import schemas
from manifests import K8S, Manifests, Refused, kustomize

RULES = [*rules_pods.RULES, *rules_rollout.RULES, *rules_network.RULES]
# A component alone on the base. It is made anew for each, beside the tree, as kustomize takes no absolute path.
TRIAL = """apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - k8s/base
components:
  - k8s/components/{component}
"""


def judge(manifests):
    """Every complaint about these manifests. Objects that no schema accepts are not judged further."""
    found = schemas.schemas(manifests)
    if found:
        return found
    if manifests.deployment is None:
        return ["there is no Deployment sluice"]
    if refused := rules_pods.start(manifests):
        return refused
    return [complaint for rule in RULES for complaint in rule(manifests)]


def components():
    return sorted(folder.name for folder in (K8S / "components").iterdir())


def overlays():
    return sorted(folder.name for folder in (K8S / "overlays").iterdir())


def tree():
    """All renderings: (name, manifests or the refusal)."""
    yield rendered("base", K8S / "base", overlay=False)
    with tempfile.TemporaryDirectory() as folder:
        trial = pathlib.Path(folder)
        shutil.copytree(K8S, trial / "k8s")
        if (K8S.parent / "grafana").exists():
            shutil.copytree(K8S.parent / "grafana", trial / "grafana")
        for component in components():
            (trial / "kustomization.yaml").write_text(TRIAL.format(component=component))
            yield rendered(f"component {component}", trial, overlay=False)
    for overlay in overlays():
        yield rendered(f"overlays/{overlay}", K8S / "overlays" / overlay, overlay=True)


def rendered(name, folder, overlay):
    try:
        return name, Manifests.parse(name, kustomize(folder), overlay)
    except Refused as refusal:
        return name, refusal


def from_files(paths):
    for path in paths:
        yield path, Manifests.parse(path, pathlib.Path(path).read_text())


def keep(folder, name, manifests):
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / (name.replace("/", "-").replace(" ", "-") + ".yaml")
    file.write_text(yaml.safe_dump_all(manifests.objects, sort_keys=False))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--keep", type=pathlib.Path)
    arguments.add_argument("files", nargs="*")
    given = arguments.parse_args()
    failed = False
    renderings = list(from_files(given.files) if given.files else tree())
    schemas.prime([manifests for _, manifests in renderings if isinstance(manifests, Manifests)])
    for name, manifests in renderings:
        begun = time.monotonic()
        complaints = [str(manifests)] if isinstance(manifests, Refused) else judge(manifests)
        if given.keep and isinstance(manifests, Manifests):
            keep(given.keep, name, manifests)
        for complaint in complaints:
            print(f"{name}: {complaint}", file=sys.stderr)
        failed = failed or bool(complaints)
        if not complaints:
            print(f"{name}: {len(manifests.objects)} objects, {len(RULES)} rules, {time.monotonic() - begun:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
