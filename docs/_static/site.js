// What is wider than its place is scrolled from the keyboard too; headings of the navigation have a level.
addEventListener("DOMContentLoaded", () => {
  for (const one of document.querySelectorAll(".caption[role=heading]")) one.setAttribute("aria-level", "2");
  for (const one of document.querySelectorAll("pre, .table-wrapper, .scroll"))
    if (one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight) one.tabIndex = 0;
});
