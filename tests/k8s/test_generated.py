"""What is made from grafana/ is what is in k8s/; a change there that is not carried over is refused."""

import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import yaml

import manifests as m

GENERATE = m.ROOT / "scripts" / "k8s-generate"
RULES = """# A comment.
groups:
  - name: trial
    rules:
      - alert: TrialIsAway
        # Twice, with a blank line between.
        expr: |
          sluice_redis_connected == 0

          or absent(sluice_redis_connected)
        for: 1m
        annotations:
          summary: "{{ $labels.node }} is away"
"""


class Generated(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.trial = pathlib.Path(folder.name)
        shutil.copytree(m.K8S, self.trial / "k8s")
        self.rules, self.dashboards = self.trial / "grafana/rules", self.trial / "grafana/dashboards"
        self.rules.mkdir(parents=True)
        self.dashboards.mkdir()
        (self.rules / "sluice-trial.yaml").write_text(RULES)
        (self.dashboards / "sluice-trial.json").write_text(json.dumps({"title": "Trial", "unit": "µs"}, ensure_ascii=False))

    def generate(self, *flags):
        return subprocess.run([str(GENERATE), *flags, str(self.trial)], capture_output=True, text=True, timeout=60)

    def test_rules_and_dashboards_arrive_as_they_are(self):
        self.assertEqual(self.generate().returncode, 0)
        made = m.Manifests.render(self.trial / "k8s/overlays/prod")
        self.assertEqual(made.named("PrometheusRule", "sluice-trial")["spec"], yaml.safe_load(RULES))
        carried = made.named("ConfigMap", "sluice-dashboard-trial")
        self.assertEqual(carried["data"]["sluice-trial.json"], (self.dashboards / "sluice-trial.json").read_text())
        self.assertEqual(carried["metadata"]["labels"]["grafana_dashboard"], "1")

    def test_a_change_that_is_not_carried_over_is_refused(self):
        self.assertEqual(self.generate("--check").returncode, 1, "nothing has been made yet")
        self.generate()
        self.assertEqual(self.generate("--check").returncode, 0)
        changes = {
            "changed": lambda: (self.rules / "sluice-trial.yaml").write_text(RULES.replace("1m", "2m")),
            "a dashboard more": lambda: (self.dashboards / "sluice-more.json").write_text("{}"),
            "rules less": lambda: (self.rules / "sluice-trial.yaml").unlink(),
        }
        for what, change in changes.items():
            with self.subTest(what):
                change()
                done = self.generate("--check")
                self.assertEqual(done.returncode, 1)
                self.assertIn("make k8s-generate", done.stderr)
                self.generate()
                self.assertEqual(self.generate("--check").returncode, 0)

    def test_a_name_that_no_object_may_have_is_refused(self):
        (self.dashboards / "Sluice Trial.json").write_text("{}")
        done = self.generate()
        self.assertEqual(done.returncode, 1)
        self.assertIn("a-z, 0-9 and -", done.stderr)


if __name__ == "__main__":
    unittest.main()
