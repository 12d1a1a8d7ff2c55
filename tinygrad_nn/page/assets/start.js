// Unpacks the page: its style and its first script, which the other ones build on. All else waits until it is shown.
"use strict";
window.began = true;

// A text that Python has deflated.
const inflate = async (packed) => {
  if (typeof packed === "string") return packed;
  const bytes = Uint8Array.from(atob(packed.deflate), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
};

// Styles and scripts, each once, in the order in which they are asked for.
const unpack = (() => {
  const { code } = JSON.parse(document.getElementById("data").textContent);
  const known = new Set();
  return async (name) => {
    if (known.has(name)) return;
    known.add(name);
    const element = document.createElement(name.endsWith(".css") ? "style" : "script");
    const text = await inflate(code[name]);
    element.textContent = name.endsWith(".css") ? text : `${text}\n//# sourceURL=${name}`;
    document.head.append(element);
  };
})();

(async () => {
  try {
    await unpack("page.css");
    await unpack("page.js");
    page.start();
  } catch (error) {
    tooOld();
  }
})();
