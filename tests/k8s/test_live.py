"""What is rendered for development works: a real gateway starts with the settings of the rendered ConfigMap and Secret, on a real
Redis with the rendered configuration, answers the probes, and leaves within the grace period."""

import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import manifests as m
import rules_rollout
import settings

PATIENCE_SECONDS = 30
# Of file descriptors, as some container runtimes give it.
SOFT_LIMIT = 1024


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, ask):
    """What `ask` answers, once it is something."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE_SECONDS} s: {what}")


def get(url):
    """Status and body, or None while nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return None


class Parts:
    """One Redis and one gateway, as the manifests have them, but for addresses and folders."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.redis_port, self.public, self.admin = free_port(), free_port(), free_port()
        self.running = []

    def begin(self, manifests):
        carried = next(item for item in manifests.of("ConfigMap") if "redis.conf" in item["data"])
        (self.folder / "redis.conf").write_text(carried["data"]["redis.conf"])
        own = ["--port", str(self.redis_port), "--bind", "127.0.0.1"]
        redis = self.start("redis", ["redis-server", "redis.conf", *own], {})
        until("Redis answers", lambda: self.redis("PING") == "PONG" or self.has_ended(redis, "redis"))
        environment = settings.environment(manifests)
        self.gateway = self.start("gateway", ["prlimit", f"--nofile={SOFT_LIMIT}:", settings.binary()], {
            **environment,
            "SLUICE__HTTP__BIND": f"127.0.0.1:{self.public}",
            "SLUICE__ADMIN__BIND": f"127.0.0.1:{self.admin}",
            "SLUICE__REDIS__URL": f"redis://127.0.0.1:{self.redis_port}",
            "SLUICE__NODE__NAME": "pod-1",
        })

    def start(self, name, command, environment):
        log = open(self.folder / f"{name}.log", "wb")
        # The shell's, since the gateway's environment is the pod's and nothing else.
        program = [shutil.which(command[0]) or command[0], *command[1:]]
        process = subprocess.Popen(program, env=environment, cwd=self.folder, stdout=log, stderr=log)
        self.running.append(process)
        log.close()
        return process

    def has_ended(self, process, name):
        if process.poll() is not None:
            raise AssertionError((self.folder / f"{name}.log").read_text())
        return False

    def redis(self, *command):
        done = subprocess.run(
            ["redis-cli", "-p", str(self.redis_port), *command], capture_output=True, text=True, timeout=10
        )
        return done.stdout.strip()

    def stop(self):
        for process in reversed(self.running):
            process.kill()
            process.wait()


class Live(unittest.TestCase):
    def setUp(self):
        self.manifests = m.Manifests.render(m.K8S / "overlays" / "dev")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.parts = Parts(folder.name)
        self.addCleanup(self.parts.stop)
        self.parts.begin(self.manifests)

    def url(self, path):
        return f"http://127.0.0.1:{self.parts.admin}{path}"

    def test_redis_has_the_settings_that_the_guarantee_needs(self):
        page = (m.ROOT / "docs/operations.md").read_text()
        section = page.split("## Redis\n")[1].split("\n## ")[0]
        rows = dict(re.findall(r"^\| `([a-z-]+)(?: [a-z]+)?` \| `([^`]+)`", section, re.MULTILINE))
        self.assertLessEqual({"maxmemory-policy", "appendonly", "appendfsync", "client-output-buffer-limit"}, set(rows))
        for name in ("maxmemory-policy", "appendonly", "appendfsync"):
            self.assertEqual(self.parts.redis("CONFIG", "GET", name).split("\n")[1], rows[name])
        mib = [int(part.removesuffix("mb")) * 1024 * 1024 for part in rows["client-output-buffer-limit"].split()[:2]]
        kept = self.parts.redis("CONFIG", "GET", "client-output-buffer-limit")
        self.assertIn(f"pubsub {mib[0]} {mib[1]} 60", kept)

    def test_probes_and_metrics_are_where_the_manifests_ask_for_them(self):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = self.manifests.gateway[probe]["httpGet"]["path"]
            until(f"{probe} {path} is 200", lambda: (get(self.url(path)) or (0,))[0] == 200)
        status, metrics = get(self.url("/metrics"))
        self.assertEqual(status, 200)
        self.assertRegex(metrics, r"(?m)^sluice_connections 0$")
        limit = settings.in_force(self.manifests)["limits"]["connections"]
        self.assertRegex(metrics, rf"(?m)^sluice_limit_connections {limit}$")

    def test_a_low_soft_limit_of_descriptors_is_raised(self):
        status, metrics = until("metrics", lambda: get(self.url("/metrics")))
        most = int(float(re.search(r"(?m)^process_max_fds (\S+)$", metrics).group(1)))
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.assertGreater(hard, SOFT_LIMIT, "this machine cannot show it")
        self.assertEqual(most, min(hard, 1_048_576))

    def test_a_pod_that_is_told_to_leave_has_left_within_its_grace_period(self):
        until("it is ready", lambda: (get(self.url("/readyz")) or (0,))[0] == 200)
        with socket.create_connection(("127.0.0.1", self.parts.public), timeout=PATIENCE_SECONDS) as stream:
            stream.sendall(b"GET /v1/events?channel=orders HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
            told = b""
            while b"sluice.open" not in told:
                told += stream.recv(4096)
            self.assertIn(b'"node":"pod-1"', told)
            begun = time.monotonic()
            self.parts.gateway.send_signal(signal.SIGTERM)
            until("readiness falls", lambda: (get(self.url("/readyz")) or (0,))[0] == 503)
            self.assertEqual(get(self.url("/livez"))[0], 200, "a restart would cut the streams")
            while part := stream.recv(4096):
                told += part
        self.assertIn(b'{"reason":"drain"}', told)
        self.assertEqual(self.parts.gateway.wait(timeout=PATIENCE_SECONDS), 0)
        took = time.monotonic() - begun
        sleep = rules_rollout.pre_stop(self.manifests.gateway)
        given = m.pod(self.manifests.deployment)["terminationGracePeriodSeconds"]
        drain = settings.seconds(settings.in_force(self.manifests)["drain"]["deadline"])
        self.assertLess(sleep + took, given)
        self.assertLess(took, drain + rules_rollout.SPARE_SECONDS)


if __name__ == "__main__":
    unittest.main()
