// Train here: the run of the report as WebAssembly in a worker. What is changed is told to the worker between epochs.
"use strict";
page.part("train", {
  title: "Train here",
  mount(root, data, page) {
    const { html, number } = page;
    const POINTS = 800; // of a curve that are drawn
    const PACE = 60; // milliseconds between two drawings
    const names = [...data.losses, ...data.scores];
    const table = data.shapes.length === 2 && data.shapes[0].length === 2 && data.shapes[1].slice(1).every((n) => n === 1);
    const [rows, width] = data.shapes[0];
    const floats = (text) => new Float64Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
    const python = Object.fromEntries(Object.entries(data.python).map(([name, text]) => [name, floats(text)]));
    let columns = null; // as they are now, without noise
    let single = []; // whether they are in single precision
    let original = null;
    let settings = {}; // names and values that were set
    let curves = empty();
    let plot = null;
    let training = false;
    let spent = 0;
    let decided = null;
    let heard = 0;
    let wanted = false;

    function empty() {
      return Object.fromEntries(names.map((name) => [name, []]));
    }

    // ---- controls ----------------------------------------------------------------------------------------------------

    const field = (label, input) => html("label", { class: "field" }, html("span", null, label), input);
    const amount = (id, value, more) => html("input", { type: "number", id: `train-${id}`, value, step: "any", ...more });
    const go = html("button", { type: "button", id: "train-go", class: "main", disabled: true }, "Train");
    const again = html("button", { type: "button", id: "train-reset", disabled: true }, "Start again");
    const epochs = amount("epochs", data.epochs, { min: 1, max: 1000000, step: 1 });
    const rate = amount("lr", "", { min: 0 });
    const seedNames = [data.begins === "first" ? "of the history" : "as they are now", ...data.seeds.map((_, k) => `seed ${k}`)];
    const seed = html("select", { id: "train-seed" }, seedNames.map((name, k) => html("option", { value: k - 1 }, name)));
    const noise = amount("noise", 0, { min: 0, step: 0.05 });
    const said = html("p", { class: "note", role: "status", "aria-live": "polite" }, "Loading…");
    const wrong = html("p", { class: "wrong", role: "alert", hidden: true });

    const complain = (text) => {
      wrong.textContent = page.visible(text || "");
      wrong.hidden = !text;
    };

    // ---- the worker --------------------------------------------------------------------------------------------------

    let worker = null;
    const tell = (task, more) => worker.postMessage({ task, ...more });
    const begin = async () => {
      const wrapped = (name, text) => `const ${name} = (() => {${text}\nreturn load; })();\n`;
      let text = wrapped("loadRun", await page.inflate(data.script));
      if (data.decisions) text += wrapped("loadModel", await page.inflate(data.decisions.script));
      const url = URL.createObjectURL(new Blob([text, data.worker], { type: "text/javascript" }));
      worker = new Worker(url);
      worker.onmessage = (event) => answers[event.data.kind](event.data);
      worker.onerror = (event) => complain(`The worker failed: ${event.message || "this browser may be too old for it"}`);
      const bytes = async (one) => new Uint8Array(await new Response(unpacked(one)).arrayBuffer());
      tell("load", { wasm: await bytes(data.wasm), other: data.decisions && (await bytes(data.decisions.wasm)) });
    };
    const unpacked = (one) => {
      const packed = Uint8Array.from(atob(one.deflate), (c) => c.charCodeAt(0));
      return new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    };
    const answers = {
      loaded({ columns: found, lr }) {
        single = found.map((one) => one instanceof Float32Array);
        original = found.map((one) => Float64Array.from(one));
        columns = original.map((one) => one.slice());
        if (lr.length === 1) {
          rate.dataset.name = lr[0][0];
          rate.value = rate.defaultValue = String(Number(lr[0][1].toPrecision(7)));
        }
        rate.closest(".field").hidden = lr.length !== 1;
        go.disabled = again.disabled = false;
        said.textContent = `Ready: ${number(rows)} rows in batches of ${number(data.batch)}, ${data.dtype}.`;
        if (table) fillRow();
        if (picture) picture.begin();
        root.dataset.state = "ready";
      },
      epochs({ epoch, done, spent: time, found }) {
        for (const name of names) for (const value of found[name]) curves[name].push(value);
        spent = time;
        root.dataset.last = JSON.stringify(names.map((name) => curves[name].at(-1)));
        draw();
        const now = performance.now();
        if (now - heard > 1000) {
          heard = now;
          tellOf(epoch, `${number(done)} epochs in ${number(time, 3)} ms`);
        }
      },
      done({ epoch, done, spent: time }) {
        stopped();
        draw();
        tellOf(epoch, `${number(done)} epochs in ${number(time, 3)} ms${compared()}`);
        values.replaceChildren(listed());
      },
      decisions({ out }) {
        decided = out;
        if (picture) picture.draw();
      },
      failed({ message }) {
        stopped();
        complain(message);
      },
    };
    const stopped = () => {
      training = false;
      go.textContent = "Train";
      root.dataset.state = "ready";
    };
    const tellOf = (epoch, more) => {
      const last = names.map((name) => `${name} ${number(curves[name].at(-1), 6)}`).join(", ");
      said.textContent = `Epoch ${number(epoch)}: ${last}; ${more}.`;
    };
    const changed = () => Object.keys(settings).length > 0;
    const compared = () => {
      if (changed() || !python[data.losses[0]]) return "";
      let most = 0, count = 0;
      for (const name of data.losses) {
        const theirs = python[name], ours = curves[name];
        count = Math.min(theirs.length, ours.length);
        for (let k = 0; k < count; k++) most = Math.max(most, Math.abs(ours[k] - theirs[k]) / Math.abs(theirs[k]));
      }
      return `; largest relative difference to Python's ${number(count)} epochs ${number(most, 2)}`;
    };

    go.onclick = () => {
      complain("");
      if (training) {
        tell("stop");
        stopped();
        said.textContent = `Stopped at epoch ${number(curves[names[0]].length)}.`;
        values.replaceChildren(listed());
        return;
      }
      const count = Number(epochs.value);
      if (!Number.isInteger(count) || count < 1 || count > 1e6) {
        complain(`Epochs: ${epochs.value || "nothing"} is no whole number from 1 to 1,000,000.`);
        return;
      }
      training = true;
      heard = performance.now();
      go.textContent = "Stop";
      root.dataset.state = "training";
      tell("train", { epochs: count });
    };
    const reset = () => {
      complain("");
      stopped();
      curves = empty();
      tell("reset", { values: settings });
      said.textContent = "At the beginning.";
      draw();
      values.replaceChildren(listed());
    };
    again.onclick = reset;

    // A value that is set holds from the next epoch on, and after a new start.
    const put = (name, numbers) => {
      settings[name] = numbers;
      tell("set", { values: { [name]: numbers } });
    };
    rate.onchange = () => {
      const value = Number(rate.value);
      if (rate.value === "" || !Number.isFinite(value) || value < 0) {
        complain(`Learning rate: ${rate.value || "nothing"} is no number from 0 on.`);
        return;
      }
      complain("");
      if (rate.value === rate.defaultValue) delete settings[rate.dataset.name];
      put(rate.dataset.name, [value]);
      if (rate.value === rate.defaultValue) delete settings[rate.dataset.name];
    };
    seed.onchange = () => {
      const known = new Set(data.seeds.flatMap((one) => Object.keys(one)));
      settings = Object.fromEntries(Object.entries(settings).filter(([name]) => !known.has(name)));
      for (const [name, text] of Object.entries(data.seeds[Number(seed.value)] || {})) {
        settings[name] = floats(text);
      }
      reset();
    };

    // ---- the data ----------------------------------------------------------------------------------------------------

    // Normal numbers of a seed: those of Box and Muller, of what mulberry32 draws.
    const normals = (state) => () => {
      const uniform = () => {
        state = (state + 0x6d2b79f5) | 0;
        let t = Math.imul(state ^ (state >>> 15), 1 | state);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
      };
      return Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    };
    const noisy = () => {
      const level = Number(noise.value), x = columns[0], size = x.length / rows;
      if (!(level > 0)) return x;
      const draw = normals(1), scale = [];
      for (let k = 0; k < size; k++) {
        const own = x.filter((_, at) => at % size === k), mean = own.reduce((a, b) => a + b, 0) / rows;
        scale.push(Math.sqrt(own.reduce((a, b) => a + (b - mean) ** 2, 0) / rows));
      }
      return x.map((value, at) => value + level * scale[at % size] * draw());
    };
    const putData = () => {
      columns.forEach((one, k) => {
        const now = k === 0 ? noisy() : one, name = `data${k}`;
        if (now.every((value, at) => value === original[k][at])) {
          if (settings[name]) tell("set", { values: { [name]: original[k] } });
          delete settings[name];
        } else put(name, now);
      });
      if (picture) picture.draw();
    };
    noise.onchange = () => {
      const level = Number(noise.value);
      if (noise.value === "" || !(level >= 0)) complain(`Noise: ${noise.value || "nothing"} is no number from 0 on.`);
      else {
        complain("");
        putData();
      }
    };

    const row = amount("row", 1, { min: 1, max: rows, step: 1 });
    const cells = table ? [...data.features, data.columns[1]].map((name, k) => amount(`cell-${k}`, "", { "aria-label": name })) : [];
    // The shortest number that in single precision is this one, as Python writes it.
    const short = (x) => [6, 7, 8].map((n) => Number(x.toPrecision(n))).find((n) => Math.fround(n) === x) ?? x;
    const fillRow = () => {
      const at = Math.min(rows, Math.max(1, Math.round(Number(row.value)) || 1)) - 1;
      cells.forEach((cell, k) => {
        const column = k < width ? 0 : 1, value = columns[column][k < width ? at * width + k : at];
        cell.value = String(single[column] ? short(value) : value);
      });
      return at;
    };
    const changeRow = () => {
      const at = Math.round(Number(row.value)) - 1;
      if (!(at >= 0 && at < rows)) return complain(`Row: ${row.value || "nothing"} is none of 1 to ${rows}.`);
      for (const [k, cell] of cells.entries()) {
        const value = Number(cell.value), name = k < width ? data.features[k] : data.columns[1];
        if (cell.value === "" || !Number.isFinite(value)) return complain(`Row ${at + 1}, ${name}: ${cell.value || "nothing"} is no number.`);
      }
      cells.forEach((cell, k) => (columns[k < width ? 0 : 1][k < width ? at * width + k : at] = Number(cell.value)));
      complain("");
      putData();
      said.textContent = `Row ${at + 1} is changed.`;
    };
    row.onchange = () => columns && fillRow();
    cells.forEach((cell) => (cell.onchange = changeRow));

    // ---- a file of one's own -------------------------------------------------------------------------------------------

    // Rows of cells, as RFC 4180 has them, with the number of the line that each begins in.
    const parse = (text) => {
      const head = text.slice(0, text.search(/[\r\n]|$/));
      const mark = [",", ";", "\t"].reduce((a, b) => (head.split(b).length > head.split(a).length ? b : a));
      const found = [];
      let cells = [""], quoted = false, line = 1, begin = 1;
      for (let k = text.charCodeAt(0) === 0xfeff ? 1 : 0; k <= text.length; k++) {
        const c = text[k];
        if (c === "\n") line++;
        if (quoted && c === undefined) throw new Error(`Line ${begin}: a quotation mark that is not closed.`);
        if (quoted) {
          if (c !== '"') cells[cells.length - 1] += c;
          else if (text[k + 1] === '"') (cells[cells.length - 1] += c), k++;
          else quoted = false;
        } else if (c === '"') quoted = true;
        else if (c === mark) cells.push("");
        else if (c === "\n" || c === undefined) {
          if (cells.length > 1 || cells[0].trim()) found.push({ line: begin, cells: cells.map((one) => one.trim()) });
          (cells = [""]), (begin = line);
        } else if (c !== "\r") cells[cells.length - 1] += c;
      }
      return found;
    };
    const same = (a, b) => a.trim().toLowerCase() === b.trim().toLowerCase();
    const read = (text) => {
      const [head, ...lines] = parse(text);
      if (!head || !lines.length) throw new Error("The file has no rows below its first line, which has the names of its columns.");
      const target = data.columns[1];
      const places = [...data.features, target].map((name) => head.cells.findIndex((one) => same(one, name)));
      if (places.some((at) => at < 0) && head.cells.length === width + 1 && places.slice(0, width).every((at) => at >= 0)) {
        places[width] = head.cells.findIndex((_, at) => !places.includes(at)); // the one that is left
      }
      const lost = places.findIndex((at) => at < 0);
      if (lost >= 0) throw new Error(`The file has no column ${[...data.features, target][lost]}; it has ${head.cells.join(", ")}.`);
      const whole = data.classes > 0, texts = [];
      const x = [], y = [];
      for (const { line, cells } of lines) {
        if (cells.length !== head.cells.length) throw new Error(`Line ${line}: ${cells.length} cells where the first line has ${head.cells.length}.`);
        places.forEach((at, k) => {
          const value = cells[at] === "" ? NaN : Number(cells[at]);
          if (k === width && whole && Number.isNaN(value) && cells[at]) {
            texts.push(cells[at]);
            y.push(cells[at]);
            return;
          }
          if (!Number.isFinite(value)) throw new Error(`Line ${line}, column ${head.cells[at]}: ${cells[at] || "nothing"} is no number.`);
          if (k === width && whole && !(Number.isInteger(value) && value >= 0 && value < data.classes)) {
            throw new Error(`Line ${line}, column ${head.cells[at]}: ${cells[at]} is no class from 0 to ${data.classes - 1}.`);
          }
          (k < width ? x : y).push(value);
        });
      }
      const kinds = [...new Set(texts)].sort();
      if (kinds.length > data.classes) throw new Error(`Column ${head.cells[places[width]]}: ${kinds.length} classes (${kinds.slice(0, 5).join(", ")}…) where the model has ${data.classes}.`);
      if (kinds.length && texts.length < y.length) throw new Error(`Column ${head.cells[places[width]]}: numbers and names of classes.`);
      return { x, y: y.map((one) => (kinds.length ? kinds.indexOf(one) : one)), kinds, count: lines.length };
    };
    const take = async (file) => {
      complain("");
      try {
        const { x, y, kinds, count } = read(await file.text());
        columns[0] = columns[0].map((_, at) => x[at % (count * width)]);
        columns[1] = columns[1].map((_, at) => y[at % count]);
        putData();
        fillRow();
        reset();
        if (picture) picture.begin();
        const fits = count === rows ? "" : count < rows ? `; the run takes ${rows}, so the first ones come again` : `; the run takes the first ${rows}`;
        const classes = kinds.length ? `; classes ${kinds.map((name, k) => `${k} ${name}`).join(", ")}` : "";
        said.textContent = page.visible(`${file.name}: ${count} rows${fits}${classes}.`);
      } catch (error) {
        complain(`${file.name}: ${error.message}`);
      }
    };
    const chosen = html("input", { type: "file", id: "train-file", accept: ".csv,.tsv,.txt,text/csv", onchange: () => chosen.files[0] && take(chosen.files[0]) });
    const back = () => {
      columns = original.map((one) => one.slice());
      noise.value = "0";
      putData();
      fillRow();
      reset();
      if (picture) picture.begin();
    };
    const drop = html(
      "div",
      {
        class: "drop",
        ondragover: (event) => event.preventDefault(),
        ondrop: (event) => {
          event.preventDefault();
          if (event.dataTransfer.files[0] && columns) take(event.dataTransfer.files[0]);
        },
      },
      field("Your own rows: drop a CSV file here, or choose one", chosen),
      html("p", { class: "note" }, `Its first line has the names ${[...(data.features || []), data.columns[1]].join(", ")}, in any order; other columns are passed over. What the model does with its input first, as to scale it, it does here too.`),
      html("button", { type: "button", id: "train-back", onclick: () => columns && back() }, "Python's rows again"),
    );

    // ---- curves ------------------------------------------------------------------------------------------------------

    const chart = html("div", { class: "card chart", role: "img", "aria-label": "Losses by epoch" });
    const values = html("div");
    const series = [
      ...data.losses.map((name, k) => ({ name, scale: "y", colour: ["blue", "vermillion", "green"][k % 3], of: () => curves[name] })),
      ...data.scores.map((name, k) => ({ name, scale: "score", colour: ["green", "purple", "orange"][k % 3], of: () => curves[name] })),
      ...data.losses.filter((name) => python[name]).map((name) => ({ name: `${name} in Python`, scale: "y", colour: "grey", dash: [5, 4], of: () => python[name] })),
    ];
    const numbers = () => {
      const drawn = series.map((one) => one.of());
      const count = Math.max(1, ...drawn.map((one) => one.length)), every = Math.ceil(count / POINTS);
      const at = Array.from({ length: Math.ceil(count / every) }, (_, k) => Math.min(count, (k + 1) * every));
      return [at, ...drawn.map((one) => at.map((epoch) => one[epoch - 1] ?? null))];
    };
    const makeChart = () => {
      plot?.destroy();
      const axis = (more) => ({ stroke: page.colour("muted"), grid: { stroke: page.colour("line"), width: 1 }, ticks: { stroke: page.colour("line"), width: 1 }, ...more });
      const right = data.scores.length ? [axis({ scale: "score", side: 1, grid: { show: false } })] : [];
      const options = {
        width: Math.max(240, chart.clientWidth - 2),
        height: 260,
        scales: { x: { time: false } },
        axes: [axis(), axis({ scale: "y", size: 60 }), ...right],
        series: [{ label: "epoch" }, ...series.map((one) => ({ label: page.visible(one.name), scale: one.scale, stroke: page.colour(one.colour), width: 2, dash: one.dash, points: { show: false }, spanGaps: true, value: (_, value) => number(value, 5) }))],
      };
      plot = new uPlot(options, numbers(), chart);
    };
    const draw = () => {
      if (wanted) return;
      wanted = true;
      const wait = training ? PACE : 0;
      setTimeout(() => requestAnimationFrame(() => ((wanted = false), plot?.setData(numbers()))), wait);
    };
    const listed = () => {
      const count = curves[names[0]].length, every = Math.ceil(count / 500);
      const at = Array.from({ length: Math.floor(count / every) || 0 }, (_, k) => (k + 1) * every);
      return page.table("losses and scores by epoch", ["epoch", ...names].map((name) => ({ name, number: true })), at.map((epoch) => [epoch, ...names.map((name) => curves[name][epoch - 1])]));
    };

    // ---- decisions, for two features -----------------------------------------------------------------------------------

    const makePicture = () => {
      const SIDE = 320;
      const canvas = html("canvas", { width: SIDE, height: SIDE, role: "img", "aria-label": "Rows by their two features, and what the model says in between. Rows can be dragged; the fields for a row change them too." });
      const { grid, outputs } = data.decisions;
      const colours = ["blue", "orange", "green", "purple", "vermillion", "yellow", "grey", "sky"];
      const context = canvas.getContext("2d");
      let low = [0, 0], span = [1, 1], held = -1;
      const place = (k, value) => (k ? SIDE - ((value - low[1]) / span[1]) * SIDE : ((value - low[0]) / span[0]) * SIDE);
      const value = (k, at) => low[k] + (k ? (SIDE - at) / SIDE : at / SIDE) * span[k];
      const begin = () => {
        for (const k of [0, 1]) {
          const own = columns[0].filter((_, at) => at % 2 === k), least = Math.min(...own), most = Math.max(...own);
          span[k] = (most - least || 1) * 1.2;
          low[k] = least - span[k] / 12;
        }
        const places = new Float64Array(2 * grid * grid);
        for (let i = 0; i < grid * grid; i++) {
          places[2 * i] = low[0] + (((i % grid) + 0.5) / grid) * span[0];
          places[2 * i + 1] = low[1] + ((grid - Math.floor(i / grid) - 0.5) / grid) * span[1];
        }
        tell("grid", { places });
      };
      const channel = (name) => {
        context.fillStyle = page.colour(name);
        const hex = context.fillStyle;
        return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
      };
      const draw = () => {
        context.clearRect(0, 0, SIDE, SIDE);
        if (decided) {
          const ground = channel("surface"), own = colours.map(channel), image = new ImageData(grid, grid);
          const middle = outputs === 1 && Math.min(...decided) >= 0 && Math.max(...decided) <= 1 ? 0.5 : 0;
          for (let i = 0; i < grid * grid; i++) {
            let best = 0;
            if (outputs === 1) best = decided[i] > middle ? 1 : 0;
            else for (let k = 1; k < outputs; k++) if (decided[i * outputs + k] > decided[i * outputs + best]) best = k;
            own[best % own.length].forEach((one, c) => (image.data[4 * i + c] = Math.round(0.3 * one + 0.7 * ground[c])));
            image.data[4 * i + 3] = 255;
          }
          const small = new OffscreenCanvas(grid, grid);
          small.getContext("2d").putImageData(image, 0, 0);
          context.imageSmoothingEnabled = false;
          context.drawImage(small, 0, 0, SIDE, SIDE);
        }
        for (let at = 0; at < rows; at++) {
          context.beginPath();
          context.arc(place(0, columns[0][2 * at]), place(1, columns[0][2 * at + 1]), at === held ? 6 : 4, 0, 2 * Math.PI);
          context.fillStyle = page.colour(colours[Math.abs(Math.round(columns[1]?.[at] || 0)) % colours.length]);
          context.fill();
          context.strokeStyle = page.colour("surface");
          context.stroke();
        }
      };
      const at = (event) => {
        const box = canvas.getBoundingClientRect();
        return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
      };
      canvas.onpointerdown = (event) => {
        if (!columns) return;
        const [x, y] = at(event);
        let nearest = 14;
        held = -1;
        for (let k = 0; k < rows; k++) {
          const away = Math.hypot(place(0, columns[0][2 * k]) - x, place(1, columns[0][2 * k + 1]) - y);
          if (away < nearest) (nearest = away), (held = k);
        }
        if (held < 0) return;
        canvas.setPointerCapture(event.pointerId);
        row.value = String(held + 1);
        fillRow();
      };
      canvas.onpointermove = (event) => {
        if (held < 0) return;
        at(event).forEach((one, k) => (columns[0][2 * held + k] = value(k, Math.min(SIDE, Math.max(0, one)))));
        fillRow();
        putData();
      };
      canvas.onpointerup = canvas.onpointercancel = () => {
        held = -1;
        draw();
      };
      const axes = html("p", { class: "note" }, `across ${data.features[0]}, up ${data.features[1]}`);
      return { begin, draw, element: html("div", { class: "card decisions" }, canvas, axes) };
    };
    const picture = data.decisions && table ? makePicture() : null;

    // ---- the panel ---------------------------------------------------------------------------------------------------

    const controls = [go, again, field("epochs", epochs), field("learning rate", rate)];
    if (data.seeds.length) controls.push(field("first weights", seed));
    if (table) controls.push(field("noise, in deviations", noise));
    const start = data.begins === "first" ? "It begins with the weights before the first epoch of the history." : "It begins with the weights as they are now.";
    const exact = data.dtype === "float64" ? "In float64 its losses are Python's to the last digits." : "In float32 its losses differ from Python's in the last digits, as sums are in another order.";
    root.append(
      html("p", { class: "note" }, `The run of this step as WebAssembly, in this page. ${start} ${exact}`),
      html("div", { class: "bar" }, controls),
      said,
      wrong,
      html("div", { class: "pictures" }, chart, picture && picture.element),
      values,
    );
    if (table) {
      const fields = cells.map((cell, k) => field(k < width ? data.features[k] : data.columns[1], cell));
      root.append(html("fieldset", null, html("legend", null, "A row of the data"), field("row", row), fields), drop);
    } else root.append(html("p", { class: "note" }, "Rows can be changed where they are a table of numbers and one column of targets."));
    if (!window.Worker || !window.WebAssembly || !window.DecompressionStream) {
      root.replaceChildren(page.missing("This browser has no WebAssembly, no workers, or cannot unpack what the page holds."));
      return;
    }
    makeChart();
    values.append(listed());
    page.on("theme", () => {
      makeChart();
      if (picture && columns) picture.draw();
    });
    addEventListener("resize", () => plot?.setSize({ width: Math.max(240, chart.clientWidth - 2), height: 260 }));
    begin().catch((error) => complain(`The run does not load: ${error.message}`));
  },
});
