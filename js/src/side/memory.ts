// How much memory is taken: by this kernel, and by all others.

import { aria, h, vary, write } from "../lib/dom";
import { bytesIn } from "../lib/words";
import type { Host } from "./host";
import type { Memory } from "./said";
import { section } from "./section";

export function memory(host: Host) {
  const { __ } = host.texts;
  const bar = h(
    "div",
    {
      class: "sdw-side-bar",
      role: "meter",
      "aria-label": __("Memory"),
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": 0,
    },
    h("span", "sdw-side-own"),
    h("span", "sdw-side-others"),
  );
  const [device, free] = [h("span", "sdw-side-name"), h("span", "sdw-side-number")];
  const [own, total] = [h("span", "sdw-side-what sdw-side-mine"), h("span", "sdw-side-number")];
  const below = h("p", "sdw-side-pair sdw-side-what", own, total);
  const body = h(
    "div",
    "sdw-side-body sdw-side-memory",
    h("p", "sdw-side-pair", device, free),
    bar,
    below,
  );

  return {
    element: section(host, __("Memory"), body),
    show(now: Memory | undefined) {
      body.toggleAttribute("data-unknown", now === undefined);
      if (now === undefined) {
        for (const part of [device, free, own, total]) write(part, "");
        vary(bar, "own", "0%");
        vary(bar, "others", "0%");
        aria(bar, "valuenow", 0);
        aria(bar, "valuetext", __("not known"));
        return;
      }
      const used = now.total - now.free;
      const process = Math.min(now.process ?? 0, used);
      const share = (part: number) => `${((100 * part) / now.total).toFixed(1)}%`;
      vary(bar, "own", share(process));
      vary(bar, "others", share(used - process));
      aria(bar, "valuenow", Math.round((100 * used) / now.total));
      const taken = __("%1 of %2 in use", bytesIn(used), bytesIn(now.total));
      aria(bar, "valuetext", taken);
      write(device, now.name);
      write(free, __("%1 free", bytesIn(now.free)));
      write(own, now.process === null ? "" : __("this kernel %1", bytesIn(now.process)));
      write(total, __("of %1", bytesIn(now.total)));
      bar.title = taken;
    },
  };
}
