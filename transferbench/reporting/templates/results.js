"use strict";
// Without this script everything can be read; with it tables can be sorted and filtered.
const value = (row, column) => {
  const cell = row.cells[column];
  return "v" in cell.dataset ? Number(cell.dataset.v || "-Infinity") : cell.textContent.trim().toLowerCase();
};
const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  table.classList.add("sorted");
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const other = first === "descending" ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => sign * compare(value(a, column), value(b, column)));
      table.tBodies[0].append(...rows);
    });
  });
}
for (const tools of document.querySelectorAll(".tools")) {
  const table = document.getElementById(tools.dataset.table);
  const input = tools.querySelector("input");
  const count = tools.querySelector("output");
  const rows = [...table.tBodies[0].rows];
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
      const details = row.dataset.result && document.getElementById(row.dataset.result);
      if (details) details.hidden = row.hidden;
    }
    for (const section of document.querySelectorAll("section.dataset")) {
      const results = [...section.querySelectorAll("details.result")];
      section.hidden = results.length > 0 && results.every((each) => each.hidden);
    }
    count.textContent = `${shown} of ${rows.length}`;
  };
  input.addEventListener("input", apply);
  tools.hidden = false;
  apply();
}
// A link to a folded result opens it, and the keyboard goes on from there.
const unfold = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!(target instanceof HTMLDetailsElement)) return;
  target.open = true;
  target.scrollIntoView();
  target.querySelector("summary").focus({ preventScroll: true });
};
addEventListener("hashchange", unfold);
unfold();
