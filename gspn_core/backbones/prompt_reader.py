"""How much of a prompt a model reads, and what of it is not understood, without encoding it."""

from __future__ import annotations

import copy
import dataclasses
import functools

from diffusers import StableDiffusionXLPipeline

from gspn_core.backbones.chunks import chunks_of, room_of
from gspn_core.planning.types import CascadePlan
from gspn_core.prompts import MAX_PROMPT_CHUNKS, TextLength, notices_of
from gspn_core.settings import Settings

_MOST_KEPT = 512


class PromptReader:
    """Counts with its own copies of a pipeline's tokenizers, so that it can be called during a run.

    A tokenizer keeps its truncation between calls; a second thread would change it under the run's.
    """

    def __init__(self, pipeline: StableDiffusionXLPipeline) -> None:
        self._tokenizers = tuple(map(copy.deepcopy, (pipeline.tokenizer, pipeline.tokenizer_2)))
        self._counted = functools.lru_cache(_MOST_KEPT)(self._count)
        for tokenizer in self._tokenizers:
            # The first call turns the copy's truncation off; later ones leave it as it is.
            chunks_of(tokenizer, "a")

    def added_to(self, plan: CascadePlan) -> CascadePlan:
        """Return a plan with the lengths of its texts and the sentences about them."""
        texts = self.lengths(plan.settings)
        said = [sentence for text in texts for sentence in text.sentences]
        return dataclasses.replace(plan, notices=(*plan.notices, *said), texts=texts)

    def lengths(self, settings: Settings) -> tuple[TextLength, ...]:
        """Return how much is read of each text: prompt, negative prompt, and those of single stages."""
        texts = [(name, 0, getattr(settings, name)) for name in ("prompt", "negative_prompt")]
        texts += [
            (override.name, override.stage_px, override.value)
            for override in settings.overrides
            if override.name in ("prompt", "negative_prompt")
        ]
        return tuple(self._length(name, stage_px, text) for name, stage_px, text in texts)

    def chunks(self, *texts: str) -> int:
        """Return how many chunks the longest of these texts is encoded in."""
        return min(MAX_PROMPT_CHUNKS, max(self._counted(text)[1] for text in texts))

    def _length(self, name: str, stage_px: int, text: str) -> TextLength:
        tokens, chunks = self._counted(text)
        room = room_of(self._tokenizers[0])
        notices = notices_of(text)
        if chunks > MAX_PROMPT_CHUNKS:
            notices = (
                f"{chunks} chunks of at most {room} tokens, of which the model reads the first "
                f"{MAX_PROMPT_CHUNKS}; the rest has no effect.",
                *notices,
            )
        return TextLength(
            name=name, stage_px=stage_px, tokens=tokens, chunks=chunks, room=room, notices=notices
        )

    def _count(self, text: str) -> tuple[int, int]:
        """Return the tokens and chunks of a text by the tokenizer that counts most."""
        each = [chunks_of(tokenizer, text) for tokenizer in self._tokenizers]
        return max(sum(len(chunk.tokens) for chunk in chunks) for chunks in each), max(map(len, each))
