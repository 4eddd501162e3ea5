"""Everything that serves one model: its engine, the run queue, the studies and the page."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

from gspn_core.metrics.adherence import PromptAdherence
from gspn_core.models.catalog import WORLD
from gspn_core.planning.types import ModelCard
from gspn_core.runs.measured import Measured
from gspn_core.runs.measuring import Measuring
from gspn_core.runs.queue import RunQueue
from gspn_core.serving.engine_host import STOP_POLL_SECONDS, EngineHost
from gspn_core.serving.engine_loader import LoadEngine
from gspn_core.serving.exit_codes import ExitCode, refuse
from gspn_core.serving.model_picker import ModelPicker
from gspn_core.serving.server_options import ServerOptions
from gspn_core.serving.zerogpu import Decorator
from gspn_core.settings import CHOICES, Settings
from gspn_core.studies.runner import Studies
from ui import words
from ui.guard.connections import guard_connections
from ui.guard.hosts import allowed_hosts
from ui.page import build_page, launch_arguments

_LAST_ANSWER_SECONDS = 0.5


class ModelServer:
    """One model and the page that draws its runs.

    Args:
        options: What the server is asked for, with the model that is served.
        card: That model's card.
        requested: The model that the server was started with.
        issue: Why another model than the requested one is served, "" if it is not.
        load: Returns the engine and a few words for the machine it runs on.
        zerogpu: ZeroGPU's decorator, None elsewhere.
    """

    def __init__(
        self,
        options: ServerOptions,
        card: ModelCard,
        *,
        requested: str,
        issue: str,
        load: LoadEngine,
        zerogpu: Decorator | None,
    ) -> None:
        self._options, self._card, self._requested = options, card, requested
        self._issue, self._zerogpu = issue, zerogpu
        self._timings = Measured(
            options.runs_folder,
            # With other weights or other arithmetic a stage takes another time.
            model=f"{card.name} {card.fingerprint}",
            machine=lambda: self._engine.machine(),
        )
        self._engine = EngineHost(
            card,
            lambda on_progress: load(options, on_progress),
            planned_seconds=self.planned_seconds,
            on_timing=self._timings.take,
            zerogpu=zerogpu,
            timings_folder=options.runs_folder,
        )
        self._queue = RunQueue(
            self._engine.run,
            options.runs_folder,
            plan=self._engine.plan,
            max_queued=options.max_queued,
            keep_bytes=options.quota_bytes,
            learned=self._timings.take_stage,
        )

    def claim(self) -> None:
        """Claim the folder of the runs; needed before `serve`.

        Raises:
            GspnError: Another server has it, or it cannot be written.
        """
        self._queue.claim()

    def serve(self, wait: Callable[[], Any] | None = None) -> tuple[ExitCode, str | None]:
        """Serve until interrupted or until another model is chosen.

        Args:
            wait: Returns when the server is to end; None waits until another model is chosen.

        Returns:
            The exit code, and the model that was chosen in place of this one, None to end.
        """
        if self._zerogpu is not None:
            # ZeroGPU takes over what is on the GPU when the page is launched, and forks afterwards.
            self._engine.load()
        measuring = self._measuring()
        studies = Studies(
            self._queue,
            calls_of=self._engine.model_calls,
            # Only the embedded model's prompts name things that its own classifier knows.
            adherence=PromptAdherence() if self._card.name == WORLD.name else None,
        )
        picker = self._picker()
        page = self._page(picker, measuring, studies)
        try:
            code = self._launch(page, picker, wait or picker.wait)
            # The answer to the choice still has to reach the page.
            time.sleep(_LAST_ANSWER_SECONDS if picker.chosen else 0)
            return code, picker.chosen
        finally:
            page.close(verbose=False)
            studies.close()
            measuring.close()
            self._queue.close()
            self._engine.drop()
            gc.collect()

    def planned_seconds(self, settings: Settings) -> float | None:
        """Return what a run takes as measured here before; None if one of its stages was not measured."""
        plan = self._engine.plan(settings)
        calls = self._engine.model_calls
        seconds = [self._queue.stage_seconds(plan, stage, calls(stage) or 0) for stage in plan.stages]
        return None if None in seconds else sum(seconds)

    def _measuring(self) -> Measuring:
        return Measuring(
            self._queue,
            self._timings,
            # ZeroGPU has no GPU between runs.
            self._engine.measure_mixers if self._zerogpu is None else None,
            pieces=len(CHOICES["mixer"]) * len(self._card.targets),
        )

    def _picker(self) -> ModelPicker:
        options = self._options
        return ModelPicker(
            options.model,
            requested=self._requested,
            folder=options.models_folder,
            is_busy=lambda: self._queue.is_busy,
            # ZeroGPU, a public address and the tools of agents belong to one launch.
            is_fixed=self._zerogpu is not None or options.share or options.mcp,
        )

    def _page(self, picker: ModelPicker, measuring: Measuring, studies: Studies) -> Any:
        engine = self._engine
        return build_page(
            self._queue,
            self._card,
            studies=studies,
            weights=engine.weights,
            machine=engine.machine,
            measured=engine.measured,
            reading=lambda: engine.progress,
            trouble=lambda: self._issue if engine.error is None else str(engine.error),
            shelf=picker,
            measuring=measuring,
            in_space=self._options.in_space,
        )

    def _launch(self, page: Any, picker: ModelPicker, wait: Callable[[], Any]) -> ExitCode:
        options, engine = self._options, self._engine
        try:
            _, local, public = page.launch(
                server_name=options.host,
                server_port=options.port,
                share=options.share,
                auth=options.auth,
                prevent_thread_lock=True,
                mcp_server=options.mcp,
                root_path=options.root_path,
                **launch_arguments(
                    self._queue.folder,
                    hosts=hosts_of(options),
                    has_login=options.auth is not None,
                    has_mcp=options.mcp,
                ),
            )
        except OSError as error:
            return refuse(f"The page cannot be served on port {options.port}: {error}.", ExitCode.USAGE)
        guard_connections(page.server)
        print(f"{words.TITLE}: {local}" + (f" and {public}" if public else ""), flush=True)
        engine.start()
        try:
            return self._wait_for_end(picker, wait)
        except KeyboardInterrupt:
            print("Stopped.", flush=True)
            return ExitCode.DONE

    def _wait_for_end(self, picker: ModelPicker, wait: Callable[[], Any]) -> ExitCode:
        engine = self._engine
        while not engine.wait(STOP_POLL_SECONDS):
            if picker.chosen:
                return ExitCode.DONE
        if engine.error is None:
            print(f"The model is ready on {engine.machine()}.", flush=True)
        else:
            refuse(str(engine.error), ExitCode.NO_MODEL)
            if len(picker.choices()) < 2:
                return ExitCode.NO_MODEL
        wait()
        return ExitCode.DONE


def hosts_of(options: ServerOptions) -> tuple[str, ...]:
    """Return the host names that the server answers to, none for all; a Space has names of its own."""
    return allowed_hosts(options.host, options.allowed_hosts, is_public=options.share or options.in_space)
