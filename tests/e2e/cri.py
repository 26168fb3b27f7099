"""What Kubernetes pulls by: containerd's CRI plugin, asked by crictl, which is built with Go where it is not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.clients import Reference
from tests.process import listens_on, run, running
from tests.zoo.real.builds import built

CRICTL = ("sigs.k8s.io/cri-tools/cmd/crictl", "v1.34.0")


def crictl_told(store: Path, hosts: Path, image: Reference, file: str) -> bytes:
    """By a folder that has a folder for each registry."""
    with _containerd(store, hosts) as socket:
        endpoints = ["--runtime-endpoint", f"unix://{socket}", "--image-endpoint", f"unix://{socket}"]
        run([str(built(CRICTL)), *endpoints, "pull", str(image)])
        ctr = ["ctr", "--address", str(socket), "--namespace", "k8s.io", "images"]
        target = store / "mounted"
        target.mkdir()
        run([*ctr, "mount", "--snapshotter", "native", str(image), str(target)])
        content = (target / file).read_bytes()
        run([*ctr, "unmount", "--snapshotter", "native", str(target)])
        return content


@contextmanager
def _containerd(store: Path, hosts: Path) -> Iterator[Path]:
    """Gives its socket."""
    socket, config = store / "containerd.sock", store / "containerd.toml"
    config.write_text(
        f'version = 2\nroot = "{store}/root"\nstate = "{store}/state"\n'
        f'[grpc]\naddress = "{socket}"\n[ttrpc]\naddress = "{socket}.ttrpc"\n'
        f'[plugins."io.containerd.internal.v1.opt"]\npath = "{store}/opt"\n'
        '[plugins."io.containerd.grpc.v1.cri"]\ndisable_cgroup = true\nrestrict_oom_score_adj = true\n'
        '[plugins."io.containerd.grpc.v1.cri".containerd]\nsnapshotter = "native"\n'
        f'[plugins."io.containerd.grpc.v1.cri".cni]\nbin_dir = "{store}/cni"\nconf_dir = "{store}/cni"\n'
        f'[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "{hosts}"\n'
    )
    argv = ["containerd", "--config", str(config)]
    with running(argv, store / "containerd.log", lambda: listens_on(socket)):
        yield socket
