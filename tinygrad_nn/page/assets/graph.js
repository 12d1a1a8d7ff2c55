// The graph.
"use strict";
page.part("graph", {
  mount(root, data, page) {
    const rows = data.nodes.map(([op, shape, dtype, name, reads], k) => [k, op, shape.join(" × "), dtype, name, reads.join(", ")]);
    const table = page.table("nodes of the graph", [{ name: "node", number: true }, "op", "shape", "dtype", "name", "reads"], rows);
    table.open = true;
    root.append(page.html("h2", null, "Graph"), table);
  },
});
