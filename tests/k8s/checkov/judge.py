"""Judges rendered manifests by checkov, offline: every finding is waived below, in writing, and every waiver is needed.

judge.py CHECKOV FOLDER     the program, and the folder of the renderings; overlays are judged, since parts have no namespace
"""

import json
import pathlib
import subprocess
import sys
import tempfile

WAIVERS = {
    "CKV_K8S_11": "no CPU limit: throttling makes every event of a pod late; the request reserves what it needs",
    "CKV_K8S_15": "images are pulled once: every tag here is one that does not move",
    "CKV_K8S_35": "the gateway reads the URL of Redis and the admin token from its environment; files would be no safer from whoever"
    " may run a program in the pod",
    "CKV_K8S_43": "the digest of the image is known to whoever builds it: set `digest` in the overlay's `images`",
}
# What must be found in a manifest that is broken on purpose.
PRIVILEGED = "CKV_K8S_16"


def findings(checkov, files):
    """Check, its name and the resource, of whatever fails."""
    command = [checkov, "--framework", "kubernetes", "--skip-download", "--quiet", "--output", "json"]
    for file in files:
        command += ["--file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    try:
        report = json.loads(done.stdout)
    except json.JSONDecodeError:
        sys.exit(f"checkov gave no report: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    reports = report if isinstance(report, list) else [report]
    results = [entry for part in reports for entry in part.get("results", {}).get("failed_checks", [])]
    passed = sum(part.get("summary", {}).get("passed", 0) for part in reports)
    if passed == 0:
        sys.exit("checkov judged nothing")
    return passed, {(entry["check_id"], entry["check_name"], entry["resource"]) for entry in results}


def main(checkov, folder):
    overlays = sorted(pathlib.Path(folder).glob("overlays-*.yaml"))
    passed, found = findings(checkov, overlays)
    complaints = [
        f"{check}: {name}: {resource}" for check, name, resource in sorted(found) if check not in WAIVERS
    ]
    needed = {check for check, _, _ in found}
    complaints += [f"{check} is waived and never found: remove the waiver" for check in WAIVERS if check not in needed]
    with tempfile.TemporaryDirectory() as trial:
        broken = pathlib.Path(trial, "broken.yaml")
        whole = overlays[0].read_text()
        broken.write_text(whole.replace("allowPrivilegeEscalation: false", "privileged: true"))
        if PRIVILEGED not in {check for check, _, _ in findings(checkov, [broken])[1]}:
            complaints.append("checkov does not refuse a privileged container")
    print(f"{len(overlays)} overlays, {passed} checks passed, {len(WAIVERS)} waived with a reason")
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
