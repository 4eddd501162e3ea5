"""Everything that serves one model: its engine, the run queue, the studies and the page."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gspn_core.metrics.adherence import PromptAdherence
from gspn_core.models.catalog import EXAMPLES_FOLDER, embedded_folders
from gspn_core.planning.types import CascadePlan, ModelCard
from gspn_core.runs.examples import install_examples
from gspn_core.runs.measuring import Measuring
from gspn_core.runs.queue import RunQueue
from gspn_core.runs.timings import Timings
from gspn_core.runs.worker import Worker
from gspn_core.serving.engine_host import STOP_POLL_SECONDS, EngineHost
from gspn_core.serving.engine_loader import LoadEngine
from gspn_core.serving.exit_codes import ExitCode, refuse
from gspn_core.serving.garbage import freeze, unfreeze
from gspn_core.serving.model_picker import ModelPicker
from gspn_core.serving.remote_workers import pool_of, take_runs
from gspn_core.serving.server_options import ServerOptions
from gspn_core.serving.zerogpu import Decorator
from gspn_core.settings import CHOICES
from gspn_core.studies.runner import Studies
from gspn_core.studies.sample import read_sample
from gspn_core.studies.study import StudyView
from ui.guard.connections import guard_connections
from ui.guard.hosts import allowed_hosts, is_loopback
from ui.page import build_page, launch_arguments
from ui.shared.strings import page_strings

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
        timings = Timings(options.runs_folder)
        self._examples: tuple[str, ...] = ()
        self._grid: StudyView | None = None
        if options.examples and card.name in embedded_folders():
            self._examples = install_examples(EXAMPLES_FOLDER, options.runs_folder)
            self._grid = read_sample()
        pool = None if options.workers is None else pool_of(options, card, load)
        self._pool = pool
        self._engine = EngineHost(
            card,
            lambda on_progress: load(options, on_progress) if pool is None else (pool, pool.open()),
            planned_seconds=self.planned_seconds,
            zerogpu=zerogpu,
            timings=timings,
            on_measurable=lambda: self._measuring.begin() if options.measuring else None,
        )
        self._queue = RunQueue(
            self._engine.run if pool is None else None,
            options.runs_folder,
            plan=self._engine.plan,
            final_plan=self._engine.final_plan,
            max_queued=options.max_queued,
            keep_bytes=options.quota_bytes,
            timings=timings,
        )
        if pool is not None:
            take_runs(pool, self._queue.workers)
        self._measuring = Measuring(
            self._queue,
            timings,
            # ZeroGPU has no GPU between runs.
            self._engine.measure if zerogpu is None else None,
            pieces=len(CHOICES["mixer"]) * len(card.targets),
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

        Raises:
            KeyboardInterrupt: A signal ends the server, also where another model was chosen just before.
        """
        if self._zerogpu is not None:
            # ZeroGPU takes over what is on the GPU when the page is launched, and forks afterwards.
            self._engine.load()
        studies = Studies(
            self._queue,
            calls_of=self._engine.model_calls,
            # Only the embedded models' prompts name things that their own classifier knows.
            adherence=PromptAdherence() if self._card.name in embedded_folders() else None,
        )
        picker = self._picker()
        page = self._page(picker, studies)
        try:
            code = self._launch(page, picker, wait or picker.wait)
            # The answer to the choice still has to reach the page.
            time.sleep(_LAST_ANSWER_SECONDS if picker.chosen else 0)
            return code, picker.chosen
        finally:
            page.close(verbose=False)
            studies.close()
            self._measuring.close()
            self._queue.close()
            self._engine.drop()
            if self._pool is not None:
                self._pool.close()
            unfreeze()

    def planned_seconds(self, plan: CascadePlan) -> float | None:
        """Return what a run takes as measured here before; None if one of its stages was not measured."""
        calls = self._engine.model_calls
        seconds = [self._queue.stage_seconds(stage, calls(stage) or 0) for stage in plan.stages]
        return None if None in seconds else sum(seconds)

    def _picker(self) -> ModelPicker:
        options = self._options
        return ModelPicker(
            options.model,
            requested=self._requested,
            folder=options.models_folder,
            is_busy=lambda: self._queue.is_busy,
            # ZeroGPU belongs to one launch.
            is_fixed=self._zerogpu is not None or has_fixed_model(options),
        )

    def _page(self, picker: ModelPicker, studies: Studies) -> Any:
        engine = self._engine
        return build_page(
            self._queue,
            self._card,
            studies=studies,
            weights=engine.weights,
            machine=engine.machine,
            measured=lambda: 0 if engine.machine() is None else self._measuring.pending,
            reading=lambda: engine.progress,
            issue=lambda: self._issue if engine.error is None else str(engine.error),
            picker=picker,
            measuring=self._measuring,
            in_space=self._options.in_space,
            examples=self._examples,
            grid=self._grid,
        )

    def _launch(self, page: Any, picker: ModelPicker, wait: Callable[[], Any]) -> ExitCode:
        options, engine = self._options, self._engine
        # No visitor waits for it yet.
        freeze()
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
                    downloads=self._queue.downloads,
                ),
            )
        except OSError as error:
            return refuse(f"The page cannot be served on port {options.port}: {error}.", ExitCode.USAGE)
        guard_connections(page.server)
        print(f"{page_strings.TITLE}: {local}" + (f" and {public}" if public else ""), flush=True)
        engine.start()
        return self._wait_for_end(picker, wait)

    def _wait_for_end(self, picker: ModelPicker, wait: Callable[[], Any]) -> ExitCode:
        engine = self._engine
        while not engine.wait(STOP_POLL_SECONDS):
            if picker.chosen:
                return ExitCode.DONE
        if engine.error is None:
            print(f"The model is ready on {engine.machine()}.", flush=True)
            freeze()
        else:
            refuse(str(engine.error), ExitCode.NO_MODEL)
            if self._pool is not None:
                # No worker comes, and the runs that wait for one end with this sentence.
                own = Worker(name="this process", run=engine.run, final_plan=engine.final_plan)
                self._queue.workers.join(own)
            if len(picker.choices()) < 2:
                return ExitCode.NO_MODEL
        wait()
        return ExitCode.DONE


def hosts_of(options: ServerOptions) -> tuple[str, ...]:
    """Return the host names that the server answers to, none for all; a Space has names of its own."""
    return allowed_hosts(options.host, options.allowed_hosts, is_public=options.share or options.in_space)


def has_fixed_model(options: ServerOptions) -> bool:
    """Return whether only the host may change the model: strangers reach the page, and nothing allows it.

    A public address of Gradio's and the tools of agents belong to one launch, so nothing can there.
    """
    if options.share or options.mcp:
        return True
    # A proxy in front of this machine's address has a name or a path of its own.
    is_proxied = bool(options.allowed_hosts or options.root_path)
    is_public = options.in_space or is_proxied or not is_loopback(options.host)
    return is_public and options.auth is None and not options.choose_model
