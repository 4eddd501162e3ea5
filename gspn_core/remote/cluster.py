"""The cluster that workers run on: one of this machine's own, or one that is running elsewhere."""

from __future__ import annotations

import importlib.util
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from gspn_core.errors import ModelUnavailable
from gspn_core.remote.pictures import send_pictures_whole

RAY = "ray==2.60.0"
NO_RAY = f"--workers and --ray need the package ray, which is not installed; add: pip install '{RAY}'."
_ROOT = Path(__file__).parents[2]
# Finished pictures on their way: two of 8192 px for each worker.
_STORE_BYTES_EACH = 2**29
_LEAST_STORE_BYTES = 80 * 2**20


@dataclass(frozen=True, kw_only=True)
class WorkersAsked:
    """How many workers are asked for, and where.

    count: None for one on each GPU. address: of a running cluster, "" for one on this machine alone. cpu:
    they are to use no GPU. threads: of each worker without a GPU, None for an equal share of the cores.
    """

    count: int | None
    address: str = ""
    cpu: bool = False
    threads: int | None = None


def has_ray() -> bool:
    """Return whether Ray is installed."""
    return importlib.util.find_spec("ray") is not None


class Cluster:
    """A cluster that this process is connected to, until `close`.

    Args:
        asked: what the command line asks for.
        log_to_driver: what workers print is printed here as well.
        store_bytes: of the shared memory for pictures on their way, on this machine; None for a default.

    Raises:
        ModelUnavailable: Ray is not installed, the cluster does not answer, or it has not what is asked for.
    """

    def __init__(
        self, asked: WorkersAsked, *, log_to_driver: bool = True, store_bytes: int | None = None
    ) -> None:
        if not has_ray():
            raise ModelUnavailable(NO_RAY)
        # Read by ray when it is imported: it reports nothing to anyone.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._asked = asked
        cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else None
        cores = cores or os.cpu_count() or 1
        self.threads = asked.threads or max(1, cores // max(1, asked.count or 1))
        options: dict[str, Any] = {"address": asked.address}
        if not asked.address:
            count = asked.count or 1
            shared = min(count * _STORE_BYTES_EACH, psutil.virtual_memory().total // 5)
            options = {
                "address": "local",
                "num_cpus": max(cores, count * self.threads),
                "num_gpus": 0 if asked.cpu else None,
                "object_store_memory": store_bytes or max(_LEAST_STORE_BYTES, shared),
                "include_dashboard": False,
            }
            # By default Ray's workers give way to all other work; here they are what the machine is for.
            os.environ.setdefault("RAY_worker_niceness", "0")
            # Ray listens on the network: it answers only to who has the key of this process.
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            if os.environ["RAY_AUTH_MODE"] == "token" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
                os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        import ray

        before = psutil.Process().children()
        try:
            ray.init(
                **options,
                namespace="gspn",
                log_to_driver=log_to_driver,
                configure_logging=False,
                runtime_env={"env_vars": self._variables()},
            )
        except Exception as error:
            _end(process for process in psutil.Process().children() if process not in before)
            where = asked.address or "this machine"
            raise ModelUnavailable(
                f"Ray does not start on {where} ({type(error).__name__}: {str(error).splitlines()[0][:200]})."
            ) from error
        send_pictures_whole()
        try:
            self.on_gpus = not asked.cpu and self._gpus() > 0
            self._check()
        except ModelUnavailable:
            self.close()
            raise

    @property
    def wanted(self) -> int:
        """Return how many workers there are to be now."""
        import ray

        if self._asked.count is not None:
            return self._asked.count
        return self._gpus() or sum(node["Alive"] for node in ray.nodes())

    def start(self, load: Any) -> Any:
        """Start a worker and return its handle."""
        import ray

        from gspn_core.remote.actor import EngineActor

        resources = {"num_gpus": 1, "num_cpus": 1} if self.on_gpus else {"num_cpus": self.threads}
        # A thread for the run, and one for what is asked during it.
        made = ray.remote(concurrency_groups={"control": 1}, max_concurrency=1, max_restarts=0, **resources)
        return made(EngineActor).remote(load)

    def close(self) -> None:
        """End the workers, and the cluster of this machine's own."""
        import ray

        ray.shutdown()

    def _variables(self) -> dict[str, str]:
        """Return the environment of workers: where the code is, and how many threads compute."""
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": str(self.threads),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "TRANSFORMERS_VERBOSITY": "error",
        }

    def _gpus(self) -> int:
        import ray

        return 0 if self._asked.cpu else int(ray.cluster_resources().get("GPU", 0))

    def _check(self) -> None:
        count, gpus, elsewhere = self._asked.count, self._gpus(), bool(self._asked.address)
        if count is None and not gpus and not elsewhere:
            raise ModelUnavailable(
                "--workers auto takes every GPU of this machine, which has none; give a number, or leave it "
                "out."
            )
        if count is not None and gpus and count > gpus and not elsewhere:
            raise ModelUnavailable(
                f"--workers {count} needs a GPU for each, and this machine has {gpus}; ask for {gpus}, or "
                "add --device cpu."
            )


def _end(processes: Iterable[psutil.Process]) -> None:
    """End those of Ray's among this process's children, which a start that failed has left."""
    for process in processes:
        with suppress(psutil.Error):
            if "/ray/" in " ".join(process.cmdline()):
                process.kill()
