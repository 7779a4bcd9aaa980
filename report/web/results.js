"use strict";
// Results: sortable tables, curves, predicted against true, runs and two of them side by side.

rawmsa.results = (datasets) => {
  const { element, chart, colour } = rawmsa;
  const open = (data, place) => { location.hash = rawmsa.address(data, place); };

  const line = (x, y, name, paint, more = {}) => ({ x, y, name, mode: "lines+markers", marker: { size: 4 }, line: { color: paint, width: 1.5 }, ...more });

  const kinds = {
    curves: (div, data, network) => {
      const runs = data.runs.filter((run) => run.network === network && (run.curves.epoch || []).length);
      chart(div, () => {
        const [xs, ys, height] = rawmsa.panels(div, 2, 260);
        const traces = runs.flatMap((run, index) => [
          line(run.curves.epoch, run.curves.train_loss, "training loss", colour("text"), { legendgroup: "train", showlegend: !index, hovertext: run.title }),
          line(run.curves.epoch, run.curves.valid_loss, "validation loss", colour("audio"), { legendgroup: "valid", showlegend: !index, hovertext: run.title }),
          line(run.curves.epoch, run.curves.valid_mae, "validation MAE", colour("fusion"), {
            legendgroup: "mae", showlegend: !index, xaxis: "x2", yaxis: "y2", hovertext: run.title,
            marker: { size: run.curves.epoch.map((epoch) => (epoch === run.best_epoch ? 10 : 4)) },
          }),
        ]);
        return [traces, {
          height, xaxis: { domain: xs[0], anchor: "y", title: { text: "epoch" } }, yaxis: { domain: ys[0], title: { text: "loss" } },
          xaxis2: { domain: xs[1], anchor: "y2", title: { text: "epoch (large: the one kept)" } }, yaxis2: { domain: ys[1], anchor: "x2", title: { text: "validation MAE" } },
        }];
      });
    },

    predicted: (div, data, network) => {
      const model = data.models.find((found) => found.own && found.network === network);
      if (!model) return;
      const places = data.labels.map((_, place) => place).filter((place) => data.splits[place] === "test" && data.labels[place] !== null);
      const branches = ["prediction", ...rawmsa.MODALITIES].filter((branch) => places.some((place) => model[branch][place] !== null));
      const [low, high] = data.range;
      chart(div, () => {
        const [xs, ys, height] = rawmsa.panels(div, branches.length, 260);
        const layout = { height, showlegend: false };
        const traces = branches.flatMap((branch, index) => {
          const n = index ? index + 1 : "";
          layout[rawmsa.axis("x", index)] = { domain: xs[index], anchor: `y${n}`, title: { text: "label" }, range: [low - 0.2, high + 0.2] };
          layout[rawmsa.axis("y", index)] = { domain: ys[index], anchor: `x${n}`, title: { text: branch } };
          return [
            { x: data.range, y: data.range, mode: "lines", line: { color: colour("faint"), width: 1 }, hoverinfo: "skip", xaxis: `x${n}`, yaxis: `y${n}` },
            {
              x: places.map((place) => data.labels[place]), y: places.map((place) => model[branch][place]), customdata: places, mode: "markers", xaxis: `x${n}`, yaxis: `y${n}`,
              text: places.map((place) => rawmsa.plain(data.ids[place])), hovertemplate: "%{text}<br>label %{x:+.2f}, predicted %{y:+.2f}<extra></extra>",
              marker: { size: 7, opacity: 0.6, color: colour(branch === "prediction" ? "fusion" : branch) },
            },
          ];
        });
        return [traces, layout];
      });
      div.on("plotly_click", (event) => { if (event.points[0].customdata !== undefined) open(data, event.points[0].customdata); });
    },

    labels: (div, data) => {
      chart(div, () => {
        const splits = ["train", "valid", "test"].filter((split) => data.splits.includes(split));
        const paints = { train: "text", valid: "audio", test: "vision" };
        const [low, high] = data.range, step = (high - low) / 10;
        const traces = splits.map((split) => ({
          type: "histogram", name: split, x: data.labels.filter((label, place) => label !== null && data.splits[place] === split).map((label) => Math.max(low, Math.min(high, label))),
          xbins: { start: low - step / 2, end: high + step / 2, size: step }, marker: { color: colour(paints[split]) },
        }));
        return [traces, { height: 280, barmode: "group", bargap: 0.1, xaxis: { title: { text: "label" } }, yaxis: { title: { text: "clips" } } }];
      });
    },
  };

  const runs = datasets.flatMap((data) => data.runs.map((run) => ({ ...run, name: `${data.title}: ${run.title}` })));

  const list = () => {
    const table = element("table", {},
      element("thead", {}, element("tr", {}, ...["Run", "Best of its seeds", "Validation MAE", "Validation Corr", "Epoch kept", "Epochs"].map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...runs.map((run) => element("tr", {}, ...[
        run.name, run.best ? "yes" : "", run.valid.mae === null ? "–" : run.valid.mae.toFixed(3), run.valid.corr === null ? "–" : run.valid.corr.toFixed(3),
        String(run.best_epoch), String((run.curves.epoch || []).length),
      ].map((cell) => element("td", {}, cell))))));
    document.getElementById("run-list").append(element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Runs" }, table));
    rawmsa.sortable(table);
  };

  const difference = () => {
    const [a, b] = ["run-a", "run-b"].map((id) => runs[document.getElementById(id).value]);
    const names = [...new Set([...Object.keys(a.parameters), ...Object.keys(b.parameters)])].filter((name) => a.parameters[name] !== b.parameters[name]).sort();
    const rows = names.map((name) => element("tr", {}, ...[name, a.parameters[name] ?? "–", b.parameters[name] ?? "–"].map((cell) => element("td", {}, cell))));
    const number = (value) => (value === null ? "–" : value.toFixed(3));
    for (const [name, value] of [["validation MAE", (run) => number(run.valid.mae)], ["validation Corr", (run) => number(run.valid.corr)], ["epoch kept", (run) => String(run.best_epoch)]]) {
      rows.push(element("tr", {}, ...[name, value(a), value(b)].map((cell) => element("td", {}, cell))));
    }
    const table = element("table", {}, element("thead", {}, element("tr", {}, element("td"), ...[a.name, b.name].map((name) => element("th", { scope: "col" }, name)))), element("tbody", {}, ...rows));
    rawmsa.fill(document.getElementById("run-difference"),
      element("p", { class: "note" }, names.length ? `Parameters that differ: ${names.length}; and how well each run does.` : "No parameter differs."),
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "What differs" }, table));
    const div = document.getElementById("run-curves");
    chart(div, () => [
      [a, b].map((run, index) => line(run.curves.epoch || [], run.curves.valid_mae || [], `${"AB"[index]}: ${rawmsa.plain(run.name)}`, colour(["text", "audio"][index]))),
      { height: 280, xaxis: { title: { text: "epoch" } }, yaxis: { title: { text: "validation MAE" } } },
    ]);
  };

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    if (table.tBodies[0].rows.length > 1) rawmsa.sortable(table);
    for (const heading of table.tHead.rows[0].cells) {
      if (heading.dataset.meaning) rawmsa.hint(heading.querySelector("button") || heading, heading.dataset.meaning);
    }
  }
  if (runs.length) {
    document.getElementById("runs").hidden = false;
    list();
    for (const [id, chosen] of [["run-a", 0], ["run-b", Math.min(1, runs.length - 1)]]) {
      const select = document.getElementById(id);
      rawmsa.options(select, runs.map((run, index) => [String(index), run.name]), String(chosen));
      select.addEventListener("change", difference);
    }
  }

  // Charts need the width that only a visible place has.
  return (view) => {
    for (const div of view.querySelectorAll(".chart[data-kind]")) {
      const data = datasets.find((found) => found.name === div.dataset.dataset);
      if (!div.data) kinds[div.dataset.kind](div, data, div.dataset.network);
    }
    if (view.id === "results" && runs.length && !document.getElementById("run-curves").data) difference();
  };
};

// How many values lie in each bin of the data set's u-labels, as a line; those beyond the range in the outermost.
rawmsa.stairs = (values, data) => {
  const edges = data.edges, counts = Array(edges.length - 1).fill(0), width = edges[1] - edges[0];
  for (const value of values) {
    if (value === null) continue;
    const held = Math.max(data.range[0], Math.min(data.range[1], value));
    counts[Math.min(counts.length - 1, Math.max(0, Math.floor((held - edges[0]) / width)))]++;
  }
  return { x: counts.map((_, index) => (edges[index] + edges[index + 1]) / 2), y: counts, mode: "lines" };
};
