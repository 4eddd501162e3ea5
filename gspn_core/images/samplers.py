"""The samplers of other tools, by any of their names, as ours."""

from __future__ import annotations

import re

from gspn_core.images.png import SAMPLERS

_OURS = {title.lower().replace(" ", ""): name for name, title in SAMPLERS.items()}
# Spacings of the timesteps that are ours where none is named.
_PLAIN_SCHEDULES = ("", "normal", "native", "uniform", "default")
_SHORT = {"dpmpp": "dpm++", "uni_pc": "unipc", "uni-pc": "unipc"}


def sampler_of(sampler: str, schedule: str = "") -> tuple[str | None, str]:
    """Return the sampler here and the schedule that it does not have, "" for none; None where there is none.

    Args:
        sampler: a name such as "DPM++ 2M Karras", "dpmpp_2m_sde_gpu", "k_euler" or "dpmpp_2m_k".
        schedule: a name such as "Karras", "simple" or "exponential".
    """
    name, spacing = sampler.strip().lower(), schedule.strip().lower()
    for theirs, ours in _SHORT.items():
        name = name.replace(theirs, ours)
    name = re.sub(r"^k_|_(?:gpu|bh1|bh2)$", "", name)
    name, karras = re.subn(r"(?:[ _-]karras|_k)$", "", name)
    found = _OURS.get(re.sub(r"[ _-]", "", name))
    if found is None:
        return None, schedule.strip()
    if karras or spacing == "karras":
        with_karras = f"{found}-karras"
        return (with_karras, "") if with_karras in SAMPLERS else (found, "Karras")
    return found, "" if spacing in _PLAIN_SCHEDULES else schedule.strip()
