// What runs and what waits, with its progress; stopped and put in another order here.

import { aria, h, on, write } from "../lib/dom";
import { clamp } from "../lib/numbers";
import { duration } from "../lib/words";
import type { Host } from "./host";
import { type Row, rows } from "./rows";
import { type Job, running, waiting } from "./said";
import { allow, iconButton, section } from "./section";

const ROW = 44; // pixels
const MOST = 6; // waiting jobs in view

export interface Asked {
  stop(job: number): void;
  move(job: number, to: number): void;
}

export function queue(host: Host, asked: Asked) {
  const { __, _n } = host.texts;
  const stopping = new Set<number>();
  const title = (job: Job) =>
    job.prompt === null ? __("Loading %1", job.model) : job.prompt || __("no prompt");

  // ------------------------------------------------------------------------- the job that runs

  const name = h("span", { class: "sdw-side-name", dir: "auto" });
  const [where, left] = [h("span"), h("span", "sdw-side-number")];
  const progress = h("progress", { class: "sdw-progress sdw-side-progress", max: 1, value: 0 });
  const end = iconButton(host, "stop", __("Stop the run"), () => now && stop(now));
  const row = h("div", "sdw-side-running", h("div", "sdw-side-pair", name, end), progress);
  const numbers = h("p", "sdw-side-pair sdw-side-what", where, left);
  row.append(numbers);
  let now: Job | undefined;

  const stop = (job: Job) => {
    stopping.add(job.id);
    asked.stop(job.id);
    draw();
  };

  // ------------------------------------------------------------------------- the jobs that wait

  let queued: readonly Job[] = [];
  const move = (job: Job, by: number) => {
    const from = queued.findIndex(({ id }) => id === job.id);
    const to = clamp(from + by, 0, queued.length - 1);
    if (from >= 0 && to !== from) asked.move(job.id, to);
  };
  const waitingRow = (): Row<Job> => {
    let job: Job | undefined;
    const words = h("span", { class: "sdw-side-name", dir: "auto" });
    const what = h("span", { class: "sdw-side-what", dir: "auto" });
    const act = (by: number) => () => job && move(job, by);
    const up = iconButton(host, "up", __("Earlier"), act(-1));
    const down = iconButton(host, "down", __("Later"), act(1));
    const off = iconButton(host, "close", __("Remove from the queue"), () => job && stop(job));
    const buttons = [up, down, off];
    const stops = h("div", { class: "sdw-side-acts", role: "gridcell" }, ...buttons);
    const element = h(
      "div",
      { class: "sdw-side-job", role: "row" },
      h("div", { class: "sdw-side-lines", role: "gridcell" }, words, what),
      stops,
    );
    for (const button of buttons.slice(1)) button.tabIndex = -1;
    on(element, "keydown", (event) => {
      const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
      const beside = { ArrowLeft: at - 1, ArrowRight: at + 1 }[event.key];
      if (at >= 0 && beside !== undefined) buttons[clamp(beside, 0, 2)]?.focus();
      else if (event.altKey && event.key === "ArrowUp") act(-1)();
      else if (event.altKey && event.key === "ArrowDown") act(1)();
      else if (event.key === "Delete" && job) stop(job);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    return {
      element,
      stop: up,
      show(next) {
        job = next;
        const place = queued.findIndex(({ id }) => id === next.id);
        write(words, title(next));
        write(what, next.model);
        element.title = title(next);
        allow(up, place > 0);
        allow(down, place < queued.length - 1);
        allow(off, !stopping.has(next.id));
        for (const [button, verb] of [
          [up, __("Earlier")],
          [down, __("Later")],
          [off, __("Remove from the queue")],
        ] as const) {
          aria(button, "label", `${verb}: ${title(next)}`);
        }
      },
    };
  };
  const list = rows<Job>(__("Waiting runs"), ({ id }) => String(id), waitingRow, ROW, MOST);
  const note = h("p", { class: "sdw-side-note", role: "status" });
  const body = h("div", "sdw-side-body", row, list.element, note);

  const outcome = (job: Job) => {
    if (job.state === "error") return job.message || __("The last run failed.");
    if (job.state === "stopped") return job.message || __("Stopped.");
    return "";
  };

  let jobs: readonly Job[] = [];
  function draw() {
    now = running(jobs);
    queued = waiting(jobs);
    const last = jobs.filter(({ state }) => ["done", "stopped", "error"].includes(state)).at(-1);
    row.toggleAttribute("data-idle", now === undefined);
    write(name, now ? title(now) : __("Nothing runs"));
    row.title = now ? title(now) : "";
    allow(end, now !== undefined && !stopping.has(now.id));
    const loads = now?.prompt === null;
    aria(end, "label", loads ? __("Stop loading") : __("Stop the run"));
    if (now === undefined) {
      progress.value = 0;
      write(where, last ? outcome(last) : "");
      write(left, "");
    } else {
      if (now.steps > 0) progress.value = now.step / now.steps;
      else progress.removeAttribute("value");
      const step = now.steps > 0 ? __("step %1 of %2", now.step, now.steps) : now.message;
      write(where, stopping.has(now.id) ? __("Stopping") : step);
      write(left, now.eta === null ? "" : __("%1 left", duration(now.eta)));
    }
    where.toggleAttribute("data-bad", now === undefined && last?.state === "error");
    progress.setAttribute("aria-label", now ? title(now) : __("Progress"));
    list.show(queued);
    write(note, queued.length === 0 ? "" : _n("%1 run waits", "%1 runs wait", queued.length));
  }

  return {
    element: section(host, __("Queue"), body),
    show(next: readonly Job[]) {
      jobs = next;
      const alive = new Set(next.map(({ id }) => id));
      for (const id of stopping) if (!alive.has(id)) stopping.delete(id);
      draw();
    },
    refused() {
      stopping.clear();
      draw();
    },
  };
}
