"""The numbers and names in docs/kubernetes.md are those of the manifests."""

import re
import unittest

import manifests as m
import rules_pods
import rules_rollout
import settings
from test_refusals import BROKEN

PAGE = (m.ROOT / "docs/kubernetes.md").read_text()
FOLDERS = ["base", *(f"overlays/{path.name}" for path in sorted((m.K8S / "overlays").iterdir()))]


def rows(heading):
    """The rows of the table in this section that begin with a folder, by that."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in cells if row[0].strip("`") in FOLDERS}


def rendering(folder):
    return m.Manifests.render(m.K8S / folder, overlay=folder != "base")


class Documented(unittest.TestCase):
    def test_sizes(self):
        bytes_each = rules_pods.measured_bytes() + rules_pods.KERNEL_BYTES
        for text in (
            f"- {rules_pods.measured_bytes() / 1000:g} kB resident",
            f"- {rules_pods.KERNEL_BYTES / 1000:g} kB of the kernel",
            f"- {rules_pods.FIXED_MIB} MiB that do not grow",
            f"of {bytes_each / 1000:.1f} kB",
        ):
            self.assertIn(text, PAGE)
        table = rows("How large")
        self.assertEqual(sorted(table), sorted(FOLDERS))
        for folder, row in table.items():
            with self.subTest(folder):
                x = rendering(folder)
                connections = settings.in_force(x)["limits"]["connections"]
                grown = connections * bytes_each / rules_pods.MIB
                request = rules_pods.quantity(x.gateway["resources"]["requests"]["memory"]) / rules_pods.MIB
                needed = round(grown) + rules_pods.FIXED_MIB
                figures = [grown, needed, request, request - needed]
                self.assertEqual(row, [f"{connections:,}", *(f"{figure:.0f} Mi" for figure in figures)])

    def test_times(self):
        table = rows("A rollout")
        self.assertEqual(sorted(table), sorted(FOLDERS))
        for folder, row in table.items():
            with self.subTest(folder):
                x = rendering(folder)
                config = settings.in_force(x)
                drain, lead = (settings.seconds(config["drain"][key]) for key in ("deadline", "readiness_lead"))
                times = [
                    rules_rollout.pre_stop(x.gateway),
                    drain,
                    m.pod(x.deployment)["terminationGracePeriodSeconds"],
                    x.deployment["spec"]["minReadySeconds"],
                ]
                rate = config["limits"]["connections"] / (drain - lead)
                self.assertEqual(row, [*(f"{time:g} s" for time in times), f"{rate:.0f}"])

    def test_every_folder_is_named_and_there(self):
        named = set(re.findall(r"^\| `k8s/([a-z/-]+)` \|", PAGE, re.MULTILINE))
        components = {f"components/{path.name}" for path in (m.K8S / "components").iterdir()}
        self.assertEqual(named, {*FOLDERS, *components})

    def test_so_many_manifests_are_broken(self):
        self.assertIn("more than seventy broken manifests", PAGE)
        self.assertGreater(len(BROKEN), 70)

    def test_each_overlay_says_which_lines_are_yours(self):
        for overlay in ("prod", "staging"):
            text = (m.K8S / "overlays" / overlay / "kustomization.yaml").read_text()
            for line in text.splitlines():
                if "example.com" in line and not line.lstrip().startswith("#"):
                    self.assertTrue(line.endswith("  # yours"), f"{overlay}: {line}")


if __name__ == "__main__":
    unittest.main()
