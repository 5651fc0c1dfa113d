"""The Studio's list of LoRAs in a real JupyterLab: by hand, by keyboard, in light and dark."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest
from axe import violations
from playwright.sync_api import expect
from real_jupyter import Notebook, use_theme
from sight import faint_rings, faint_texts

pytestmark = pytest.mark.browser

STUDIO = """
import torch
from safetensors.torch import save_file
import sdwidgets as sdw

model = sdw.load()
tensors = {}
torch.manual_seed(0)
for name, weight in model.unet.named_parameters():
    if "attn2.to_v.weight" in name:
        key = "lora_unet_" + name.removesuffix(".weight").replace(".", "_")
        tensors[f"{key}.lora_up.weight"] = torch.randn(weight.shape[0], 4) / 4
        tensors[f"{key}.lora_down.weight"] = torch.randn(4, weight.shape[1]) / 4
save_file(tensors, "warm.safetensors")
xl = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
save_file(
    {f"{xl}.lora_up.weight": torch.ones(640, 4), f"{xl}.lora_down.weight": torch.ones(4, 2048)},
    "of_another_family.safetensors",
)
studio = sdw.Studio(prompt="a cat left of a car on a blue background", seed=7, steps=4)
studio
"""

Open = Callable[..., Notebook]


def test_loras_by_hand_and_by_keyboard(open_notebook: Open) -> None:
    notebook = open_notebook(STUDIO)
    notebook.run()
    page = notebook.page
    studio = notebook.find(".sdw-studio")
    added = studio.get_by_role("button", name="Add a LoRA")
    expect(added).not_to_be_visible()
    notebook.find(".sdw-more").click()

    # by keyboard alone: add, type the file, leave the field
    added.focus()
    page.keyboard.press("Enter")
    rows = studio.locator(".sdw-lora")
    expect(rows).to_have_count(1)
    path = rows.first.get_by_label("LoRA", exact=True)
    path.focus()
    page.keyboard.type("warm.safetensors")
    page.keyboard.press("Tab")
    strength = rows.first.get_by_label("strength", exact=True)
    expect(strength).to_be_focused()
    strength.fill("0.5")
    page.keyboard.press("Tab")
    notebook.generate()
    title = notebook.page.locator(".sdw-thumb").last
    expect(title).to_have_attribute("title", re.compile(r"with warm\.safetensors at 0\.5"))

    # the text encoders' strength is behind More
    text = rows.first.get_by_label("text strength", exact=True)
    expect(text).not_to_be_visible()
    rows.first.get_by_role("button", name="More").press("Space")
    expect(text).to_be_visible()

    # a file that does not fit: the error is at its row, with counts and the family
    added.click()
    expect(rows).to_have_count(2)
    wrong = rows.nth(1)
    wrong.get_by_label("LoRA", exact=True).fill("of_another_family.safetensors")
    wrong.get_by_label("LoRA", exact=True).press("Enter")
    notebook.find(".sdw-generate").click()
    notebook.wait_for_state("error")
    problem = wrong.locator(".sdw-lora-problem")
    expect(problem).to_contain_text("1 of 1 modules have no place here")
    expect(problem).to_contain_text("Stable Diffusion XL")
    expect(rows.first.locator(".sdw-lora-problem")).not_to_be_visible()

    for theme in ("Light", "Dark"):
        use_theme(page, theme)
        assert violations(studio) == [], theme
        assert faint_texts(studio) == [], theme
        assert faint_rings(studio) == [], theme
        if folder := os.environ.get("SDWIDGETS_LORA_SCREENSHOTS"):
            studio.screenshot(path=f"{folder}/loras_{theme}.png")
    use_theme(page, "Light")

    # off, and gone
    wrong.get_by_label("use").uncheck()
    notebook.wait_for_state("done")
    expect(problem).not_to_be_visible()
    notebook.generate()
    wrong.get_by_role("button", name="Remove").press("Enter")
    expect(rows).to_have_count(1)
    assert notebook.problems == []
