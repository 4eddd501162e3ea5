"""What holds for every control, and what the registry gives to a stage."""

import dataclasses

import pytest
import torch

from gspn_core.attention.neighborhood import neighborhood_attention
from gspn_core.cascade.sample import StageSampler
from gspn_core.controls.control import StageSetup, attached
from gspn_core.controls.dilated_branch import DilatedBranch
from gspn_core.controls.keep_base import KeepBase
from gspn_core.controls.match_statistics import MatchStatistics
from gspn_core.controls.registry import extra_evaluations, stage_controls
from gspn_core.controls.skip_residual import SkipResidual
from gspn_core.kinds.registry import find_kind

# Those of an upscaled stage at the default settings.
UPSCALING = (DilatedBranch, SkipResidual, MatchStatistics, KeepBase)


def run(sampler, setup, controls):
    """Return the latents that a stage ends with."""
    steps = sampler.sample(setup.reference, controls)
    with torch.inference_mode():
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return done.value


def state_of(net):
    """Return what a control could leave behind in a network."""
    return [
        (
            name,
            id(module),
            getattr(module, "dilation", None),
            getattr(module, "padding", None),
            id(getattr(module, "processor", None)),
            getattr(getattr(module, "processor", None), "strides", None),
            sorted(vars(module)),
            len(module._forward_hooks),
            len(module._forward_pre_hooks),
        )
        for name, module in net.named_modules()
    ]


def predicted(sampler):
    x, t = torch.ones(1, 4, 16, 24), torch.tensor(300.0)
    with torch.inference_mode():
        return sampler.backbone.predict(x, t, sampler.rows)


def test_an_upscaled_stage_gets_its_controls_in_their_order_and_a_first_one_none(later_stage):
    _, setup = later_stage()
    assert tuple(type(control) for control in stage_controls(setup)) == UPSCALING
    first = StageSetup(
        stage=dataclasses.replace(setup.stage, index=0, kind=find_kind("generate")), backbone=setup.backbone
    )
    assert stage_controls(first) == ()


@pytest.mark.parametrize("use", ["branch", "main"])
@pytest.mark.parametrize("kind", UPSCALING)
def test_detaching_restores_the_original_modules_and_outputs(kind, use, later_stage):
    sampler, setup = later_stage(dilation_use=use)
    net, control = sampler.backbone.net, kind.for_stage(setup)
    with neighborhood_attention(net):
        before, output = state_of(net), predicted(sampler)
        with control.attached(sampler.backbone, 0):
            inside = predicted(sampler)
        assert torch.equal(inside, output) is not (kind is DilatedBranch and use == "main")
        with pytest.raises(ZeroDivisionError), control.attached(sampler.backbone, 0):
            raise ZeroDivisionError
        assert state_of(net) == before
        assert torch.equal(predicted(sampler), output)


@pytest.mark.parametrize("use", ["branch", "main"])
def test_a_run_with_all_controls_restores_the_network_also_where_it_is_left_early(use, later_stage):
    sampler, setup = later_stage(dilation_use=use)
    before, output = state_of(sampler.backbone.net), predicted(sampler)
    steps = sampler.sample(setup.reference, stage_controls(setup))
    with torch.inference_mode():
        next(steps)
    steps.close()
    sampler = StageSampler(sampler.backbone.model, setup.stage, sampler.rows)
    run(sampler, setup, stage_controls(setup))
    assert state_of(sampler.backbone.net) == before
    assert torch.equal(predicted(sampler), output)


def test_controls_detach_in_reverse_order(later_stage):
    sampler, setup = later_stage(dilation_use="main")
    before = state_of(sampler.backbone.net)
    with attached([DilatedBranch.for_stage(setup)] * 2, sampler.backbone, 0):
        assert state_of(sampler.backbone.net) != before
    assert state_of(sampler.backbone.net) == before


def test_each_control_changes_the_latents_or_the_sample(later_stage):
    sampler, setup = later_stage()
    plain = run(sampler, setup, ())
    for kind in (DilatedBranch, SkipResidual, MatchStatistics):
        again = StageSampler(sampler.backbone.model, setup.stage, sampler.rows)
        assert not torch.equal(run(again, setup, [kind.for_stage(setup)]), plain), kind
    sample = torch.zeros(1, 3, 128, 192)
    assert KeepBase.for_stage(setup).decoded(sample.clone()).abs().mean() > 0.05


def test_a_dilated_branch_of_weight_zero_changes_no_byte_of_the_latents(later_stage):
    sampler, setup = later_stage()
    plain = run(sampler, setup, ())
    for weightless in ({"c2": 0.0}, {"dilated": False}):
        weights = tuple(dataclasses.replace(step, **weightless) for step in setup.weights)
        control = DilatedBranch.for_stage(dataclasses.replace(setup, weights=weights))
        again = StageSampler(sampler.backbone.model, setup.stage, sampler.rows)
        assert torch.equal(run(again, setup, [control]), plain)


def test_a_skip_residual_of_weight_zero_changes_no_byte_of_an_estimate(later_stage):
    _, setup = later_stage()
    weights = tuple(dataclasses.replace(step, held=0.0) for step in setup.weights)
    control = SkipResidual.for_stage(dataclasses.replace(setup, weights=weights))
    estimate = torch.randn(1, 4, 16, 24)
    assert all(control.denoised(estimate, i) is estimate for i in range(len(weights)))
    assert SkipResidual.for_stage(setup).denoised(estimate, 0) is not estimate


def test_statistics_are_matched_after_the_last_step_only(later_stage):
    _, setup = later_stage()
    control, x = MatchStatistics.for_stage(setup), torch.randn(1, 4, 16, 24)
    assert control.after(x, 0) is x and control.after(x, 1) is x
    torch.testing.assert_close(control.after(x, 2).mean((2, 3)), setup.reference.mean((2, 3)))


def test_a_keep_base_of_zero_changes_no_byte_of_the_sample(later_stage):
    _, setup = later_stage(keep_base=0.0)
    sample = torch.randn(1, 3, 128, 192)
    assert torch.equal(KeepBase.for_stage(setup).decoded(sample.clone()), sample)


def test_the_dilated_branch_alone_takes_evaluations_and_none_in_the_main_prediction(later_stage):
    for use, extra in (("branch", 1), ("main", 0)):
        _, setup = later_stage(dilation_use=use, dilation_until=0.5)
        assert extra_evaluations(setup.stage, setup.weights) == (extra, extra, 0)
    assert extra_evaluations(setup.stage, ()) == ()
