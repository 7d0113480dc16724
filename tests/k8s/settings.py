"""The settings in force in a pod: the defaults of the gateway's binary under the environment of the manifests."""

import base64
import functools
import os
import re
import subprocess

import tomli

from manifests import ROOT

# What a Secret that is not in the tree may hold.
ELSEWHERE = {
    "redis-url": "rediss://gateway:password@redis.example.com:6380",
    "admin-token": "a-token-that-is-long-enough",
}
MISSING_FROM_BASE = {"SLUICE__AUTH__MODE": "anonymous"}
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Refused(Exception):
    """What the gateway says of settings it will not start with."""


def binary():
    """The gateway; building it is the caller's."""
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    return os.path.abspath(os.path.join(target, "debug", "sluice-gateway"))


def environment(manifests):
    """The variables of the gateway's container: of the ConfigMaps it takes whole, then its own."""
    found = {}
    for source in manifests.gateway.get("envFrom", []):
        reference = source.get("configMapRef") or source["secretRef"]
        kind = "ConfigMap" if "configMapRef" in source else "Secret"
        found.update(values(manifests.named(kind, reference["name"]) or {}))
    for variable in manifests.gateway.get("env", []):
        found[variable["name"]] = value(manifests, variable)
    if not manifests.overlay:
        found = {**MISSING_FROM_BASE, **found}
    return found


def value(manifests, variable):
    if "value" in variable:
        return variable["value"]
    source = variable["valueFrom"]
    if "fieldRef" in source:
        return {"metadata.name": "sluice-6d4cf56db6-x2x9p"}.get(source["fieldRef"]["fieldPath"], "")
    reference = source["secretKeyRef"]
    secret = manifests.named("Secret", reference["name"])
    return (values(secret) if secret else ELSEWHERE).get(reference["key"], "")


def values(holder):
    """What a ConfigMap or Secret holds, as text."""
    plain = {**holder.get("data", {}), **holder.get("stringData", {})}
    if holder.get("kind") != "Secret":
        return plain
    coded = {key: base64.b64decode(text).decode() for key, text in holder.get("data", {}).items()}
    return {**coded, **holder.get("stringData", {})}


def in_force(manifests):
    """The whole configuration, as the gateway itself reads it; `Refused` where it would not start."""
    return ask(tuple(sorted(environment(manifests).items())))


@functools.lru_cache(maxsize=None)
def ask(variables):
    for flag in ("--check-config", "--print-config"):
        done = subprocess.run(
            [binary(), flag], env=dict(variables), capture_output=True, text=True, timeout=30
        )
        if done.returncode != 0:
            raise Refused(done.stderr.strip())
    return tomli.loads(done.stdout)


def seconds(text):
    """A duration as the gateway writes it: `2m`, `1m 30s`, `500ms`."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)[a-z]*", str(text))
    if not parts:
        raise ValueError(f"{text!r} is no duration")
    return sum(float(number) * UNITS[unit] for number, unit in parts)
