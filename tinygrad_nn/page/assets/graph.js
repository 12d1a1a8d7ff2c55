// The graph: boxes laid out by dagre, column beside column; frames fold; what is selected is told on the right.
"use strict";
page.part("graph", {
  mount(root, data, page) {
    const { html, svg, number } = page;
    const { facts } = data;
    const ROOM = 60; // boxes of a column, before frames are folded
    const LEAST = 0.62; // scale at which texts can be read
    const TOP = 44; // above the boxes: headings of columns, titles of frames
    const WIDE = 30; // letters of a box
    const NAMES = ["x", "y", "z"];
    const text = (k) => data.texts[k];
    const cut = (words, length = WIDE) => (words.length > length ? `${words.slice(0, length - 1)}\u2026` : words);
    const measure = document.createElement("canvas").getContext("2d");
    const widths = new Map();
    const widthOf = (words, font) => {
      const key = font + words;
      if (!widths.has(key)) {
        measure.font = font;
        widths.set(key, measure.measureText(words).width);
      }
      return widths.get(key);
    };
    const MONO = `12px ${page.colour("mono")}`;
    const SMALL = `10.5px ${page.colour("mono")}`;

    // ---- the data, with names --------------------------------------------------------------------------------------

    const views = data.views.map((view) => {
      const frames = view.frames.map(([label, parent, loop, column], k) => ({ k, label: text(label), parent, loop: !!loop, column, folded: column === 2 }));
      const boxes = view.boxes.map(([id, role, title, shape, details, frame, column, times, count], k) => {
        const around = [];
        for (let at = frame; at >= 0; at = frames[at].parent) around.unshift(at);
        return { k, id, role, title: text(title), shape, details: text(details), around, column, times, count };
      });
      for (const box of boxes) for (const k of box.around) (frames[k].boxes ||= []).push(box);
      for (const frame of frames) frame.depth = frame.parent < 0 ? 0 : frames[frame.parent].depth + 1;
      const arrows = view.arrows.map(([tail, head, label, back]) => ({ tail, head, label, back: !!back }));
      const columns = [...new Set(boxes.map((box) => box.column))].sort();
      return { title: view.title, notes: view.notes, frames, boxes, arrows, columns, shown: new Set(columns.filter((one) => (innerWidth < 700 ? one === 0 : one !== 2))) };
    });
    let view = views[0];
    let chosen = null; // the item that is selected: a box or a frame
    let drawn = new Map(); // by key: what is on the canvas now
    let query = "";

    const held = (box, k) => facts[box.id]?.[10]?.[k] || 0; // one of the figures of its values
    const standing = (box) => {
      const folded = box.around.find((k) => view.frames[k].folded);
      return folded === undefined ? `b${box.k}` : `f${folded}`;
    };

    // Frames of a column are folded from the inside out until it can be read, and laid out at once.
    const settle = () => {
      for (const column of view.shown) {
        const boxes = view.boxes.filter((box) => box.column === column);
        const crowd = () => new Set(boxes.map(standing)).size;
        for (let depth = Math.max(0, ...view.frames.map((one) => one.depth)); depth >= 0 && crowd() > ROOM; depth--) {
          view.frames.forEach((one) => (one.folded ||= one.column === column && one.depth === depth && one.boxes.length > 1));
        }
      }
    };

    // ---- layout ----------------------------------------------------------------------------------------------------

    const lines = (key) => {
      if (key[0] === "b") {
        const box = view.boxes[key.slice(1)];
        const times = box.times > 1 ? `  \u00d7 ${box.times}` : "";
        return [[cut(page.visible(box.title)) + times, ""], ...(box.details ? [[cut(page.visible(box.details), 36), "detail"]] : []), ...(box.shape ? [[box.shape, "shape"]] : [])];
      }
      const frame = view.frames[key.slice(1)];
      const made = frame.boxes.filter((box) => !["parameter", "input", "constant"].includes(box.role));
      const count = made.reduce((sum, box) => sum + box.count, 0);
      return [[cut(page.visible(frame.label)), ""], [`${number(count)} operation${count === 1 ? "" : "s"}`, "shape"]];
    };

    const layout = (column) => {
      const graph = new dagre.graphlib.Graph({ compound: true, multigraph: true });
      graph.setGraph({ rankdir: column === 1 ? "BT" : "TB", nodesep: 18, ranksep: 34, edgesep: 8, marginx: 10, marginy: 10 });
      graph.setDefaultEdgeLabel(() => ({}));
      const boxes = view.boxes.filter((box) => box.column === column);
      const open = new Set();
      for (const box of boxes) {
        const key = standing(box);
        const folded = key[0] === "f" ? box.around.indexOf(Number(key.slice(1))) : box.around.length;
        if (!graph.hasNode(key)) {
          const own = lines(key);
          const width = Math.max(...own.map(([words, kind]) => widthOf(words, kind ? SMALL : MONO))) + 20;
          graph.setNode(key, { width: Math.max(width, 44), height: 10 + 15 * own.length, lines: own });
          box.around.slice(0, folded).forEach((k, depth) => {
            const frame = `f${k}`;
            if (!open.has(frame)) graph.setNode(frame, { open: true });
            open.add(frame);
            if (depth) graph.setParent(frame, `f${box.around[depth - 1]}`);
          });
          if (folded) graph.setParent(key, `f${box.around[folded - 1]}`);
        }
      }
      const seen = new Map();
      for (const arrow of view.arrows) {
        const [tail, head] = [view.boxes[arrow.tail], view.boxes[arrow.head]];
        if (tail.column !== column || head.column !== column) continue;
        const [from, to] = [standing(tail), standing(head)];
        if (from === to && !(arrow.back && from[0] === "b")) continue;
        const [first, second] = arrow.back ? [to, from] : [from, to]; // so that a loop is not cut open elsewhere
        const key = `${first} ${second} ${arrow.back}`;
        if (seen.has(key)) continue;
        seen.set(key, true);
        const label = arrow.label ? { label: arrow.label, width: widthOf(arrow.label, SMALL) + 6, height: 12, labelpos: "c" } : {};
        graph.setEdge(first, second, { ...label, back: arrow.back, weight: tail.role === "op" ? 3 : 1 }, key);
      }
      dagre.layout(graph);
      return { graph, open, column, width: graph.graph().width || 0, height: graph.graph().height || 0 };
    };

    // ---- drawing ---------------------------------------------------------------------------------------------------

    const smooth = (points) => {
      if (points.length < 3) return `M${points.map((p) => `${p.x},${p.y}`).join("L")}`;
      let path = `M${points[0].x},${points[0].y}`;
      for (let k = 1; k < points.length - 1; k++) {
        const [a, b] = [points[k], points[k + 1]];
        const end = k === points.length - 2 ? b : { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
        path += `Q${a.x},${a.y} ${end.x},${end.y}`;
      }
      return path;
    };
    const tip = (points, kind) => {
      const [a, b] = points.slice(-2);
      const turn = (Math.atan2(b.y - a.y, b.x - a.x) * 180) / Math.PI;
      return svg("path", { class: `tip ${kind}`, d: "M0,0L-7,-3.2L-7,3.2Z", transform: `translate(${b.x},${b.y}) rotate(${turn})` });
    };

    const scene = svg("g");
    const picture = svg("svg", { role: "group", "aria-label": "Graph. Arrow keys go along its arrows, Enter opens a frame." }, scene);
    const edges = []; // {first, second, path, tip}
    let bounds = { width: 1, height: 1 };

    const draw = () => {
      const columns = view.columns.filter((one) => view.shown.has(one)).map(layout);
      const tall = Math.max(1, ...columns.map((one) => one.height));
      scene.replaceChildren();
      drawn = new Map();
      edges.length = 0;
      const [frames, arrows, across, boxes] = ["frames", "arrows", "across", "boxes"].map((name) => svg("g", { class: name }));
      let left = 0;
      for (const one of columns) {
        const down = one.column === 1 ? tall - one.height : 0;
        const at = (p) => ({ ...p, x: p.x + left, y: p.y + down + TOP });
        if (view.columns.length > 1) {
          const words = data.columns[one.column];
          frames.append(svg("text", { class: "heading", x: left + 10, y: 14 }, words[0].toUpperCase() + words.slice(1)));
        }
        const nodes = one.graph.nodes();
        for (const key of nodes.filter((node) => one.open.has(node)).sort((a, b) => view.frames[a.slice(1)].depth - view.frames[b.slice(1)].depth)) {
          const node = at(one.graph.node(key));
          const frame = view.frames[key.slice(1)];
          const room = 13 * deep(frame, one.open); // for its title, and those of the frames in it
          const [x, y] = [node.x - node.width / 2, node.y - node.height / 2 - room];
          const label = cut(page.visible(frame.label), Math.max(8, Math.floor(node.width / 6.4)));
          const title = svg("text", { class: "title", x: x + 7, y: y + 13, onclick: () => fold(frame, true) }, label, svg("title", null, `${frame.label}: fold`));
          frames.append(svg("g", { class: `frame ${frame.loop ? "loop" : ""}` }, svg("rect", { x, y, width: node.width, height: node.height + room, rx: 7 }), title));
        }
        for (const key of one.graph.edges()) {
          const edge = one.graph.edge(key);
          const own = at(one.graph.node(key.v));
          const [x, y] = [own.x + own.width / 2, own.y];
          const turned = [{ x, y: y + 6 }, { x: x + 26, y: y + 10 }, { x: x + 26, y: y - 10 }, { x, y: y - 6 }]; // to itself
          const points = key.v === key.w ? turned.reverse() : edge.points.map(at);
          const path = svg("path", { class: `arrow ${edge.back ? "back" : ""}`, d: smooth(points) });
          const end = tip(edge.back ? [...points].reverse() : points, edge.back ? "back" : "");
          arrows.append(path, end);
          if (edge.label) arrows.append(svg("text", { class: "label", x: edge.x + left, y: edge.y + down + TOP + 4, "text-anchor": "middle" }, edge.label));
          edges.push({ first: key.v, second: key.w, path, tip: end });
        }
        for (const key of nodes.filter((node) => !one.open.has(node))) {
          const node = at(one.graph.node(key));
          boxes.append(item(key, node));
        }
        left += one.width + 36;
      }
      bounds = { width: Math.max(1, left - 36), height: tall + TOP + 8 };
      scene.append(frames, arrows, across, boxes);
      scene.across = across;
      mark();
    };

    // How many frames lie in one another from this one on.
    const deep = (frame, open) => {
      const inside = view.frames.filter((one) => open.has(`f${one.k}`) && (one === frame || frame.boxes.some((box) => one.boxes.includes(box) && one.depth > frame.depth)));
      return Math.max(...inside.map((one) => one.depth)) - frame.depth + 1;
    };

    const item = (key, node) => {
      const [x, y] = [node.x - node.width / 2, node.y - node.height / 2];
      const frame = key[0] === "f" ? view.frames[key.slice(1)] : null;
      const box = frame ? null : view.boxes[key.slice(1)];
      const role = frame ? "folded" : box.role;
      const one = { key, x: node.x, y: node.y, width: node.width, height: node.height, box, frame, column: (frame || box).column };
      const words = node.lines.map(([line, kind], k) => svg("text", { class: kind, x: node.x, y: y + 18 + 15 * k, "text-anchor": "middle" }, line));
      const rect = { x, y, width: node.width, height: node.height, rx: 5 };
      const behind = frame || role === "folded" ? svg("rect", { ...rect, class: "behind", x: x + 3, y: y + 3 }) : null;
      const name = frame ? `${frame.label}, folded` : [box.title, box.shape, box.details, box.role === "op" ? "" : box.role].filter(Boolean).join(", ");
      one.element = svg(
        "g",
        {
          class: `box ${role}`, role: "button", tabindex: "-1", "aria-label": name.slice(0, 300),
          onclick: () => choose(key, true), ondblclick: () => frame && fold(frame, false),
          onpointerenter: () => box && page.hover("node", box.id), onpointerleave: () => page.hover("node", null),
        },
        behind, svg("rect", rect), words,
      );
      drawn.set(key, one);
      return one.element;
    };

    // What is selected, what it reads and is read by, what is searched for.
    const mark = () => {
      const near = new Set();
      for (const edge of edges) {
        const close = chosen !== null && (edge.first === chosen || edge.second === chosen);
        edge.path.classList.toggle("near", close);
        edge.tip.classList.toggle("near", close);
        if (close) near.add(edge.first).add(edge.second);
      }
      scene.across?.replaceChildren();
      const own = drawn.get(chosen);
      if (own) {
        const seen = new Set();
        for (const arrow of view.arrows) {
          const [from, to] = [drawn.get(standing(view.boxes[arrow.tail])), drawn.get(standing(view.boxes[arrow.head]))];
          if (!from || !to || from.column === to.column || (from !== own && to !== own) || seen.has(from.key + to.key)) continue;
          seen.add(from.key + to.key);
          near.add(from.key).add(to.key);
          const right = to.x > from.x ? 1 : -1;
          const [a, b] = [{ x: from.x + (right * from.width) / 2, y: from.y }, { x: to.x - (right * to.width) / 2, y: to.y }];
          const middle = (a.x + b.x) / 2;
          scene.across.append(svg("path", { class: "arrow across", d: `M${a.x},${a.y}C${middle},${a.y} ${middle},${b.y} ${b.x},${b.y}` }), tip([{ x: middle, y: b.y }, b], "near"));
        }
      }
      for (const one of drawn.values()) {
        one.element.classList.toggle("chosen", one.key === chosen);
        one.element.setAttribute("tabindex", one.key === chosen ? "0" : "-1");
        one.element.classList.toggle("near", near.has(one.key) && one.key !== chosen);
        one.element.classList.toggle("off", query !== "" && !(one.box ? matches(one.box) : one.frame.boxes.some(matches)));
        one.element.classList.toggle("nan", Boolean(one.box && held(one.box, 6)));
      }
      if (!own && drawn.size) drawn.values().next().value.element.setAttribute("tabindex", "0");
    };

    // ---- moving and zooming ----------------------------------------------------------------------------------------

    let camera = { x: 0, y: 0, scale: 1 };
    const size = () => ({ width: picture.clientWidth || 800, height: picture.clientHeight || 500 });
    const aim = (x, y, scale) => {
      camera = { x, y, scale };
      scene.setAttribute("transform", `translate(${x},${y}) scale(${scale})`);
    };
    // All of it, or, where that could not be read, its beginning.
    const fit = (entire = false) => {
      const { width, height } = size();
      const whole = Math.min((width - 24) / bounds.width, (height - 24) / bounds.height);
      const scale = Math.min(1.15, entire ? whole : Math.max(whole, LEAST));
      const column = Math.min(...[...drawn.values()].map((one) => one.column));
      const first = [...drawn.values()].filter((one) => one.column === column).reduce((top, one) => (!top || one.y < top.y ? one : top), null);
      const spare = width - bounds.width * scale;
      const left = spare >= 0 ? spare / 2 : Math.min(12, Math.max(spare - 12, width / 2 - (first?.x ?? 0) * scale));
      aim(left, 12, Math.max(scale, 0.02));
    };
    const zoom = (factor, x = size().width / 2, y = size().height / 2) => {
      const scale = Math.min(4, Math.max(0.05, camera.scale * factor));
      const rate = scale / camera.scale;
      aim(x - (x - camera.x) * rate, y - (y - camera.y) * rate, scale);
    };
    const centre = (one) => {
      const { width, height } = size();
      const [x, y] = [one.x * camera.scale + camera.x, one.y * camera.scale + camera.y];
      if (x > 40 && y > 30 && x < width - 40 && y < height - 30) return;
      aim(width / 2 - one.x * camera.scale, height / 2 - one.y * camera.scale, camera.scale);
    };
    const fingers = new Map();
    picture.addEventListener("pointerdown", (event) => fingers.set(event.pointerId, { x: event.clientX, y: event.clientY, far: 0 }));
    picture.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const now = { x: event.clientX, y: event.clientY, far: before.far + Math.hypot(event.clientX - before.x, event.clientY - before.y) };
      fingers.set(event.pointerId, now);
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
      if (now.far > 4 && !picture.hasPointerCapture(event.pointerId)) picture.setPointerCapture(event.pointerId);
      picture.classList.toggle("moving", now.far > 4);
      if (other) {
        const [old, wide] = [Math.hypot(before.x - other.x, before.y - other.y), Math.hypot(now.x - other.x, now.y - other.y)];
        const place = picture.getBoundingClientRect();
        zoom(wide / (old || 1), (now.x + other.x) / 2 - place.x, (now.y + other.y) / 2 - place.y);
      } else aim(camera.x + now.x - before.x, camera.y + now.y - before.y, camera.scale);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      picture.addEventListener(end, (event) => {
        fingers.delete(event.pointerId);
        picture.classList.remove("moving");
      });
    }
    picture.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const place = picture.getBoundingClientRect();
        if (event.ctrlKey || event.metaKey || !event.shiftKey) zoom(Math.exp(-event.deltaY * 0.0016), event.clientX - place.x, event.clientY - place.y);
        else aim(camera.x - event.deltaX - event.deltaY, camera.y, camera.scale);
      },
      { passive: false },
    );

    // ---- choosing, folding, searching ------------------------------------------------------------------------------

    const byId = (id) => view.boxes.find((box) => box.id === id) || view.boxes.find((box) => box.id === data.boxed[id]);
    let telling = false;
    const choose = (key, focus = false) => {
      chosen = key;
      const one = drawn.get(key);
      mark();
      tell(one);
      if (!one) return;
      if (focus) one.element.focus({ preventScroll: true });
      telling = true;
      page.select("node", one.box ? one.box.id : null);
      telling = false;
    };
    const reveal = (box) => {
      let folded = false;
      for (const k of box.around) {
        folded ||= view.frames[k].folded;
        view.frames[k].folded = false;
      }
      if (!view.shown.has(box.column)) {
        view.shown.add(box.column);
        folded = true;
        chips();
      }
      if (folded) draw();
      choose(`b${box.k}`);
      centre(drawn.get(chosen));
    };
    const fold = (frame, folded) => {
      const before = drawn.get(chosen)?.box;
      frame.folded = folded;
      draw();
      const key = folded ? `f${frame.k}` : before ? standing(before) : null;
      choose(drawn.has(key) ? key : [...drawn.keys()].find((one) => drawn.get(one).box?.around.includes(frame.k)) ?? null, true);
      if (drawn.get(chosen)) centre(drawn.get(chosen));
    };
    const all = (folded) => {
      view.frames.forEach((one) => (one.folded = folded && one.boxes?.length > 0));
      if (!folded) settle();
      draw();
      fit();
    };
    page.on("select", (one) => {
      if (telling || !one || one.kind !== "node") return;
      const box = byId(one.id) || null;
      if (box) reveal(box);
    });
    page.on("hover", (one) => {
      const box = one && one.kind === "node" ? byId(one.id) : null;
      const key = box ? standing(box) : null;
      for (const [own, shown] of drawn) shown.element.classList.toggle("near", own === key);
    });

    const matches = (box) => {
      const known = facts[box.id];
      const words = [box.title, box.shape, box.details, ...(known ? [known[0], known[2], text(known[3]), text(known[4])] : []), ...box.around.map((k) => view.frames[k].label)];
      return words.join("\u0000").toLowerCase().includes(query);
    };
    const found = html("span", { class: "muted", role: "status" });
    let turn = -1;
    const search = html("input", {
      type: "search", placeholder: "Search", "aria-label": "Search the graph: ops, names, modules, lines",
      oninput: () => {
        query = search.value.trim().toLowerCase();
        turn = -1;
        const count = query ? view.boxes.filter(matches).length : 0;
        found.textContent = query ? `${number(count)} found` : "";
        mark();
      },
      onkeydown: (event) => {
        const hits = query && event.key === "Enter" ? view.boxes.filter(matches) : [];
        if (!hits.length) return;
        turn = (turn + (event.shiftKey ? hits.length - 1 : 1)) % hits.length;
        reveal(hits[turn]);
        found.textContent = `${turn + 1} of ${number(hits.length)}`;
      },
    });

    picture.addEventListener("keydown", (event) => {
      const own = drawn.get(chosen) || drawn.get(drawn.keys().next().value);
      if (!own) return;
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        if (own.frame) fold(own.frame, false);
        else choose(own.key, true);
        return;
      }
      if (event.key === "Backspace" && own.box?.around.length) {
        event.preventDefault();
        fold(view.frames[own.box.around.at(-1)], true);
        return;
      }
      if (event.key === "+" || event.key === "-") return zoom(event.key === "+" ? 1.25 : 0.8);
      const [dx, dy] = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key] || [0, 0];
      if (!dx && !dy) return;
      event.preventDefault();
      let best = null;
      const linked = new Set(edges.filter((edge) => edge.first === own.key || edge.second === own.key).flatMap((edge) => [edge.first, edge.second]));
      for (const one of drawn.values()) {
        const [along, aside] = dx ? [(one.x - own.x) * dx, Math.abs(one.y - own.y)] : [(one.y - own.y) * dy, Math.abs(one.x - own.x)];
        if (one === own || along < 4) continue;
        const cost = along + 2 * aside - (dy && linked.has(one.key) ? 1e4 : 0);
        if (!best || cost < best.cost) best = { cost, key: one.key };
      }
      if (best) {
        choose(best.key, true);
        centre(drawn.get(best.key));
      }
    });

    // ---- what is known of the selected box -------------------------------------------------------------------------

    const aside = html("aside", { class: "card inspect", "aria-label": "What is selected", "aria-live": "polite", tabindex: "0" });
    const histogram = (figures, kind) => {
      const bins = figures[8];
      if (!bins.length) return null;
      const most = 15;
      const heights = [...bins].map((letter) => parseInt(letter, 16));
      const bars = heights.map((count, k) => svg("rect", { x: k * 10, y: 60 - (56 * count) / most - (count ? 2 : 0), width: 9, height: (56 * count) / most + (count ? 2 : 0) }));
      const words = `Histogram from ${number(figures[0])} to ${number(figures[1])}: heights ${heights.join(", ")}`;
      return [
        svg("svg", { class: `histogram ${kind}`, viewBox: "0 0 200 60", preserveAspectRatio: "none", role: "img", "aria-label": words }, bars),
        html("div", { class: "ends" }, html("span", null, number(figures[0])), html("span", null, number(figures[1]))),
      ];
    };
    const LABELS = ["least", "largest", "mean", "deviation", "elements", "zeros", "NaN", "infinite"];
    const numbers = (title, figures, kind, none) => {
      const heading = html("h3", null, title);
      if (!figures) return [heading, html("p", { class: "muted" }, none)];
      const known = LABELS.map((name, k) => [name, figures[k]]).filter(([, value], k) => k < 5 || value > 0);
      const rows = known.flatMap(([name, value]) => [html("dt", null, name), html("dd", null, number(value))]);
      return [heading, histogram(figures, kind), html("dl", { class: "figures" }, rows)];
    };
    const pick = (id, words) => html("button", { type: "button", class: "pick mono", onclick: () => byId(id) && reveal(byId(id)) }, words);
    const listed = (items) => items.map((words, k) => [k ? ", " : "", words]);
    const rows = (pairs) => html("dl", null, pairs.filter(([, value]) => value && value.length !== 0).map(([name, value]) => [html("dt", null, name), html("dd", null, value)]));

    const legend = [["parameter", "blue"], ["input", "green"], ["operation", "line-strong"], ["result", "orange"], ["loop", "purple"]];
    const tell = (one) => {
      if (!one) {
        const items = legend.map(([name, colour]) => html("li", null, html("i", { style: `border-color: var(--${colour}); background: var(--${colour}-soft, var(--surface))` }), name));
        const told = [["NaN", 6], ["Infinite", 7]].flatMap(([name, k]) => {
          const odd = view.boxes.filter((box) => held(box, k));
          if (!odd.length) return [];
          const picks = odd.slice(0, 12).map((box) => pick(box.id, cut(page.visible(box.title))));
          return [html("h3", null, `${name} in ${number(odd.length)} of ${number(view.boxes.length)} boxes`), html("p", null, listed(picks))];
        });
        aside.replaceChildren(
          html("h2", { class: "plain" }, "Graph"),
          html("p", { class: "muted" }, "Choose a box to see its shape, the line it comes from, its values and its formula. A click on the title of a frame folds it; a double click on a folded one opens it."),
          html("ul", { class: "legend" }, items),
          ...told,
        );
        return;
      }
      if (one.frame) {
        const inner = one.frame.boxes.filter((box) => box.role === "parameter").map((box) => `${box.title} ${box.shape}`);
        aside.replaceChildren(
          html("h2", null, one.frame.label),
          html("p", { class: "muted" }, lines(one.key)[1][0]),
          html("p", null, html("button", { type: "button", onclick: () => fold(one.frame, false) }, "Unfold")),
          ...(inner.length ? [html("h3", null, "Parameters")] : []),
          ...inner.map((words) => html("div", { class: "mono wrap" }, words)),
        );
        return;
      }
      const { box } = one;
      const known = facts[box.id];
      const reads = known ? known[8].map((id, k) => ({ id, box: byId(id), name: known[8].length > 3 ? `x${k + 1}` : NAMES[k] })) : [];
      const users = view.arrows.filter((arrow) => arrow.tail === box.k && !arrow.back).map((arrow) => view.boxes[arrow.head]);
      const line = known && text(known[4]);
      aside.replaceChildren(
        html("h2", null, box.title),
        html("p", { class: "muted" }, [box.details, box.times > 1 && `stands for ${box.times} equal ones`, box.count > 1 && `${number(box.count)} nodes`].filter(Boolean).join("; ")),
        rows([
          ["op", known && known[0]],
          ["shape", known && (known[1].length ? known[1].join(" \u00d7 ") : "a single number")],
          ["dtype", known && known[2]],
          ["module", known && text(known[3])],
          ["reads", listed(reads.filter((read) => read.box).map((read) => pick(read.id, `${read.name}: ${cut(page.visible(read.box.title))}`)))],
          ["read by", listed(users.slice(0, 8).map((user) => pick(user.id, cut(page.visible(user.title)))))],
        ]),
        ...(line ? [html("h3", null, line), html("pre", null, text(known[5]) || "(its text is not at hand)")] : []),
        ...(known && text(known[6]) ? [html("h3", null, "Formula"), html("pre", null, `out = ${text(known[6])}`)] : []),
        ...(known && known[7].some((k) => text(k)) ? [html("h3", null, "Gradient, where g is that of out"), html("pre", null, known[7].map((k, at) => (text(k) ? `g_${reads[at]?.name ?? "x"} = ${text(k)}\n` : "")).join("").trimEnd())] : []),
        ...(known ? [numbers("Values", known[10], "", "Not known."), numbers("Gradient of the result", known[11], "slope", "None: the result does not depend on it in a smooth way.")].flat(2).filter(Boolean) : [html("p", { class: "muted" }, "Nothing more is known of it.")]),
      );
    };

    // ---- the page --------------------------------------------------------------------------------------------------

    const notes = html("div", { class: "notes note", role: "note" });
    const chipbox = html("span", { class: "group", role: "group", "aria-label": "Columns" });
    const chips = () => {
      chipbox.replaceChildren(
        ...(view.columns.length < 2 ? [] : view.columns).map((one) =>
          html("button", {
            type: "button", "aria-pressed": String(view.shown.has(one)),
            onclick: () => {
              if (view.shown.has(one) && view.shown.size > 1) view.shown.delete(one);
              else view.shown.add(one);
              settle();
              chips();
              draw();
              fit();
            },
          }, data.columns[one][0].toUpperCase() + data.columns[one].slice(1)),
        ),
      );
      notes.replaceChildren(...[...view.notes, ...data.notes].map((note) => html("div", null, note)));
    };
    const turnTo = (one) => {
      view = one;
      chosen = null;
      tell(null);
      settle();
      chips();
      draw();
      fit();
      modes.querySelectorAll("button").forEach((button, k) => button.setAttribute("aria-pressed", String(views[k] === view)));
    };
    const modes = html("span", { class: "switch", role: "group", "aria-label": "What is drawn" }, views.length < 2 ? [] : views.map((one) => html("button", { type: "button", onclick: () => turnTo(one) }, one.title)));
    const button = (words, run, label = words) => html("button", { type: "button", "aria-label": label, onclick: run }, words);
    const bar = html("div", { class: "bar" }, modes, chipbox, html("span", { class: "group" }, button("Fold all", () => all(true)), button("Unfold", () => all(false))), search, found);
    const zooms = html("div", { class: "zoom" }, button("\u2212", () => zoom(0.8), "Smaller"), button("Fit", () => fit(true), "Fit the graph into the window"), button("+", () => zoom(1.25), "Larger"));
    const canvas = html("div", { class: "canvas card" }, picture, zooms);
    root.append(bar, notes, canvas, aside);
    turnTo(views[0]);
    const whole = () => {
      const described = views[0].boxes.map((box) => {
        const known = facts[box.id];
        const figures = known && known[10];
        return [
          html("button", { type: "button", class: "pick mono", onclick: () => { if (view !== views[0]) turnTo(views[0]); reveal(box); scrollTo(0, 0); } }, box.title + (box.details ? ` ${box.details}` : "")),
          data.columns[box.column], box.shape, known ? text(known[3]) : "", known ? text(known[4]) : "", figures ? number(figures[2]) : "", figures ? number(figures[3]) : "",
        ];
      });
      root.append(page.table("boxes of the graph", ["box", "column", "shape", "module", "line", { name: "mean", number: true }, { name: "deviation", number: true }], described));
    };
    whole();
    if (page.selected?.kind === "node" && byId(page.selected.id)) reveal(byId(page.selected.id));
    page.on("tab", (name) => name === "graph" && fit());
    addEventListener("resize", () => picture.clientWidth && fit());
    addEventListener("beforeprint", () => {
      picture.setAttribute("viewBox", `0 0 ${bounds.width} ${bounds.height}`); // all of it, on paper of any width
      scene.removeAttribute("transform");
    });
    addEventListener("afterprint", () => {
      picture.removeAttribute("viewBox");
      aim(camera.x, camera.y, camera.scale);
    });
  },
});
