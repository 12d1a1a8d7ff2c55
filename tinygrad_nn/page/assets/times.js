// Where the time goes: kernels, memory, stages of the compiler.
"use strict";
page.part("times", {
  mount(root, data, page) {
    const { html, svg, number } = page;
    const units = (value, names, step) => {
      let k = 0;
      while (value >= step && k < names.length - 1) [value, k] = [value / step, k + 1];
      return `${number(value, 3)} ${names[k]}`;
    };
    const time = (ns) => units(ns, ["ns", "\u00b5s", "ms", "s"], 1000);
    const bytes = (count) => units(count, ["B", "kB", "MB", "GB"], 1000);
    const percent = (share) => (share > 0 && share < 0.001 ? "< 0.1 %" : `${number(Math.round(1000 * share) / 10, share < 0.1 ? 2 : 3)} %`);
    const by = (lengths) => (lengths.length ? lengths.join(" \u00d7 ") : "1");
    const output = () => html("output", { class: "readout" });
    const say = (place, name, ...words) => place.replaceChildren(html("b", null, page.visible(name)), page.visible(words.join("")));

    // What is chosen by arrow keys, a click or a tap: one of the options of a list, of which one can be reached by Tab.
    const choosing = (list, options, chosen) => {
      const pick = (k, focus = false) => {
        options.forEach((one, j) => {
          one.setAttribute("aria-selected", String(j === k));
          one.setAttribute("tabindex", j === k ? "0" : "-1");
        });
        if (focus) options[k].focus();
        chosen(k);
      };
      options.forEach((one, k) => {
        one.setAttribute("tabindex", k ? "-1" : "0");
        one.setAttribute("aria-selected", "false");
        one.addEventListener("click", () => pick(k));
        one.addEventListener("focus", () => one.matches(":focus-visible") && pick(k));
        one.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && chosen(k, true));
      });
      list.addEventListener("keydown", (event) => {
        const shown = [...list.children]; // in the order in which they are shown
        const at = shown.indexOf(document.activeElement);
        const next = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: shown.length - 1 }[event.key];
        if (at < 0 || next === undefined) return;
        event.preventDefault();
        pick(options.indexOf(shown[Math.max(0, Math.min(shown.length - 1, next))]), true);
      });
      return pick;
    };

    // What computes the node that is selected in any part, or that the pointer is on, is marked.
    const linked = (options, nodes) => {
      const show = (name) => (one) =>
        options.forEach((option, k) => option.classList.toggle(name, Boolean(one && one.kind === "node" && nodes(k).includes(one.id))));
      page.on("select", show("linked"));
      page.on("hover", show("near"));
      show("linked")(page.selected);
    };

    // ---- kernels -----------------------------------------------------------------------------------------------------

    let mark = () => {};
    const kernels = () => {
      const card = html("section", { class: "card", "aria-label": "Kernels" }, html("h2", null, "Time of each kernel"));
      const own = data.kernels;
      if (own.missing) return card.append(page.missing(own.missing)), card;
      const rows = own.rows;
      const total = rows.reduce((sum, row) => sum + row.ns, 0) || 1;
      const most = Math.max(...rows.map((row) => row.ns), 1e-9);
      const flops = rows.reduce((sum, row) => sum + row.flops, 0);
      const tile = (name, value) => html("li", null, html("b", null, value), name);
      root.append(
        html("ul", { class: "tiles" },
          tile("a call, all kernels", time(total)),
          tile("operations a second", `${units((1e9 * flops) / total, ["", "k", "M", "G", "T"], 1000)}flop/s`),
          tile("peak of one core, float64", `${units(own.peak, ["", "k", "M", "G", "T"], 1000)}flop/s`),
          tile("memory", bytes(data.memory.size)),
          tile(`to compile${data.cached ? ", code from the cache" : ""}`, time(1e9 * data.stages.reduce((sum, one) => sum + one[1], 0)))));
      card.append(
        html("p", { class: "note" }, "In the order in which they run, each timed by itself with warm caches, on this batch. The second bar is the share of this machine\u2019s peak in multiply-adds; all operations count, so more than 100 % may be."),
        rows.length < own.count ? html("p", { class: "note" }, `An index was out of range: ${own.count - rows.length} kernels behind it did not run.`) : "");
      const options = rows.map((row) =>
        html("div", { role: "option", "aria-label": `${row.name}, ${time(row.ns)}, ${percent(row.ns / total)} of the time, ${percent(row.rate)} of peak` },
          html("span", { class: "name" }, row.name),
          html("span", { class: "track" }, html("span", { class: "fill", style: `display:block;width:${(100 * row.ns) / most}%` })),
          html("span", { class: "value" }, `${time(row.ns)} \u00b7 ${percent(row.ns / total)}`),
          html("span", { class: "track" }, html("span", { class: "fill rate", style: `display:block;width:${Math.min(100, 100 * row.rate)}%` })),
          html("span", { class: "value percent" }, percent(row.rate))));
      const list = html("div", { class: "bars peak", role: "listbox", "aria-label": "Time of each kernel" }, options);
      const slowest = rows.map((_, k) => k).sort((a, b) => rows[b].ns - rows[a].ns);
      const order = html("button", { type: "button", "aria-pressed": "false", onclick: () => {
        const on = order.getAttribute("aria-pressed") !== "true";
        order.setAttribute("aria-pressed", String(on));
        list.append(...(on ? slowest.map((k) => options[k]) : options));
      } }, "Slowest first");
      const place = output();
      choosing(list, options, (k, passing) => {
        const row = rows[k];
        say(place, row.name, ` \u2014 ${row.sources.join(", ")}. ${row.times > 1 ? `${number(row.times)} times ` : ""}${by(row.loops)} iterations`,
          row.vector ? `, vector axis ${row.vector}` : ", no vectors", `; ${number(row.flops)} operations, ${bytes(row.bytes)} touched, ${time(row.ns)}, ${percent(row.rate)} of peak.`);
        mark(row.name);
        if (!passing && row.nodes.length) page.select("node", row.nodes[row.nodes.length - 1]);
      });
      linked(options, (k) => rows[k].nodes);
      card.append(html("div", { class: "bar" }, order), html("div", { class: "long" }, list), place, page.table("kernels",
        ["kernel", "ops", "loops", "vector", ...["operations", "bytes", "ns", "% of time", "% of peak"].map((name) => ({ name, number: true }))],
        rows.map((row) => [row.name, row.sources.join(", "), by(row.loops), row.vector || "\u2013", row.flops, row.bytes, row.ns, (100 * row.ns) / total, 100 * row.rate])));
      return card;
    };

    // ---- memory ------------------------------------------------------------------------------------------------------

    const ROLES = { input: "from outside: arguments, parameters, state", constant: "constant", temporary: "between kernels", state: "the new state, in the place of the old one", result: "returned" };
    const memory = () => {
      const { size, buffers, count, whole, kernels: names } = data.memory;
      const saved = whole > size ? `, ${percent(1 - size / whole)} less than all buffers one behind the other` : "";
      const card = html("section", { class: "card", "aria-label": "Memory" }, html("h2", null, "Who lies where in memory, and when"),
        html("p", { class: "note" }, `${bytes(size)} for ${number(count)} buffers${saved}. To the right the kernels, in their order; downwards the memory.`,
          buffers.length < count && ` The ${number(buffers.length)} largest are drawn.`));
      const [top, left, right] = [22, 64, 8];
      const height = Math.max(160, Math.min(460, 60 + 14 * buffers.length));
      const steps = names.length;
      const roles = [...new Set(buffers.map((one) => one[1]))];
      const words = ([, role, dtype, shape, at, own, begin, end, op]) =>
        `${op ? `${op}, ` : ""}${dtype}[${shape.join(", ")}], ${bytes(own)} from byte ${number(at)}, ${ROLES[role]}, ` +
        (begin === 0 && end === steps - 1 ? "all the time" : `from ${names[begin]} to ${names[end]}`);
      const place = output();
      const holder = html("div", { class: "holder" });
      let marked = -1;
      const y = (at) => top + (height * at) / size;
      const drawn = (width) => {
        const x = (k) => left + ((width - left - right) * k) / steps;
        const options = buffers.map((one) => {
          const [name, role, , , at, own, begin, end] = one;
          return svg("rect", { role: "option", class: `role-${role}`, "aria-label": `${name}: ${words(one)}`, x: x(begin), y: y(at), width: Math.max(2, x(end + 1) - x(begin)), height: Math.max(1.5, y(at + own) - y(at)) });
        });
        const labels = buffers.map(([name, , , shape, at, own, begin, end, op]) => {
          const text = `${op || name} ${by(shape)}`;
          const fits = y(at + own) - y(at) > 15 && x(end + 1) - x(begin) > 6.2 * text.length + 12;
          return fits && svg("text", { class: "within", x: x(begin) + 6, y: y(at) + 12.5, "aria-hidden": "true" }, text);
        });
        const band = svg("rect", { class: "now", x: 0, y: top, width: 0, height });
        const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => [
          svg("line", { class: "grid", x1: left - 4, x2: width - right, y1: y(part * size), y2: y(part * size) }),
          svg("text", { x: left - 8, y: y(part * size) + 4, "text-anchor": "end" }, bytes(Math.round(part * size))),
        ]);
        const letters = Math.floor((width - left - right) / 14);
        const heads = [svg("text", { x: left, y: 14 }, names[0].slice(0, letters)), steps > 1 && svg("text", { x: width - right, y: 14, "text-anchor": "end" }, names[steps - 1].slice(0, letters))];
        const list = svg("g", { role: "listbox", "aria-label": "Buffers in memory" }, options);
        choosing(list, options, (k, passing) => {
          say(place, buffers[k][0], ` \u2014 ${words(buffers[k])}.`);
          const nodes = buffers[k][9];
          if (!passing && nodes.length) page.select("node", nodes[nodes.length - 1]);
        });
        mark = (name) => {
          marked = name;
          const k = names.indexOf(name);
          band.setAttribute("x", k < 0 ? 0 : x(k));
          band.setAttribute("width", k < 0 ? 0 : x(k + 1) - x(k));
        };
        mark(marked);
        linked(options, (k) => buffers[k][9]);
        return svg("svg", { class: "arena", width, height: top + height + 8, viewBox: `0 0 ${width} ${top + height + 8}` }, ticks, heads, list, labels, band);
      };
      let wide = 0;
      new ResizeObserver(() => {
        if (!holder.clientWidth || holder.clientWidth === wide) return;
        wide = holder.clientWidth;
        holder.replaceChildren(drawn(wide));
      }).observe(holder);
      card.append(html("ul", { class: "legend" }, roles.map((role) => html("li", null, html("i", { class: `role-${role}` }), ROLES[role]))), holder, place,
        page.table("buffers", ["buffer", "holds", "role", "dtype", "shape", { name: "first byte", number: true }, { name: "bytes", number: true }, "from", "to"],
          buffers.map(([name, role, dtype, shape, at, own, begin, end, op]) => [name, op, role, dtype, by(shape), at, own, names[begin], names[end]])));
      return card;
    };

    // ---- the compiler --------------------------------------------------------------------------------------------------

    const stages = () => {
      const most = Math.max(...data.stages.map((one) => one[1]), 1e-12);
      const total = data.stages.reduce((sum, one) => sum + one[1], 0);
      const options = data.stages.map(([name, seconds]) =>
        html("div", { role: "option", "aria-label": `${name}, ${time(1e9 * seconds)}` }, html("span", { class: "name" }, name),
          html("span", { class: "track" }, html("span", { class: "fill", style: `display:block;width:${(100 * seconds) / most}%` })),
          html("span", { class: "value" }, `${time(1e9 * seconds)} \u00b7 ${percent(seconds / total)}`)));
      const list = html("div", { class: "bars", role: "listbox", "aria-label": "Time of each stage of the compiler" }, options);
      choosing(list, options, () => {});
      return html("section", { class: "card", "aria-label": "Compiler" }, html("h2", null, "Time of each stage of the compiler"),
        data.cached && html("p", { class: "note" }, "The machine code was in the cache."), list,
        page.table("stages of the compiler", ["stage", { name: "ms", number: true }], data.stages.map(([name, seconds]) => [name, 1000 * seconds])));
    };

    const first = kernels();
    root.append(first, memory(), stages());
  },
});
