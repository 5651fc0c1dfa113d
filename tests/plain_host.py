"""A page that knows nothing but anywidget's interface, with a widget of this process in it.

It stands for the hosts that have no manager of ipywidgets: each `Kind` hands over binary values,
the signal and the manager in its own way, as VS Code, marimo and others do.
"""

from __future__ import annotations

import base64
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from ipywidgets.widgets.widget import _remove_buffers
from playwright.sync_api import Page

HOST = """
class Model {
    #listeners = new Map();
    #dirty = new Set();
    constructor(state, kind) {
        this.state = state;
        this.kind = kind;
        if (kind.manager === 'refuses')
            this.widget_manager = { get_model: async () => { throw new Error('not here'); } };
    }
    get(name) { return this.state[name]; }
    set(name, value) {
        this.#dirty.add(name);
        this.take({ [name]: value });
    }
    take(changes) {
        const names = Object.keys(changes).filter((name) => this.state[name] !== changes[name]);
        Object.assign(this.state, changes);
        for (const name of names) this.emit(`change:${name}`, changes[name]);
        if (names.length) this.emit('change');
    }
    on(name, listener) {
        this.#listeners.set(name, (this.#listeners.get(name) ?? new Set()).add(listener));
    }
    off(name, listener) {
        if (listener) this.#listeners.get(name)?.delete(listener);
        else this.#listeners.delete(name);
    }
    emit(name, ...values) {
        for (const each of [...(this.#listeners.get(name) ?? [])]) each(...values);
    }
    get listening() {
        return [...this.#listeners.values()].reduce((sum, some) => sum + some.size, 0);
    }
    save_changes() {
        const state = Object.fromEntries([...this.#dirty].map((name) => [name, this.state[name]]));
        this.#dirty.clear();
        toKernel({ method: 'update', state, buffer_paths: [] }, []);
    }
    send(content, callbacks, buffers = []) {
        const texts = buffers.map((each) => encoded(new Uint8Array(each.buffer ?? each)));
        toKernel({ method: 'custom', content }, texts);
    }
}

const encoded = (data) => btoa(Array.from(data, (each) => String.fromCharCode(each)).join(''));
const binary = (text, { binary }) => {
    const data = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
    if (binary === 'numbers') return [...data];
    return binary === 'DataView' ? new DataView(data.buffer) : data;
};
const whole = ({ state, paths, buffers }, kind) => {
    paths.forEach((path, i) => {
        const holder = path.slice(0, -1).reduce((at, key) => at[key], state);
        holder[path.at(-1)] = binary(buffers[i], kind);
    });
    return state;
};

const empty = ({ width, height }) =>
    Object.assign(document.createElement('canvas'), { width, height }).toDataURL();

window.host = {
    async show(code, style, packed, kind) {
        const sheet = document.createElement('style');
        sheet.textContent = style;
        document.head.append(sheet);
        const url = URL.createObjectURL(new Blob([code], { type: 'text/javascript' }));
        const { default: widget } = await import(url);
        const model = new Model(whole(packed, kind), kind);
        const el = document.body.appendChild(document.createElement('div'));
        const ended = new AbortController();
        const more = kind.signal ? { signal: ended.signal } : {};
        const experimental = { invoke: async () => { throw new Error('not here'); } };
        const undo = [
            await widget.initialize?.({ model, experimental, ...more }),
            await widget.render({ model, el, experimental, ...more }),
        ];
        Object.assign(this, { model, el });
        this.end = () => {
            ended.abort();
            for (const each of undo.reverse()) each?.();
            el.remove();
            return model.listening;
        };
    },
    take(packed) { this.model.take(whole(packed, this.model.kind)); },
    hear(content, buffers) {
        const { kind } = this.model;
        this.model.emit('msg:custom', content, buffers.map((each) => binary(each, kind)));
    },
    /** What a person sees: the texts, the sizes of images, and the pixels of canvases. */
    seen() {
        const canvases = [...this.el.querySelectorAll('canvas')].filter((e) => e.checkVisibility());
        const images = [...this.el.querySelectorAll('img[src]')].filter((e) => e.checkVisibility());
        return {
            text: this.el.innerText,
            images: images.map((e) => [e.complete, e.naturalWidth, e.naturalHeight]),
            canvases: canvases.map((e) => e.toDataURL()),
            drawn: canvases.some((e) => e.width && e.toDataURL() !== empty(e)),
        };
    },
};
"""


@dataclass(frozen=True)
class Kind:
    """What a host does in its own way.

    ``binary``: how binary values come, as "DataView", "Uint8Array" or "numbers". ``manager``: ""
    where there is no ``widget_manager``, "refuses" where it gives no model.
    """

    binary: str
    signal: bool
    manager: str


KINDS = {
    "anywidget": Kind("DataView", signal=False, manager="refuses"),
    "marimo": Kind("Uint8Array", signal=True, manager=""),
    "VS Code": Kind("numbers", signal=False, manager="refuses"),
}


class Host:
    """A page with a single widget."""

    def __init__(self, page: Page, kind: Kind):
        self.page, self.kind = page, kind
        self.problems: list[str] = []
        self.widget: Any = None
        page.on("pageerror", lambda error: self.problems.append(f"{error}\n{error.stack}"))
        page.on("console", self._said)
        page.expose_function("toKernel", self._receive)
        page.set_content("<!doctype html><title>A plain host</title><body></body>")
        page.evaluate(HOST)

    def _said(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(message.text)

    def _receive(self, data: dict[str, Any], buffers: list[str]) -> None:
        """Give the widget a message of its page."""
        content = {"content": {"data": data}, "buffers": [base64.b64decode(b) for b in buffers]}
        self.widget._handle_msg(content)

    def show(self, widget: Any) -> None:
        self.widget = widget
        arguments = [widget._esm, widget._css, packed(widget.get_state()), asdict(self.kind)]
        self.page.evaluate("(all) => host.show(...all)", arguments)

    def end(self) -> int:
        """Remove the widget; return how many listeners it has left."""
        return self.page.evaluate("() => host.end()")

    def hear(self, data: dict[str, Any], buffers: list[str]) -> None:
        """Take a message of the widget."""
        if data["method"] == "update":
            state = {"state": data["state"], "paths": data["buffer_paths"], "buffers": buffers}
            self.page.evaluate("(packed) => host.take(packed)", state)
        elif data["method"] == "custom":
            self.page.evaluate("(all) => host.hear(...all)", [data["content"], buffers])

    def seen(self) -> dict[str, Any]:
        """The texts, images and canvases on show."""
        return self.page.evaluate("() => host.seen()")


class Wire:
    """From a widget to pages; what any thread sends waits for `pump`."""

    def __init__(self, widget: Any, *hosts: Host):
        self._hosts = hosts
        self._waiting: deque[tuple[dict[str, Any], list[str]]] = deque()
        widget.comm.send = self._send
        for host in hosts:
            host.show(widget)

    def _send(self, data: Any = None, metadata: Any = None, buffers: Any = None) -> None:
        self._waiting.append((data, [encoded(each) for each in buffers or ()]))

    def pump(self) -> None:
        while self._waiting:
            data, buffers = self._waiting.popleft()
            for host in self._hosts:
                host.hear(data, buffers)


def packed(state: dict[str, Any]) -> dict[str, Any]:
    """A state as JSON, its binary values apart."""
    plain, paths, buffers = _remove_buffers(state)
    return {"state": plain, "paths": paths, "buffers": [encoded(each) for each in buffers]}


def encoded(data: Any) -> str:
    return base64.b64encode(bytes(data)).decode()
