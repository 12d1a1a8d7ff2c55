// What all parts of the page share: elements, tabs, selection, themes, tables, numbers, and what to say where something
// is missing. No text of users becomes markup: elements are made by `html` and `svg`, whose strings are text nodes. A
// part's scripts and data are unpacked when it is first shown.
"use strict";
var page = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const parts = new Map(); // name -> {title, mount}
  const panels = new Map(); // name -> the panel's element
  const listeners = new Map(); // event -> functions
  const ROWS = 500; // of a table, before a button shows more

  // ---- text and elements -------------------------------------------------------------------------------------------

  // Characters that cannot be seen, or that turn the direction of text around, by their names.
  const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
  const visible = (text) =>
    String(text).replace(HIDDEN, (c) => {
      const code = c.charCodeAt(0);
      return code < 0x20 ? String.fromCharCode(0x2400 + code) : `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
    });

  const fill = (element, attributes, children) => {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) {
        if (typeof value !== "function") throw new TypeError(`${name} is no function`);
        element.addEventListener(name.slice(2), value);
      } else if (/^(xlink:)?(href|src)$/.test(name) && !/^(#|blob:|data:image\/)/.test(value)) {
        throw new TypeError(`${name} leads out of the page`);
      } else if (name === "srcdoc") {
        throw new TypeError("srcdoc is markup");
      } else element.setAttribute(name, value === true ? "" : visible(value));
    }
    for (const child of children.flat(Infinity)) {
      if (child === null || child === undefined || child === false) continue;
      element.append(child instanceof Node ? child : document.createTextNode(visible(child)));
    }
    return element;
  };
  const html = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  // Numbers that JSON does not have come as the texts "NaN", "Infinity" and "-Infinity".
  const number = (x, digits = 4) => {
    if (x === null || x === undefined) return "\u2013";
    const value = Number(x);
    if (Number.isNaN(value)) return "NaN";
    if (!Number.isFinite(value)) return value > 0 ? "\u221e" : "\u2212\u221e";
    const size = Math.abs(value);
    if (Number.isInteger(value) && size < 1e9) return value.toLocaleString("en").replace("-", "\u2212");
    const text = size >= 1e6 || size < 1e-3 ? value.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e+", "e") : String(+value.toPrecision(digits));
    return text.replaceAll("-", "\u2212");
  };

  // ---- events: what is selected in one part is marked in the others --------------------------------------------------

  const on = (event, listener) => listeners.set(event, [...(listeners.get(event) || []), listener]);
  const tell = (event, value) => (listeners.get(event) || []).forEach((listener) => listener(value));
  const select = (kind, id) => {
    page.selected = id === null ? null : { kind, id };
    address();
    tell("select", page.selected);
  };
  const hover = (kind, id) => tell("hover", id === null ? null : { kind, id });

  // ---- tables, notes -----------------------------------------------------------------------------------------------

  // `columns`: names, or {name, number: true}; `rows`: lists of texts, numbers or elements. Made when it is opened.
  const table = (caption, columns, rows) => {
    const heads = columns.map((one) => (typeof one === "string" ? { name: one } : one));
    const cell = (value, k) =>
      html("td", { class: heads[k].number && "number" }, typeof value === "number" ? number(value) : value);
    const body = html("tbody");
    const more = html("button", { type: "button", onclick: () => extend() });
    const extend = () => {
      const next = rows.slice(body.children.length, body.children.length + ROWS);
      body.append(...next.map((row) => html("tr", null, row.map(cell))));
      more.textContent = `${number(rows.length - body.children.length)} more`;
      more.hidden = body.children.length >= rows.length;
    };
    const head = heads.map((one) => html("th", { scope: "col", class: one.number && "number" }, one.name));
    const whole = html("table", null, html("caption", null, caption), html("thead", null, html("tr", null, head)), body);
    const scroll = html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, whole, more);
    const opened = () => body.children.length || !details.open || (extend(), details.append(scroll));
    const details = html("details", { class: "table", ontoggle: opened }, html("summary", null, `As a table: ${caption}`));
    return details;
  };

  const missing = (reason, title = "This part is missing") =>
    html("div", { class: "missing" }, html("h2", null, title), html("p", null, reason));

  // ---- themes ------------------------------------------------------------------------------------------------------

  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const setTheme = (theme) => {
    root.dataset.theme = theme;
    tell("theme", theme);
  };
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  setTheme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));

  // ---- tabs --------------------------------------------------------------------------------------------------------

  let current = null;
  // The address says what is shown, `#graph/node/12`, so that it can be linked; a frame without an origin has none.
  const address = () => {
    const chosen = page.selected ? `/${page.selected.kind}/${page.selected.id}` : "";
    try {
      history.replaceState(null, "", `#${current}${chosen}`);
    } catch {
      /* shown all the same */
    }
  };

  // What a part's `mount` gives may be a promise; `data-mounted` is "yes" when it is kept.
  const mount = async (name) => {
    const panel = panels.get(name);
    if (panel.dataset.mounted) return;
    panel.dataset.mounted = "soon";
    const own = data.parts[name];
    try {
      if ("missing" in own) panel.append(missing(own.missing));
      else {
        for (const name of own.assets) await unpack(name);
        if (parts.has(name)) await parts.get(name).mount(panel, JSON.parse(await inflate(own.data)), page);
        else panel.append(missing("Its script did not load: this browser may be too old for it."));
      }
    } catch (error) {
      panel.replaceChildren(missing(`Its script failed: ${error.message}`));
      console.error(error);
    }
    panel.dataset.mounted = "yes";
  };

  const show = (name, focus = false) => {
    if (!panels.has(name)) return;
    current = name;
    for (const [one, panel] of panels) {
      const tab = document.getElementById(`tab-${one}`);
      tab.setAttribute("aria-selected", String(one === name));
      tab.tabIndex = one === name ? 0 : -1;
      panel.hidden = one !== name;
      if (one === name && focus) tab.focus();
    }
    mount(name);
    address();
    tell("tab", name);
  };

  const follow = () => {
    const [name, kind, id] = decodeURIComponent(location.hash.slice(1)).split("/");
    if (kind && id !== undefined) page.selected = { kind, id: /^\d+$/.test(id) ? Number(id) : id };
    if (panels.has(name) ? name !== current : current === null) show(panels.has(name) ? name : panels.keys().next().value);
    if (kind) tell("select", page.selected);
  };

  const keys = (event) => {
    const names = [...panels.keys()];
    const at = names.indexOf(current);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    show(names[(next + names.length) % names.length], true);
  };

  const start = () => {
    const { name, facts } = data.about;
    document.title = visible(name).slice(0, 80);
    const list = html("div", { role: "tablist", "aria-label": "Parts of the report", onkeydown: keys });
    const main = html("main");
    for (const [part, own] of Object.entries(data.parts)) {
      const panel = html("section", { class: `panel panel-${part}`, id: `panel-${part}`, role: "tabpanel", "aria-labelledby": `tab-${part}`, "data-title": own.title, hidden: true });
      panels.set(part, panel);
      main.append(panel);
      const attributes = { type: "button", role: "tab", id: `tab-${part}`, "aria-controls": `panel-${part}`, onclick: () => show(part) };
      list.append(html("button", attributes, own.title));
    }
    const flip = () => setTheme(root.dataset.theme === "dark" ? "light" : "dark");
    const button = html("button", { type: "button", id: "theme", "aria-label": "Dark or light", title: "Dark or light", onclick: flip }, "\u25d0");
    const items = facts.map(([label, value]) => html("li", { class: "cut" }, label, " ", html("b", null, value)));
    const head = html("header", { class: "head" }, html("h1", { class: "cut" }, name), html("ul", { class: "facts" }, items), button);
    document.body.prepend(head, list, main);
    follow();
    addEventListener("hashchange", follow);
    let theme = "";
    addEventListener("beforeprint", () => {
      theme = root.dataset.theme;
      setTheme("light"); // paper is
      panels.forEach((_, one) => mount(one));
    });
    addEventListener("afterprint", () => setTheme(theme));
    root.dataset.ready = "yes";
  };

  const part = (name, own) => parts.set(name, own);
  const page = { data, html, svg, number, visible, inflate: (packed) => inflate(packed), on, select, hover, table, missing, colour, show, part, start, selected: null };
  return page;
})();
