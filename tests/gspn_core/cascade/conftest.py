from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def tiny_conditioning():
    """Return two different prompts as a guidance pair with sizes in px."""
    import torch

    from gspn_core.cascade.conditioning import Conditioning

    generator = torch.Generator().manual_seed(3)
    return Conditioning(
        prompt_embeds=torch.randn(2, 77, 32, generator=generator),
        pooled_prompt_embeds=torch.randn(2, 16, generator=generator),
        add_time_ids=torch.tensor([[64.0, 64, 0, 0, 64, 64]]).expand(2, -1),
    )
