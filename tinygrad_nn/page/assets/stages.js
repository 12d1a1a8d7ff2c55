// The stages, two side by side. A line and a node mark each other, in every stage; long texts have only those lines in
// the page that are seen.
"use strict";
page.part("stages", {
  mount(root, data, page) {
    const { html, number } = page;
    const HEIGHT = 18; // pixels of a line
    const groups = data.groups.map((ids) => new Set(ids));
    const stages = data.stages.map((stage, k) => {
      const lines = stage.text.split("\n");
      if (stage.left) lines.push(`\u2026 ${number(stage.left)} more lines are left out`);
      const group = new Array(lines.length).fill(-1); // of each line: the nodes that it computes
      const marks = [];
      for (let at = 0, line = 0, own = 0; at < stage.marks.length; at += 3) {
        const first = line + stage.marks[at];
        line = first + stage.marks[at + 1];
        own += stage.marks[at + 2];
        const last = Math.min(line, lines.length - (stage.left ? 1 : 0));
        if (first < last) marks.push([first, last, own]);
        group.fill(own, first, last);
      }
      return { ...stage, k, lines, group, marks, wide: lines.reduce((most, line) => Math.max(most, line.replaceAll("\t", "    ").length), 0) };
    });
    let near = new Set(); // nodes that the pointer is on
    let chosen = new Set(); // nodes that are selected
    const touches = (ids, group) => group >= 0 && ids.size > 0 && [...ids].some((id) => groups[group].has(id));

    // ---- which groups are marked, worked out once for all lines ----------------------------------------------------

    const marked = { near: [], chosen: [] };
    const work = () => {
      marked.near = groups.map((_, k) => touches(near, k));
      marked.chosen = groups.map((_, k) => touches(chosen, k));
    };

    // ---- a pane ----------------------------------------------------------------------------------------------------

    const pane = (first, name) => {
      let stage = stages[first];
      let current = -1; // the line that the keyboard is on
      let query = "";
      const select = html("select", { "aria-label": `Stage, ${name} pane`, onchange: () => show(stages[select.value]) }, stages.map((one) => html("option", { value: one.k }, one.title)));
      const about = html("p", { class: "about" });
      const find = html("input", {
        type: "search", placeholder: "Find", "aria-label": `Find a text, ${name} pane`,
        oninput: () => {
          query = find.value.toLowerCase();
          current = -1;
          if (query) next(1);
          else draw();
        },
        onkeydown: (event) => event.key === "Enter" && query && next(event.shiftKey ? -1 : 1),
      });
      const save = html("button", { type: "button", onclick: () => keep() }, "Save");
      const tall = html("div", { class: "tall" });
      const view = html("div", { class: "text", tabindex: "0", role: "region", onscroll: () => draw(), onkeydown: (event) => keys(event) }, tall);
      const element = html("section", { class: "pane card", "aria-label": `${name} pane` }, html("header", null, select, find, save, about), view);

      const show = (one) => {
        stage = one;
        current = -1;
        select.value = one.k;
        about.textContent = `${one.about} ${number(one.lines.length)} line${one.lines.length === 1 ? "" : "s"}.`;
        view.setAttribute("aria-label", one.title);
        tall.style.height = `${one.lines.length * HEIGHT}px`;
        tall.style.minWidth = `max(100%, calc(${one.wide + 1}ch + 6em))`;
        view.scrollTop = 0;
        draw();
        seek();
      };
      const draw = () => {
        const top = Math.max(0, Math.floor(view.scrollTop / HEIGHT) - 4);
        const bottom = Math.min(stage.lines.length, top + Math.ceil((view.clientHeight || 600) / HEIGHT) + 8);
        const made = [];
        for (let k = top; k < bottom; k++) {
          const group = stage.group[k];
          const kinds = ["line", group >= 0 && "known", marked.near[group] && "marked", marked.chosen[group] && "chosen", k === current && "current", query && stage.lines[k].toLowerCase().includes(query) && "found"];
          made.push(html("div", { class: kinds.filter(Boolean).join(" "), "data-line": k, style: `top: ${k * HEIGHT}px` }, html("b", { "aria-hidden": "true" }, k + 1), stage.lines[k]));
        }
        tall.replaceChildren(...made);
      };
      const to = (k) => {
        const [top, height] = [k * HEIGHT, view.clientHeight || 600];
        if (top < view.scrollTop + HEIGHT || top > view.scrollTop + height - 3 * HEIGHT) view.scrollTop = Math.max(0, top - height / 3);
        draw();
      };
      // The first line of what is selected comes into sight, unless one of them is.
      const seek = () => {
        const top = view.scrollTop / HEIGHT;
        const bottom = top + (view.clientHeight || 600) / HEIGHT - 1;
        const lines = stage.group.flatMap((group, k) => (marked.chosen[group] ? [k] : []));
        if (lines.length && !lines.some((k) => k >= top && k < bottom)) to(lines[0]);
      };
      const next = (way) => {
        const count = stage.lines.length;
        for (let step = 1; step <= count; step++) {
          const k = (current + way * step + count * 2) % count;
          if (stage.lines[k].toLowerCase().includes(query)) {
            current = k;
            return to(k);
          }
        }
        draw();
      };
      const at = (event) => {
        const line = event.target.closest?.("[data-line]");
        return line ? stage.group[line.dataset.line] : -1;
      };
      const keys = (event) => {
        const way = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (event.key === "Enter" && current >= 0) choose(stage.group[current]);
        if (!way) return;
        event.preventDefault();
        current = Math.min(stage.lines.length - 1, Math.max(0, current < 0 ? Math.round(view.scrollTop / HEIGHT) : current + way));
        hover(stage.group[current]);
        to(current);
      };
      const keep = () => {
        const link = html("a", { href: URL.createObjectURL(new Blob([stage.text], { type: "text/plain" })), download: stage.file });
        link.click();
        URL.revokeObjectURL(link.href);
      };
      view.addEventListener("pointerover", (event) => hover(at(event)));
      view.addEventListener("pointerleave", () => hover(-1));
      view.addEventListener("click", (event) => {
        const line = event.target.closest?.("[data-line]");
        if (!line || String(getSelection())) return;
        current = Number(line.dataset.line);
        choose(at(event));
      });
      return { element, show, draw, seek, get stage() { return stage; } };
    };

    // ---- marking -----------------------------------------------------------------------------------------------------

    let telling = false;
    const hover = (group) => {
      const ids = group >= 0 ? groups[group] : new Set();
      if (ids === near) return;
      near = ids;
      refresh();
      telling = true;
      page.hover("node", ids.size === 1 ? [...ids][0] : null);
      telling = false;
    };
    const choose = (group) => {
      chosen = group >= 0 ? groups[group] : new Set();
      refresh();
      panes.forEach((one) => one.seek());
      telling = true;
      if (chosen.size) page.select("node", Math.max(...chosen));
      telling = false;
    };
    page.on("hover", (one) => {
      if (telling) return;
      near = new Set(one?.kind === "node" ? [one.id] : []);
      refresh();
    });
    page.on("select", (one) => {
      if (telling) return;
      chosen = new Set(one?.kind === "node" ? [one.id] : []);
      refresh();
      panes.forEach((pane) => pane.seek());
    });
    page.on("tab", (name) => {
      if (name !== "stages") return;
      refresh();
      panes.forEach((pane) => pane.seek());
    });
    addEventListener("resize", () => panes.forEach((one) => one.draw()));

    // ---- all stages in a row, each with a strip that shows where the marks are ---------------------------------------

    const strips = stages.map(() => html("i", { "aria-hidden": "true" }));
    const overview = html("ul", { class: "overview", "aria-label": "All stages" },
      stages.map((stage, k) => html("li", null, html("button", { type: "button", onclick: () => panes[1].show(stage) }, stage.title, strips[k]))),
    );
    const strip = (stage, element) => {
      const kind = near.size ? "near" : "chosen";
      element.className = kind;
      const pieces = [];
      for (const [first, last, own] of stage.marks) {
        if (!marked[kind][own]) continue;
        const before = pieces.at(-1);
        if (before && before[1] >= first) before[1] = last;
        else pieces.push([first, last]);
      }
      const count = stage.lines.length;
      element.replaceChildren(...pieces.slice(0, 40).map(([first, last]) => html("u", { style: `left: ${(100 * first) / count}%; width: ${(100 * (last - first)) / count}%` })));
    };
    const refresh = () => {
      work();
      panes.forEach((one) => one.draw());
      stages.forEach((stage, k) => strip(stage, strips[k]));
    };

    const place = (title) => Math.max(0, stages.findIndex((one) => one.title === title));
    const panes = [pane(place("As traced"), "left"), pane(place("Schedule"), "right")];
    root.append(
      html("p", { class: "note" }, "A line and what it computes are marked in every stage: in the texts, and in the strips below the names. Choose one to keep its marks and to find it in the graph."),
      ...data.notes.map((note) => html("p", { class: "note" }, note)),
      overview,
      html("div", { class: "panes" }, panes.map((one) => one.element)),
    );
    if (page.selected?.kind === "node") chosen = new Set([page.selected.id]);
    work();
    panes.forEach((one) => one.show(one.stage));
    refresh();
    panes.forEach((one) => one.seek());
  },
});
