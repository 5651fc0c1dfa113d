"""What a page shows to eyes, as far as styles tell: texts, focus rings, and forced colours.

axe-core has no rules for the last two, and does not judge every text.
"""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator

# The contrast of two stacks of colours by WCAG 2, and the colours behind an element.
COLOURS = """
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
    const light = (layers) => {
        canvas.clearRect(0, 0, 1, 1);
        for (const colour of layers) {
            canvas.fillStyle = colour;
            canvas.fillRect(0, 0, 1, 1);
        }
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => {
            const c = v / 255;
            return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = (one, other) => {
        const pair = [light(one), light(other)];
        return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    };
    const behind = (e) => {
        const layers = ['white'];
        const all = [];
        for (let at = e; at; at = at.parentElement) all.unshift(at);
        return [...layers, ...all.map((at) => getComputedStyle(at).backgroundColor)];
    };
    const named = (e) => `${e.tagName.toLowerCase()}.${[...e.classList].join('.')}`;
    const seen = (e) => e.checkVisibility({visibilityProperty: true, opacityProperty: true});
"""

# Texts whose contrast against what is behind them is less than 4.5: [text, contrast].
FAINT = (
    """(root) => {
"""
    + COLOURS
    + """
    const own = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    const off = '[aria-disabled=true], :disabled';
    return [...root.querySelectorAll('*')]
        .filter((e) => own(e) && e.checkVisibility({visibilityProperty: true}) && !e.closest(off))
        .map((e) => {
            const ground = behind(e);
            const found = contrast([...ground, getComputedStyle(e).color], ground);
            return [`${e.tagName} ${e.className}: ${e.textContent}`, found];
        })
        .filter(([, found]) => found < 4.5);
}"""
)

# What changes at an element, or at what is around it, when it gets the focus: [colour, where].
RINGS = (
    """async (root) => {
"""
    + COLOURS
    + """
    const around = (e) => [e, e.parentElement, e.parentElement.parentElement];
    const marks = (e) => around(e).map((at) => {
        const style = getComputedStyle(at);
        const outline = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
        const shadow = style.boxShadow.match(/^(\\w+\\([^)]*\\))/)?.[1];
        return [
            outline ? style.outlineColor : '',
            shadow ?? '',
            parseFloat(style.borderBottomWidth) >= 1 ? style.borderBottomColor : '',
        ];
    });
    const focusable = 'a[href], button, input, select, textarea, summary, [tabindex="0"]';
    const met = new Set();
    const faint = [];
    for (const e of root.querySelectorAll(focusable)) {
        if (!seen(e) || e.disabled || met.has(named(e))) continue;
        met.add(named(e));
        document.activeElement?.blur();
        const before = marks(e);
        e.focus({preventScroll: true});
        await new Promise(requestAnimationFrame);
        if (document.activeElement !== e) continue;  // another place takes it
        const best = Math.max(0, ...marks(e).flatMap((after, i) => {
            const ground = behind(around(e)[i].parentElement);
            return after.flatMap((colour, k) =>
                colour && colour !== before[i][k] ? [contrast([...ground, colour], ground)] : []);
        }));
        if (best < 3) faint.push(`${named(e)}: ${best.toFixed(1)}`);
        e.blur();
    }
    return faint;
}"""
)

# The elements that nothing but a background shows.
PAINTED = (
    """(root) => {
"""
    + COLOURS
    + """
    return [...root.querySelectorAll('*')].filter((e) => {
        const style = getComputedStyle(e);
        const {width, height} = e.getBoundingClientRect();
        return seen(e) && width >= 2 && height >= 2 && !e.children.length && !e.textContent.trim()
            && !['IMG', 'CANVAS', 'INPUT', 'SELECT', 'TEXTAREA', 'PROGRESS'].includes(e.tagName)
            && !e.closest('svg')
            && contrast(behind(e), behind(e.parentElement)) > 1.15;
    });
}"""
)

LOST = (
    """(root, painted) => {
"""
    + COLOURS
    + """
    const lost = painted.filter((e) => {
        const style = getComputedStyle(e);
        const border = ['Top', 'Right', 'Bottom', 'Left'].some((side) =>
            parseFloat(style[`border${side}Width`]) > 0 && style[`border${side}Style`] !== 'none');
        const outline = style.outlineStyle !== 'none';
        const filled = contrast(behind(e), behind(e.parentElement)) > 1.15;
        return !border && !outline && !filled && style.backgroundImage === 'none';
    });
    return [...new Set(lost.map((e) => `${named(e)} vanishes`))];
}"""
)

# Elements that are pressed, selected or current, and look as if they were not.
ALIKE = (
    """(root) => {
"""
    + COLOURS
    + """
    const properties = ['color', 'backgroundColor', 'borderTopColor', 'borderTopWidth',
        'borderTopStyle', 'borderBottomColor', 'borderBottomWidth', 'borderBottomStyle',
        'outlineStyle', 'outlineColor', 'outlineWidth', 'textDecorationLine', 'fontWeight',
        'content', 'display', 'visibility', 'opacity', 'backgroundImage', 'width', 'height'];
    const look = (e) => JSON.stringify([e, ...e.querySelectorAll('*')].flatMap((at) =>
        ['', '::before', '::after'].map((part) => {
            const style = getComputedStyle(at, part || null);
            return part && style.content === 'none' ? '' : properties.map((name) => style[name]);
        })));
    const states = ['aria-pressed', 'aria-checked', 'aria-selected', 'aria-current'];
    const alike = new Set();
    for (const state of states)
        for (const e of root.querySelectorAll(`[${state}]:not([${state}=false])`)) {
            if (!seen(e) || e.matches('input')) continue;
            const [value, pressed] = [e.getAttribute(state), look(e)];
            if (state === 'aria-current') e.removeAttribute(state);
            else e.setAttribute(state, 'false');
            if (look(e) === pressed) alike.add(`${named(e)}: ${state} cannot be seen`);
            e.setAttribute(state, value);
        }
    return [...alike];
}"""
)


def faint_texts(element: Locator) -> list[list[Any]]:
    """Return the texts with a contrast of less than 4.5, each with its contrast."""
    found: list[list[Any]] = element.evaluate(FAINT)
    return found


def faint_rings(element: Locator) -> list[str]:
    """Return what shows the focus with a contrast of less than 3, each kind of element once."""
    element.page.keyboard.press("Shift")  # rings are for those who use keys
    found: list[str] = element.evaluate(RINGS)
    return found


def lost_in_forced_colours(element: Locator) -> list[str]:
    """Return what cannot be seen where the browser forces its colours: shapes, and states."""
    page = element.page
    painted = element.evaluate_handle(PAINTED)
    page.emulate_media(forced_colors="active")
    try:
        lost: list[str] = element.evaluate(LOST, painted)
        alike: list[str] = element.evaluate(ALIKE)
        return lost + alike
    finally:
        page.emulate_media(forced_colors="none")
