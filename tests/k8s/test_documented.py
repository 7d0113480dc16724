"""The numbers and names in docs/kubernetes.md are those of the manifests."""

import ipaddress
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

    def test_size_with_tls(self):
        table = (m.ROOT / "docs/operations.md").read_text()
        measured = re.search(r"per idle stream over TLS[^|]*\|[^|]*?([0-9.]+) kB,", table)
        bytes_each = float(measured.group(1)) * 1000 + rules_pods.KERNEL_BYTES
        self.assertIn(f"{measured.group(1)} kB resident in place of", PAGE)
        self.assertIn(f"{bytes_each / 1000:.1f} kB with the kernel's", PAGE)
        for connections in (10_000, 20_000):
            grown = connections * bytes_each / rules_pods.MIB
            self.assertIn(f"{connections:,} connections {grown:.0f} Mi, with 128 Mi {round(grown) + rules_pods.FIXED_MIB} Mi", PAGE)

    def test_nobody_is_trusted_until_you_say_whom(self):
        nobody = ipaddress.ip_network("192.0.2.0/24")
        for overlay in ("prod", "staging"):
            config = settings.in_force(rendering(f"overlays/{overlay}"))
            trusted = config["http"]["trusted_proxies"]
            self.assertTrue(trusted)
            for network in trusted:
                self.assertTrue(ipaddress.ip_network(network).subnet_of(nobody), f"{overlay} trusts {network}")

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
