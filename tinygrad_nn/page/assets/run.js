// The run: curves, and the model at every epoch that was kept.
"use strict";
page.part("run", {
  mount(root, data, page) {
    const { html, number } = page;
    const HUES = ["blue", "vermillion", "green", "orange", "purple", "sky", "grey", "yellow"];
    const hue = (k) => page.colour(HUES[k % HUES.length]);
    const last = data.epochs.length - 1;
    let at = last;
    const followers = []; // are called with the number of the state that is shown
    const redraws = []; // are called when colours change
    const follow = (change) => (followers.push(change), change(at));
    const go = (k) => {
      at = Math.max(0, Math.min(last, k));
      followers.forEach((change) => change(at));
    };
    page.on("theme", () => redraws.forEach((draw) => draw()));
    const moment = (k) => (data.epochs[k] === null ? "now" : data.epochs[k] === 0 ? "before training" : `epoch ${number(data.epochs[k])}`);

    // ---- what all sections use -----------------------------------------------------------------------------------------

    // What `packing.packed` of Python has made of an array.
    const unpack = (packed) => {
      const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0)).buffer;
      if (packed.kind === "f4") return Array.from(new Float32Array(bytes));
      const [Counts, none] = packed.kind === "i2" ? [Int16Array, -32768] : [Int8Array, -128];
      return Array.from(new Counts(bytes), (count) => (count === none ? NaN : count * packed.step));
    };
    const absent = []; // titles of sections that are not there, and why
    const section = (title, name, own, half = false) => {
      const card = html("section", { class: `card ${name} ${half ? "half" : ""}`, "aria-label": title }, html("h2", null, title));
      if (own && own.missing) absent.push([title, own.missing]);
      else if (own && own.note) card.append(html("p", { class: "note" }, own.note));
      return card;
    };
    const output = () => html("output", { class: "readout" });
    const say = (place, strong, ...words) => place.replaceChildren(html("b", null, strong), page.visible(words.join("")));
    const toggle = (label, on, change) => {
      const button = html("button", { type: "button", "aria-pressed": String(on), onclick: () => set(button.getAttribute("aria-pressed") !== "true") }, label);
      const set = (value) => (button.setAttribute("aria-pressed", String(value)), change(value));
      return button;
    };
    const jump = (event, k, count, step = 1) => {
      const next = { ArrowRight: k + step, ArrowLeft: k - step, PageDown: k + 10 * step, PageUp: k - 10 * step, Home: 0, End: count - 1 }[event.key];
      if (next === undefined) return null;
      event.preventDefault();
      return Math.max(0, Math.min(count - 1, next));
    };
    // A table that shows the state that is shown: made anew where it is open.
    const changing = (caption, columns, rows) => {
      const place = html("div");
      let shown = null;
      follow((k) => {
        const next = page.table(`${caption}${last ? `, ${moment(k)}` : ""}`, columns(k), rows(k));
        next.open = Boolean(shown && shown.open);
        place.replaceChildren(next);
        shown = next;
      });
      return place;
    };

    // ---- colours ---------------------------------------------------------------------------------------------------------

    const rgb = (name) => {
      const text = page.colour(name).slice(1);
      const digits = text.length === 3 ? [...text].map((c) => c + c).join("") : text;
      return [0, 2, 4].map((k) => parseInt(digits.slice(k, k + 2), 16));
    };
    const mixed = (a, b, share) => a.map((value, k) => value + (b[k] - value) * share);
    // From the one hue over the ground to the other, for numbers from -1 to 1; what is no number is grey.
    const diverging = () => {
      const [low, ground, high, none] = ["blue", "surface", "vermillion", "line-strong"].map(rgb);
      return (t) => (Number.isFinite(t) ? mixed(ground, t < 0 ? low : high, Math.min(1, Math.abs(t)) ** 0.75) : none);
    };
    const ramp = (low, high) => {
      const strip = html("canvas", { class: "ramp", width: 64, height: 1, "aria-hidden": "true" });
      const draw = () => {
        const colour = diverging();
        paint(strip, 64, 1, (k) => colour(k / 31.5 - 1));
      };
      redraws.push(draw);
      draw();
      return html("span", { class: "muted" }, low, strip, high);
    };
    const paint = (canvas, columns, rows, colour) => {
      const context = canvas.getContext("2d");
      const image = context.createImageData(columns, rows);
      for (let k = 0; k < columns * rows; k++) image.data.set([...colour(k), 255], 4 * k);
      context.putImageData(image, 0, 0);
    };

    // ---- plots -------------------------------------------------------------------------------------------------------------

    // A plot of uPlot that has the colours of the page, its width, and is read by keys; `make(width)` gives its options and data.
    const plotted = (label, make, read, keys = () => false) => {
      const place = html("div", { class: "plot", tabindex: "0", role: "img", "aria-label": `${label}; arrow keys read it, the table below has its numbers` });
      let plot = null;
      const draw = () => {
        const width = place.clientWidth;
        if (!width) return;
        if (plot) plot.destroy();
        const [options, values] = make(width);
        plot = new uPlot({ width, height: width < 500 ? 240 : 300, legend: { show: false }, ...options }, values, place);
        place.plot = plot;
      };
      place.addEventListener("keydown", (event) => {
        if (!plot || keys(event, plot)) return;
        const k = jump(event, plot.cursor.idx === null || plot.cursor.idx === undefined ? -1 : plot.cursor.idx, plot.data[0].length);
        if (k === null) return;
        plot.setCursor({ left: plot.valToPos(plot.data[0][k], "x"), top: plot.bbox.height / 2 / devicePixelRatio });
        read(plot, k);
      });
      new ResizeObserver(() => place.clientWidth && (!plot || plot.width !== place.clientWidth) && draw()).observe(place);
      redraws.push(draw);
      return { place, draw, get: () => plot };
    };
    const axis = (more) => ({
      stroke: page.colour("muted"), grid: { stroke: page.colour("line"), width: 1 }, ticks: { stroke: page.colour("line"), width: 1, size: 5 },
      font: "11.5px system-ui, sans-serif", values: (_, ticks) => ticks.map((value) => (value === null ? "" : number(value, 3))), ...more,
    });
    const clean = (values, log) => values.map((value) => (Number.isFinite(value) && (!log || value > 0) ? value : null));
    const marker = (plot, x, draw) => {
      const { ctx, bbox } = plot;
      const place = plot.valToPos(x, "x", true);
      if (place < bbox.left - 1 || place > bbox.left + bbox.width + 1) return;
      ctx.save();
      draw(ctx, place, bbox);
      ctx.restore();
    };
    const now = (plot) =>
      last && data.epochs[at] !== null && marker(plot, data.epochs[at], (ctx, x, box) => {
        [ctx.strokeStyle, ctx.lineWidth] = [page.colour("text"), devicePixelRatio];
        ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
        ctx.beginPath();
        ctx.moveTo(x, box.top);
        ctx.lineTo(x, box.top + box.height);
        ctx.stroke();
      });
    const nearest = (epoch) => {
      const gaps = data.epochs.map((one) => (one === null ? Infinity : Math.abs(one - epoch)));
      return gaps.indexOf(Math.min(...gaps));
    };

    // ---- curves ------------------------------------------------------------------------------------------------------------

    const curves = () => {
      const own = data.curves;
      const card = section("Curves", "curves", own);
      if (own.missing) return card;
      const columns = own.columns.map((one, k) => {
        const values = unpack(one.values);
        return { ...one, k, values, epochs: one.epochs ? unpack(one.epochs) : values.map((_, j) => j + 1), on: true };
      });
      const kinds = [...new Set(columns.map((one) => one.scale))];
      columns.forEach((one) => (one.on = kinds.indexOf(one.scale) < 3 && one.finite)); // more axes than that leave no room
      let [weight, log] = [0, false];
      // An average that forgets: each value counts `weight` times as much as the next one; what is not finite is left out.
      const smooth = (values) => {
        let [sum, total] = [0, 0];
        return values.map((value) => {
          if (!Number.isFinite(value)) return value;
          [sum, total] = [weight * sum + (1 - weight) * value, weight * total + (1 - weight)];
          return sum / total;
        });
      };
      const place = output();
      const make = (width) => {
        const shown = columns.filter((one) => one.on);
        const scales = [...new Set(shown.map((one) => one.scale))];
        const tables = [];
        const series = [{}];
        for (const one of shown) {
          const points = { show: one.values.length < 40, size: 5 };
          const look = { label: one.name, scale: one.scale, stroke: hue(one.k), width: 2, points };
          tables.push([one.epochs, clean(one.values, log)]);
          series.push(weight ? { ...look, width: 1, alpha: 0.3, points: { show: false } } : look);
          if (weight) (tables.push([one.epochs, clean(smooth(one.values), log)]), series.push({ ...look, points: { show: false } }));
        }
        const axes = [axis({ label: "epoch", labelSize: 20, labelFont: "11.5px system-ui, sans-serif", size: 34 })];
        scales.forEach((scale, k) => {
          const alone = shown.filter((one) => one.scale === scale);
          const stroke = scales.length > 1 && alone.length === 1 ? hue(alone[0].k) : page.colour("muted");
          const label = { label: alone.map((one) => one.name).join(", ").slice(0, 40), labelSize: 18, labelFont: "11.5px system-ui, sans-serif" };
          axes.push(axis({ scale, side: k ? 1 : 3, stroke, size: 54, ...(width > 500 ? label : {}), ...(k ? { grid: { show: false } } : {}) }));
        });
        const best = (plot) => shown.forEach((one) => one.best && marker(plot, one.best[1], (ctx, x) => {
          const y = plot.valToPos(one.best[0], one.scale, true);
          if (!Number.isFinite(y)) return;
          [ctx.strokeStyle, ctx.fillStyle, ctx.lineWidth] = [hue(one.k), page.colour("surface"), 2 * devicePixelRatio];
          ctx.beginPath();
          ctx.arc(x, y, 4.5 * devicePixelRatio, 0, 2 * Math.PI);
          ctx.fill();
          ctx.stroke();
        }));
        const options = {
          series, axes, cursor: { points: { size: 7 } },
          scales: Object.fromEntries([["x", { time: false }], ...scales.map((scale) => [scale, { distr: log ? 3 : 1 }])]),
          hooks: { draw: [now, best], setCursor: [(plot) => plot.cursor.idx !== null && plot.cursor.idx !== undefined && read(plot, plot.cursor.idx)] },
        };
        return [options, tables.length ? uPlot.join(tables) : [[1, own.epochs]]];
      };
      const read = (plot, k) => {
        const words = plot.series.slice(1).map((one, j) => [one, plot.data[j + 1][k]]).filter(([one, value]) => value !== undefined && one.alpha !== 0.3);
        say(place, `epoch ${number(plot.data[0][k])}`, ": ", words.map(([one, value]) => `${one.label} ${value === null ? "not finite" : number(value, 5)}`).join(", "));
      };
      const own_plot = plotted(`Curves of ${columns.map((one) => one.name).join(", ")}`, make, read);
      own_plot.place.addEventListener("click", () => {
        const plot = own_plot.get();
        if (last && plot && plot.cursor.idx !== null) go(nearest(plot.data[0][plot.cursor.idx]));
      });
      followers.push(() => own_plot.get() && own_plot.get().redraw(false));
      const chips = columns.map((one) => {
        const dot = html("i", { "aria-hidden": "true" });
        const paintDot = () => (dot.style.background = hue(one.k));
        redraws.push(paintDot);
        paintDot();
        const words = !one.finite ? "nothing finite" : one.best ? `best ${number(one.best[0])} in ${number(one.best[1])}` : `at the end ${number(one.last)}`;
        return html("li", null, toggle([dot, one.name, html("span", { class: "best" }, words)], one.on, (on) => ((one.on = on), own_plot.draw())));
      });
      const value = html("output", { for: "smoothing" }, "0");
      const slider = html("input", { type: "range", id: "smoothing", min: "0", max: "0.99", step: "0.01", value: "0", oninput: () => {
        weight = Number(slider.value);
        value.textContent = number(weight, 2);
        own_plot.draw();
      } });
      if (own.stopped) card.append(html("p", { class: "note" }, `Ended: ${own.stopped}.`));
      if (own.nonfinite) {
        const { name, epoch, value: first } = own.nonfinite;
        card.append(html("p", { class: "note" }, `The first number that is not finite: ${name} is ${number(first)} in epoch ${number(epoch)}.`));
      }
      if (!columns.some((one) => one.finite)) card.append(html("p", { class: "note" }, "No number of this run is finite: there is nothing to draw."));
      const names = columns.map((one) => ({ name: one.name, number: true }));
      const cells = new Map();
      columns.forEach((one, j) => one.epochs.forEach((epoch, k) => {
        if (!cells.has(epoch)) cells.set(epoch, [epoch, ...columns.map(() => "")]);
        cells.get(epoch)[j + 1] = number(one.values[k], 5);
      }));
      card.append(
        html("div", { class: "bar" }, html("label", { for: "smoothing" }, "Smoothing", slider), value, toggle("Log scale", false, (on) => ((log = on), own_plot.draw()))),
        html("ul", { class: "series" }, chips), own_plot.place, place,
        page.table("curves", [{ name: "epoch", number: true }, ...names], [...cells.values()].sort((a, b) => a[0] - b[0])));
      return card;
    };

    // ---- sweeps ------------------------------------------------------------------------------------------------------------

    const sweep = () => {
      const own = data.sweep;
      const card = section("Sweep", "sweep", own);
      if (own.missing) return card;
      const { settings, models } = own;
      const columns = own.columns.map((one) => {
        const [n, lines] = [one.epochs.length, unpack(one.lines)];
        return { ...one, rows: models.map((_, j) => lines.slice(j * n, (j + 1) * n)) };
      });
      let [column, log, each, chosen] = [columns[0], false, true, null];
      const drawn = settings.slice(0, HUES.length);
      const place = output();
      const tell = (j) => {
        const model = models[j];
        const row = column.rows[j].filter((value) => Number.isFinite(value));
        const star = column.best && column.best.model === model.number ? ", the best one" : "";
        say(place, `model ${number(model.number)}`, `${star}: ${model.label}; ${column.name} ends at ${number(row.length ? row[row.length - 1] : NaN, 5)}`);
      };
      const make = () => {
        const n = column.epochs.length;
        const bands = unpack(column.bands);
        const values = [column.epochs];
        const series = [{}];
        if (each) models.forEach((model, j) => {
          const best = column.best && column.best.model === model.number;
          series.push({ label: `model ${model.number}`, stroke: best ? page.colour("text") : hue(model.setting), width: best ? 2.5 : 0.75, alpha: best ? 1 : 0.45, points: { show: false } });
          values.push(clean(column.rows[j], log));
        });
        const areas = [];
        drawn.forEach((setting, s) => {
          const three = [0, 1, 2].map((k) => clean(bands.slice((3 * s + k) * n, (3 * s + k + 1) * n), log));
          const first = series.length;
          [[three[0], 0], [three[2], 0], [three[1], 3]].forEach(([row, width]) => {
            series.push({ label: setting.label, stroke: hue(s), width, points: { show: width > 0 && n < 40, size: 5 } });
            values.push(row);
          });
          areas.push({ series: [first + 1, first], fill: `${hue(s)}33` });
        });
        const options = {
          series, bands: areas, focus: { alpha: 0.25 }, cursor: { focus: { prox: 20 }, points: { show: false } },
          axes: [axis({ label: "epoch", labelSize: 20, labelFont: "11.5px system-ui, sans-serif", size: 34 }), axis({ size: 54 })],
          scales: { x: { time: false }, y: { distr: log ? 3 : 1 } },
          hooks: { setSeries: [(plot, k) => k !== null && each && k <= models.length && k > 0 && tell(k - 1)] },
        };
        return [options, values];
      };
      const read = (plot, k) => {
        const n = column.epochs.length;
        const bands = unpack(column.bands);
        say(place, `epoch ${number(column.epochs[k])}`, ": ", drawn.map((one, s) => `${one.label}: median ${number(bands[(3 * s + 1) * n + k])} (quartiles ${number(bands[3 * s * n + k])} to ${number(bands[(3 * s + 2) * n + k])})`).join("; "));
      };
      const keys = (event, plot) => {
        const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (!step || !each) return false;
        event.preventDefault();
        chosen = ((chosen === null ? (step > 0 ? -1 : 0) : chosen) + step + models.length) % models.length;
        plot.setSeries(chosen + 1, { focus: true });
        tell(chosen);
        return true;
      };
      const own_plot = plotted("Medians and quartiles of the models; up and down choose a model", make, read, keys);
      const best = html("p", { class: "note" });
      const choose = html("select", { id: "swept", onchange: () => {
        column = columns[Number(choose.value)];
        change();
      } }, columns.map((one, k) => html("option", { value: String(k) }, one.name)));
      const change = () => {
        own_plot.draw();
        best.textContent = page.visible(column.best ? `Best at the end: model ${number(column.best.model)} with ${number(column.best.value, 5)} (${column.best.label}).` : "The name of this column does not say what is better.");
      };
      const swatches = html("ul", { class: "swatches" });
      const legend = () => swatches.replaceChildren(...drawn.map((one, s) => html("li", null, html("i", { style: `background:${hue(s)}` }), `${one.label} (${number(one.models)})`)));
      redraws.push(legend);
      legend();
      if (settings.length > drawn.length) card.append(html("p", { class: "note" }, `The first ${drawn.length} of ${number(settings.length)} settings are drawn; the table has all.`));
      card.append(
        html("p", { class: "note" }, `${number(own.trained)} of ${number(own.count)} models were trained. A thick line is the median of a setting, its band reaches from quartile to quartile.`), best,
        html("div", { class: "bar" }, html("label", { for: "swept" }, "Column", choose), toggle("Each model", true, (on) => ((each = on), own_plot.draw())), toggle("Log scale", false, (on) => ((log = on), own_plot.draw()))),
        own_plot.place, swatches, place,
        page.table("settings, at the end", ["setting", { name: "models", number: true }, ...columns.flatMap((one) => ["lower quartile", "median", "upper quartile"].map((name) => ({ name: `${one.name}, ${name}`, number: true })))],
          settings.map((one, s) => [one.label, one.models, ...columns.flatMap((each_column) => {
            const [n, bands] = [each_column.epochs.length, unpack(each_column.bands)];
            return [0, 1, 2].map((k) => bands.slice((3 * s + k) * n, (3 * s + k + 1) * n).filter(Number.isFinite).pop() ?? NaN);
          })])));
      change();
      return card;
    };

    // ---- the slider ----------------------------------------------------------------------------------------------------------

    const scrub = () => {
      const name = html("span", { class: "epoch", id: "moment" });
      const range = html("input", { type: "range", id: "epoch", min: "0", max: String(last), step: "1", "aria-label": "Epoch", oninput: () => (stop(), go(Number(range.value))) });
      let timer = null;
      const stop = () => (clearInterval(timer), (timer = null), (play.textContent = "Play"));
      const play = html("button", { type: "button", onclick: () => {
        if (timer) return stop();
        if (at === last) go(0);
        play.textContent = "Stop";
        timer = setInterval(() => (go(at + 1), at === last && stop()), 220);
      } }, "Play");
      follow((k) => {
        range.value = String(k);
        name.textContent = moment(k).replace(/^./, (c) => c.toUpperCase());
        range.setAttribute("aria-valuetext", moment(k));
      });
      return html("section", { class: "card scrub", "aria-label": "Epoch" }, play, range, name, data.note && html("p", { class: "note" }, data.note));
    };

    // ---- matrices --------------------------------------------------------------------------------------------------------------

    // A picture of a matrix in every state, whose numbers are read by pointer and keys. `words(row, column)` names a cell.
    const matrix = (one, place, words, most) => {
      const [, rows, columns] = one.values.shape;
      const values = unpack(one.values);
      const size = Math.max(5, Math.min(22, Math.floor(340 / Math.max(columns, rows * 0.8))));
      const caption = `${one.name}, ${one.shape.join(" \u00d7 ") || "one number"}`;
      const canvas = html("canvas", { class: "cells", tabindex: "0", role: "img", "aria-label": `${caption}: ${rows} rows, ${columns} columns; arrow keys read its numbers` });
      const small = document.createElement("canvas");
      [small.width, small.height] = [columns, rows];
      const cell = (k, r, c) => values[(k * rows + r) * columns + c];
      let chosen = null;
      const draw = () => {
        const dots = size * Math.min(2, Math.ceil(devicePixelRatio));
        [canvas.width, canvas.height] = [columns * dots, rows * dots];
        canvas.style.width = `${columns * size}px`;
        const colour = diverging();
        paint(small, columns, rows, (j) => colour(values[at * rows * columns + j] / most));
        const context = canvas.getContext("2d");
        context.imageSmoothingEnabled = false;
        context.drawImage(small, 0, 0, canvas.width, canvas.height);
        if (chosen) {
          [context.strokeStyle, context.lineWidth] = [page.colour("text"), Math.max(2, dots / 7)];
          context.strokeRect(chosen[1] * dots + 1, chosen[0] * dots + 1, dots - 2, dots - 2);
        }
      };
      const choose = (r, c) => {
        chosen = [r, c];
        draw();
        say(place, `${number(cell(at, r, c), 5)}`, ` \u2014 ${words(r, c)}, ${moment(at)}`);
      };
      canvas.addEventListener("pointermove", (event) => pointed(event));
      canvas.addEventListener("pointerdown", (event) => pointed(event));
      canvas.addEventListener("click", () => one.node !== null && one.node !== undefined && page.select("node", one.node));
      const pointed = (event) => {
        const box = canvas.getBoundingClientRect();
        const c = Math.floor(((event.clientX - box.left) / box.width) * columns);
        const r = Math.floor(((event.clientY - box.top) / box.height) * rows);
        if (r >= 0 && r < rows && c >= 0 && c < columns) choose(r, c);
      };
      canvas.addEventListener("keydown", (event) => {
        const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
        if (!step) return;
        event.preventDefault();
        const [r, c] = chosen || [0, 0];
        const next = chosen ? [r + step[0], c + step[1]] : [0, 0];
        choose(Math.max(0, Math.min(rows - 1, next[0])), Math.max(0, Math.min(columns - 1, next[1])));
      });
      redraws.push(draw);
      follow(() => (chosen ? choose(...chosen) : draw()));
      const figure = html("figure", { class: "map" }, html("figcaption", null, one.name, " ", html("span", { class: "muted" }, one.shape.join(" \u00d7 "))), canvas);
      return { figure, cell, rows, columns, highlight: (r) => r < rows && choose(r, chosen ? chosen[1] : 0) };
    };
    const matrices = (title, name, own, items, words, half) => {
      const card = section(title, name, own, half);
      if (own.missing) return [card, []];
      const place = output();
      const numbers = items.map((one) => unpack(one.values).filter(Number.isFinite).reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1);
      const made = items.map((one, k) => matrix(one, place, (r, c) => words(one, r, c), numbers[k]));
      const tables = items.map((one, k) => {
        const { cell, rows, columns } = made[k];
        return changing(one.name, () => ["", ...Array.from({ length: columns }, (_, c) => ({ name: String(c), number: true }))],
          (state) => Array.from({ length: rows }, (_, r) => [String(r), ...Array.from({ length: columns }, (__, c) => cell(state, r, c))]));
      });
      const largest = numbers.length > 1 ? "largest of each" : number(numbers[0], 3);
      card.append(html("p", { class: "note" }, ramp(`\u2212 ${largest}`, largest)), html("div", { class: "maps" }, made.map((one) => one.figure)), place, html("div", { class: "tables" }, tables));
      return [card, made];
    };

    // ---- the plane of two features -------------------------------------------------------------------------------------------

    let mark = () => {};
    const plane = () => {
      const own = data.boundary;
      const card = section("What is predicted where", "boundary", own);
      if (own.missing) return card;
      const { side, low, high, kind } = own;
      const field = unpack(own.values);
      const points = unpack(own.x);
      const finite = field.filter(Number.isFinite);
      const ends = kind === "value" ? finite.concat(own.labels).reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]) : [0, 1];
      const share = (value) => (2 * (value - ends[0])) / (ends[1] - ends[0] || 1) - 1;
      const canvas = html("canvas", { class: "plane", tabindex: "0", role: "img", "aria-label": `What is predicted for every ${own.names.join(" and ")}, with the rows of the batch; arrow keys read the rows` });
      const small = document.createElement("canvas");
      small.width = small.height = side;
      const place = output();
      let chosen = null;
      const where = (k) => [0, 1].map((j) => (points[2 * k + j] - low[j]) / (high[j] - low[j]));
      const draw = () => {
        const dots = 520 * Math.min(2, Math.ceil(devicePixelRatio));
        canvas.width = canvas.height = dots;
        const [colour, ground, hues] = [diverging(), rgb("surface"), HUES.map(rgb)];
        const none = rgb("line-strong");
        const of_class = (value) => mixed(ground, hues[Math.floor(value) % hues.length], 0.15 + 0.6 * Math.max(0, (value % 1) / 0.9 - 0.2));
        const each = (value) => (!Number.isFinite(value) ? none : kind === "class" ? of_class(value) : mixed(ground, colour(share(value)), 0.75));
        paint(small, side, side, (j) => each(field[at * side * side + (side - 1 - Math.floor(j / side)) * side + (j % side)]));
        const context = canvas.getContext("2d");
        context.imageSmoothingQuality = "high";
        context.drawImage(small, 0, 0, dots, dots);
        own.rows.forEach((row, k) => {
          const [x, y] = where(k);
          const label = own.labels[k];
          const full = kind === "class" ? hues[label % hues.length] : colour(share(label));
          context.beginPath();
          context.arc(x * dots, (1 - y) * dots, (k === chosen ? 9 : 5) * (dots / 520), 0, 2 * Math.PI);
          context.fillStyle = `rgb(${full.map(Math.round)})`;
          context.fill();
          [context.strokeStyle, context.lineWidth] = [page.colour(k === chosen ? "text" : "surface"), (k === chosen ? 2.5 : 1.25) * (dots / 520)];
          context.stroke();
        });
      };
      const meaning = (value) => (kind === "class" ? `class ${Math.floor(value)}` : kind === "probability" ? `probability ${number(value, 3)}` : number(value, 4));
      const choose = (k) => {
        chosen = k;
        draw();
        const [x, y] = [points[2 * k], points[2 * k + 1]];
        const [c, r] = where(k).map((part) => Math.max(0, Math.min(side - 1, Math.round(part * (side - 1)))));
        say(place, `row ${number(own.rows[k])}`, `: ${own.names[0]} ${number(x)}, ${own.names[1]} ${number(y)}, label ${number(own.labels[k])}; near it ${meaning(field[(at * side + r) * side + c])} is predicted, ${moment(at)}`);
      };
      const pointed = (event) => {
        const box = canvas.getBoundingClientRect();
        const [px, py] = [(event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height];
        const gaps = own.rows.map((_, k) => Math.hypot(...where(k).map((v, j) => v - [px, py][j])));
        const k = gaps.indexOf(Math.min(...gaps));
        if (gaps[k] < 0.03) return choose(k);
        chosen = null;
        draw();
        const [c, r] = [px, py].map((v) => Math.max(0, Math.min(side - 1, Math.floor(v * side))));
        say(place, meaning(field[(at * side + r) * side + c]), ` is predicted at ${own.names[0]} ${number(low[0] + px * (high[0] - low[0]), 3)}, ${own.names[1]} ${number(low[1] + py * (high[1] - low[1]), 3)}, ${moment(at)}`);
      };
      canvas.addEventListener("pointermove", pointed);
      canvas.addEventListener("pointerdown", pointed);
      canvas.addEventListener("keydown", (event) => {
        const k = jump(event, chosen === null ? -1 : chosen, own.rows.length);
        if (k !== null) choose(k);
      });
      mark = (row) => own.rows.includes(row) && choose(own.rows.indexOf(row));
      redraws.push(draw);
      follow(() => (chosen === null ? draw() : choose(chosen)));
      const swatches = html("ul", { class: "swatches" });
      const legend = () => swatches.replaceChildren(...Array.from({ length: Math.min(own.classes, 12) }, (_, k) => html("li", null, html("i", { style: `background:${hue(k)}` }), `class ${k}`)));
      if (kind === "class") (redraws.push(legend), legend());
      const scale = kind === "class" ? swatches : html("p", { class: "note" }, ramp(kind === "probability" ? "class 0 " : `${number(ends[0], 3)} `, kind === "probability" ? " class 1" : ` ${number(ends[1], 3)}`));
      const ranges = `To the right ${own.names[0]} from ${number(low[0], 3)} to ${number(high[0], 3)}, upwards ${own.names[1]} from ${number(low[1], 3)} to ${number(high[1], 3)}.`;
      card.append(canvas, place, scale, html("p", { class: "note" }, ranges),
        page.table("rows of the batch", [{ name: "row", number: true }, ...own.names.map((name) => ({ name, number: true })), { name: "label", number: true }], own.rows.map((row, k) => [row, points[2 * k], points[2 * k + 1], own.labels[k]])));
      return card;
    };

    // ---- gradients -------------------------------------------------------------------------------------------------------------

    const gradients = () => {
      const own = data.gradients;
      const card = section("Gradient norms by layer", "gradients", own, true);
      if (own.missing) return card;
      const count = own.names.length;
      const norms = unpack(own.norms);
      const row = (k) => norms.slice(k * count, (k + 1) * count);
      const place = output();
      const bars = html("div", { class: "norms", role: "img", "aria-label": "Gradient norms of the state that is shown; the table has the numbers" });
      follow((k) => {
        const most = Math.max(...row(k).filter(Number.isFinite), 1e-300);
        bars.replaceChildren(...own.names.flatMap((name, j) => [
          html("span", { class: "name" }, name),
          html("span", { class: "track" }, html("span", { class: "fill", style: `width:${Math.max(0, (100 * (row(k)[j] || 0)) / most)}%` })),
          html("span", null, number(row(k)[j], 3)),
        ]));
      });
      const known = data.epochs.map((epoch, k) => [epoch, k]).filter(([epoch]) => epoch !== null);
      if (known.length > 1) {
        const make = () => [{
          axes: [axis({ size: 34 }), axis({ size: 54 })], scales: { x: { time: false }, y: { distr: 3 } }, height: 220,
          series: [{}, ...own.names.map((name, j) => ({ label: name, stroke: hue(j), width: 2, points: { show: known.length < 40, size: 4 } }))],
          hooks: { draw: [now], setCursor: [(plot) => plot.cursor.idx !== null && plot.cursor.idx !== undefined && read(plot, plot.cursor.idx)] },
        }, [known.map(([epoch]) => epoch), ...own.names.map((_, j) => clean(known.map(([, k]) => row(k)[j]), true))]];
        const read = (plot, k) => say(place, `epoch ${number(plot.data[0][k])}`, ": ", own.names.map((name, j) => `${name} ${number(row(known[k][1])[j], 3)}`).join(", "));
        const own_plot = plotted("Gradient norms of layers over epochs", make, read);
        followers.push(() => own_plot.get() && own_plot.get().redraw(false));
        const swatches = html("ul", { class: "swatches" });
        const legend = () => swatches.replaceChildren(...own.names.slice(0, 24).map((name, j) => html("li", null, html("i", { style: `background:${hue(j)}` }), name)));
        redraws.push(legend);
        legend();
        card.append(own_plot.place, swatches, place);
      }
      card.append(bars, page.table("gradient norms", ["state", ...own.names.map((name) => ({ name, number: true }))], data.epochs.map((_, k) => [moment(k), ...row(k)])));
      return card;
    };

    // ---- dead units ------------------------------------------------------------------------------------------------------------

    const dead = () => {
      const own = data.dead;
      const card = section("Dead units", "dead", own, true);
      if (own.missing) return card;
      card.append(html("p", { class: "note" }, "Units that are zero for every row of the batch: they pass no gradient on."));
      own.layers.forEach((layer) => {
        const head = html("h3");
        const strip = html("ul", { class: "units", "aria-hidden": "true" });
        follow((k) => {
          head.textContent = page.visible(`${layer.name}: ${number(layer.counts[k])} of ${number(layer.units)} dead${layer.dead[k].length ? ` (unit ${layer.dead[k].join(", ")}${layer.counts[k] > layer.dead[k].length ? ", \u2026" : ""})` : ""}`);
          strip.replaceChildren(...Array.from({ length: Math.min(layer.units, 256) }, (_, j) => html("li", { class: layer.dead[k].includes(j) && "dead" })));
        });
        card.append(head, strip);
      });
      card.append(page.table("dead units", ["state", ...own.layers.map((one) => ({ name: one.name, number: true }))], data.epochs.map((_, k) => [moment(k), ...own.layers.map((one) => one.counts[k])])));
      return card;
    };

    // ---- rows ------------------------------------------------------------------------------------------------------------------

    const worst = (maps) => {
      const own = data.worst;
      const card = section("Rows with the largest loss", "worst", own);
      if (own.missing) return card;
      const { judged, features, pictures } = own;
      const said = own.bad ? `The parts of ${number(own.bad)} rows are not finite; they stand first` : own.exact ? "The losses of all rows have the loss of the batch as their mean" : "The loss is no sum over rows: a row\u2019s number is its part to first order";
      const rest = own.rest ? `, together with ${number(own.rest)} that belongs to no row` : "";
      card.append(html("p", { class: "note" }, `${said}${rest}. ${own.rows.length} of ${number(own.count)} rows${own.share === null ? "" : ` with ${number(100 * own.share, 3)} % of it`}, ${moment(last)}.`));
      const texts = { class: ["predicted", "probability"], probability: ["probability of 1"], value: ["predicted"] };
      const heads = ["row", "loss", ...(own.labels ? ["label"] : []), ...(judged ? texts[judged.kind] : []), ...(pictures ? [pictures.name] : []), ...features.map((one) => one.name)];
      const images = pictures && unpack(pictures.values);
      const picture = (k) => {
        const [, rows, columns] = pictures.values.shape;
        const canvas = html("canvas", { width: columns, height: rows, role: "img", "aria-label": `row ${own.rows[k]} as a picture`, style: `width:${columns * Math.max(2, Math.min(5, Math.floor(64 / rows)))}px` });
        const values = images.slice(k * rows * columns, (k + 1) * rows * columns);
        const most = Math.max(...values.map(Math.abs).filter(Number.isFinite), 1e-9);
        const draw = () => {
          const [ground, ink] = [rgb("surface"), rgb("text")];
          paint(canvas, columns, rows, (j) => mixed(ground, ink, Number.isFinite(values[j]) ? Math.abs(values[j]) / most : 0.5));
        };
        redraws.push(draw);
        draw();
        return canvas;
      };
      const wrong = (k) => judged && own.labels && Number.isFinite(judged.values[k]) && (judged.kind === "class" ? judged.values[k] !== own.labels[k] : judged.kind === "probability" && Math.round(judged.values[k]) !== own.labels[k]);
      const lines = own.rows.map((row, k) => {
        const cells = [html("button", { type: "button", class: "pick", onclick: () => choose(k) }, number(row)), number(own.losses[k], 4)];
        if (own.labels) cells.push(number(own.labels[k]));
        if (judged) cells.push(html("span", { class: wrong(k) && "mistaken" }, number(judged.values[k], 3), wrong(k) ? " \u2717" : ""));
        if (judged && judged.kind === "class") cells.push(number(judged.sure[k], 3));
        if (pictures) cells.push(picture(k));
        cells.push(...features.map((one) => number(one.values[k], 4)));
        return html("tr", { onclick: () => choose(k) }, cells.map((one) => html("td", { class: "number" }, one)));
      });
      const choose = (k) => {
        lines.forEach((line, j) => line.classList.toggle("chosen", j === k));
        mark(own.rows[k]);
        maps.forEach((one) => one.highlight(own.rows[k]));
      };
      card.append(html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Rows with the largest loss" },
        html("table", null, html("thead", null, html("tr", null, heads.map((name) => html("th", { scope: "col", class: "number" }, name)))), html("tbody", null, lines))));
      return card;
    };

    // ---- all of it ---------------------------------------------------------------------------------------------------------------

    const [weights] = matrices("Weights", "weights", data.weights, data.weights.tensors || [], (one, r, c) => `${one.name}[${one.shape.length > 1 ? `${r}, ` : ""}${c}]`, false);
    const [activations, maps] = matrices("What layers make of the batch", "activations", data.activations, data.activations.layers || [], (one, r, c) => `${one.name}, row ${r}, unit ${c}`, false);
    const states = last ? scrub() : data.note && html("p", { class: "note" }, data.note);
    const there = (cards) => cards.filter((one) => one && (one.className.includes("scrub") || one.childElementCount > 1 || one.tagName === "P"));
    const above = there([curves(), data.sweep && sweep(), states]);
    const [field, norms, still] = [plane(), gradients(), dead()];
    const column = (...cards) => html("div", { class: "column half" }, there(cards));
    const two = data.boundary.missing ? there([weights, activations, norms, still]) : [column(field, norms, still), column(weights, activations)];
    root.append(...above, ...two, ...there([worst(maps)]));
    const cut = [...root.children]; // a half without another one beside it is whole
    for (let k = 0; k < cut.length; k++) {
      if (!cut[k].classList.contains("half")) continue;
      if (cut[k + 1]?.classList.contains("half")) k++;
      else cut[k].classList.remove("half");
    }
    if (absent.length) {
      const lines = absent.flatMap(([title, why]) => [html("dt", null, title), html("dd", null, why)]);
      root.append(html("section", { class: "card absent", "aria-label": "What is not shown" }, html("h2", null, "What is not shown, and why"), html("dl", null, lines)));
    }
  },
});
