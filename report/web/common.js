"use strict";
// What every view uses: elements, numbers, charts in the page's colours, tables that sort. Text is never parsed as HTML.

const rawmsa = {
  MODALITIES: ["text", "audio", "vision"],
  MAX_MARKS: 4000, // points of one scatter above which they are drawn as pixels

  element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  },

  fill(parent, ...children) {
    parent.replaceChildren(...children.filter(Boolean));
  },

  options(select, pairs, chosen) {
    rawmsa.fill(select, ...pairs.map(([value, text]) => rawmsa.element("option", { value, selected: value === chosen }, text)));
  },

  signed(value) {
    return value === null || value === undefined ? "–" : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
  },

  colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  },

  // Charts --------------------------------------------------------------------------------------------------------

  drawings: new Map(), // by element, what draws it anew in the page's present colours

  CHART: { // nothing of it leaves the page: no button that sends it to Plotly's cloud, and no address to send it to
    responsive: true, displaylogo: false, plotlyServerURL: "", modeBarButtonsToRemove: ["sendChartToCloud", "lasso2d", "select2d"],
  },

  // make: () => [traces, layout]. Drawn now, and again where light turns dark.
  chart(div, make) {
    const draw = () => {
      const [traces, layout] = make();
      const axis = { gridcolor: rawmsa.colour("line"), zerolinecolor: rawmsa.colour("line"), linecolor: rawmsa.colour("line"), automargin: true };
      const axes = Object.fromEntries(Object.entries(layout).filter(([key]) => /^[xy]axis/.test(key)).map(([key, own]) => [key, { ...axis, ...own }]));
      const common = {
        paper_bgcolor: "transparent", plot_bgcolor: "transparent", font: { color: rawmsa.colour("ink"), size: 12 },
        margin: { l: 48, r: 12, t: 24, b: 40 }, legend: { orientation: "h", y: 1.12 }, hovermode: "closest",
        hoverlabel: { align: "left" },
      };
      Plotly.react(div, traces, { ...common, ...layout, ...axes }, rawmsa.CHART);
    };
    rawmsa.drawings.set(div, draw);
    draw();
  },

  forget(div) {
    rawmsa.drawings.delete(div);
    if (div.data) Plotly.purge(div);
  },

  // side by side, or below each other where the page is narrow: [domains of x, domains of y, height]
  panels(div, count, height) {
    const across = div.clientWidth > 640;
    const gap = across ? 0.06 : 0.12;
    const size = (1 - gap * (count - 1)) / count;
    const spans = Array.from({ length: count }, (_, index) => [index * (size + gap), index * (size + gap) + size]);
    const whole = Array(count).fill([0, 1]);
    return across ? [spans, whole, height] : [whole, spans.slice().reverse(), height * count];
  },

  axis(kind, index) {
    return kind + "axis" + (index ? index + 1 : "");
  },

  // Hover text is Plotly's own small markup.
  plain(text) {
    return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  },

  // Tables --------------------------------------------------------------------------------------------------------

  // The number that a cell begins with, as in "0.713 ± 0.010" or "84.00 / 85.98"; null: none.
  leading(text) {
    const found = text.trim().replace(/^\[/, "").replace(/−/g, "-").replace(/,(?=\d{3})/g, "").match(/^[+-]?\d+(\.\d+)?/);
    return found ? Number(found[0]) : null;
  },

  compare(a, b) {
    const [x, y] = [rawmsa.leading(a), rawmsa.leading(b)];
    if (x !== null && y !== null) return x - y;
    if ((x === null) !== (y === null)) return x === null ? 1 : -1; // what has no number comes last
    return a.localeCompare(b, undefined, { numeric: true });
  },

  // A button in each heading; a click sorts by the column, another the other way.
  sortable(table) {
    const body = table.tBodies[0];
    for (const [column, heading] of [...table.tHead.rows[0].cells].entries()) {
      const sort = () => {
        const way = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
        for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", way);
        const sign = way === "ascending" ? 1 : -1;
        const rows = [...body.rows].sort((a, b) => sign * rawmsa.compare(a.cells[column].textContent, b.cells[column].textContent));
        body.append(...rows);
      };
      const button = rawmsa.element("button", { type: "button", onclick: sort }, ...heading.childNodes);
      heading.append(button);
    }
  },

  // What is told of something while the pointer or the keyboard is on it.
  hint(target, text) {
    const told = rawmsa.element("span", { class: "hint", role: "tooltip", id: `hint-${rawmsa.hints++}`, hidden: true }, text);
    document.body.append(told);
    target.setAttribute("aria-describedby", told.id);
    const show = () => {
      told.hidden = false;
      const place = target.getBoundingClientRect();
      told.style.left = `${Math.max(8, Math.min(place.left, innerWidth - told.offsetWidth - 8))}px`;
      told.style.top = `${place.bottom + 6}px`;
    };
    const hide = () => { told.hidden = true; };
    for (const event of ["mouseenter", "focus"]) target.addEventListener(event, show);
    for (const event of ["mouseleave", "blur"]) target.addEventListener(event, hide);
    document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
    document.addEventListener("scroll", hide, { passive: true });
  },
  hints: 0,
};

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const draw of rawmsa.drawings.values()) draw();
});
