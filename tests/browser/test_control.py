"""The viewers' panel of what controls add, on an exported page: the steps by keyboard and click."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from control_nets import control_config, picture, random_control
from playwright.sync_api import BrowserContext, expect

from sdwidgets.configs import TINY, ModelConfig
from sdwidgets.control import Control
from sdwidgets.pipeline import LatentDiffusion

pytestmark = pytest.mark.browser


def test_its_maps_follow_the_step(
    make_model: Callable[[ModelConfig], LatentDiffusion], context: BrowserContext, tmp_path: Path
) -> None:
    control = Control(random_control(control_config(TINY)), picture(), end=0.5)
    trace = make_model(TINY).generate("a cat", steps=4, seed=1, control=control)
    page = context.new_page()
    page.goto(trace.export_html(tmp_path / "run.html").as_uri())
    viewer, panel = page.locator(".sdw-viewer"), page.locator(".sdw-control")
    expect(panel.locator("figcaption > :first-child")).to_have_text(["down 1", "down 2", "mid"])
    shares = panel.locator(".sdw-map-range")
    expect(shares).to_have_text(["0 %"] * 3)  # at the end it does not act
    bars = panel.locator(".sdw-control-steps > span")
    expect(bars).to_have_count(4)
    viewer.locator("input[type=range]").first.focus()
    page.keyboard.press("Home")
    expect(viewer).to_have_attribute("data-step", "0")
    expect(shares.first).not_to_have_text("0 %")
    bars.nth(1).click()
    expect(viewer).to_have_attribute("data-step", "1")
    expect(panel.locator(".sdw-control-steps")).to_have_attribute(
        "aria-label", "a ControlNet acts in 2 of 4 steps"
    )
    colours = page.evaluate(
        "() => new Set(document.querySelector('.sdw-control canvas').getContext('2d')"
        ".getImageData(0, 0, 8, 8).data).size"
    )
    assert colours > 4
