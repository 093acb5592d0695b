"use strict";

// Of texts, post 9 before post 28.
const inOrder = new Intl.Collator("en", { numeric: true });

// Tables that can be sorted, searched and turned page by page. All rows are in a script
// beside the table, as the texts that are shown.
for (const box of document.querySelectorAll(".data-table")) {
  const { choice, columns, noun, rows } = JSON.parse(box.querySelector("script").textContent);
  const pageSize = Number(box.dataset.page);
  const body = box.querySelector("tbody");
  const heads = [...box.querySelectorAll("th[data-kind]")];
  const search = box.querySelector("input");
  const select = box.querySelector("select");
  const status = box.querySelector("[role=status]");
  const pages = box.querySelector(".pages");
  let texts = null;
  let order = rows.map((_, row) => row);
  let shown = order;
  let first = 0;

  const value = (row, column) => {
    if (columns[column][0] !== "number") return rows[row][column];
    const number = parseFloat(rows[row][column].replaceAll(",", ""));
    return Number.isNaN(number) ? null : number;
  };

  const line = (row) => {
    const element = document.createElement("tr");
    rows[row].forEach((text, column) => {
      const [kind, css, link] = columns[column];
      const cell = document.createElement(column === 0 ? "th" : "td");
      if (column === 0) cell.scope = "row";
      if (css && column > 0) cell.className = css;
      if (kind === "link" && text) {
        const anchor = document.createElement("a");
        anchor.href = text;
        anchor.rel = "noreferrer";
        anchor.textContent = link;
        cell.append(anchor);
      } else {
        cell.textContent = text;
      }
      element.append(cell);
    });
    return element;
  };

  const draw = () => {
    const last = Math.min(first + pageSize, shown.length);
    body.replaceChildren(...shown.slice(first, last).map(line));
    const few = shown.length <= pageSize;
    const range = few ? "" : `${first + 1} to ${last} of `;
    status.textContent = `${range}${shown.length.toLocaleString("en")} ${noun}`;
    pages.hidden = few;
    for (const button of pages.children) {
      button.disabled = Number(button.dataset.step) < 0 ? first === 0 : last === shown.length;
    }
  };

  const filter = () => {
    const words = search.value.toLowerCase().trim().replaceAll(" ", "_");
    const wanted = select ? select.value : "";
    texts ??= rows.map((row) =>
      row.filter((_, column) => columns[column][0] === "text").join("\n").toLowerCase());
    shown = order.filter((row) =>
      (!wanted || rows[row][choice] === wanted) &&
      (!words || texts[row].includes(words) || texts[row].includes(search.value.toLowerCase())));
    first = 0;
    draw();
  };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const up = before ? before === "descending" : columns[column][0] !== "number";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const compare = (a, b) => {
        // What is absent is neither high nor low: it comes last.
        if (a === null || b === null) return (a === null) - (b === null);
        return (typeof a === "number" ? a - b : inOrder.compare(a, b)) * (up ? 1 : -1);
      };
      order = rows.map((_, row) => row);
      order.sort((a, b) => compare(value(a, column), value(b, column)) || a - b);
      filter();
    });
  });
  search.addEventListener("input", filter);
  if (select) select.addEventListener("change", filter);
  for (const button of pages.children) {
    button.addEventListener("click", () => {
      first += Number(button.dataset.step) * pageSize;
      draw();
      box.querySelector(".tall").scrollTop = 0;
    });
  }
  box.querySelector(".controls").hidden = false;
  for (const without of box.querySelectorAll(".no-script")) without.remove();
  // The first page stands already: only its count and its buttons are new.
  status.textContent = rows.length > pageSize
    ? `1 to ${pageSize} of ${rows.length.toLocaleString("en")} ${noun}`
    : `${rows.length.toLocaleString("en")} ${noun}`;
  pages.hidden = rows.length <= pageSize;
  pages.children[0].disabled = true;
}

// What does not scroll is no stop for the keyboard.
const scrollers = [...document.querySelectorAll(".scroll")];
const stops = () => {
  const needed = scrollers.map((one) =>
    one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight);
  scrollers.forEach((one, number) => {
    if (needed[number]) one.tabIndex = 0;
    else one.removeAttribute("tabindex");
  });
};
stops();
addEventListener("resize", stops);

// The link to the section that is read is marked.
const links = new Map();
for (const link of document.querySelectorAll("nav a")) links.set(link.hash.slice(1), link);
const visible = new Set();
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) visible.add(target.id);
    else visible.delete(target.id);
  }
  let isMarked = false;
  for (const [name, link] of links) {
    const isFirst = !isMarked && visible.has(name);
    if (isFirst) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    isMarked ||= isFirst;
  }
}, { rootMargin: "-15% 0px -60% 0px" });
for (const name of links.keys()) watcher.observe(document.getElementById(name));
