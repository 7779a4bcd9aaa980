"use strict";
// U-labels: how they spread by epoch (the paper's Figure 4), and each against its m-label (Figure 5).

rawmsa.ulabels = (datasets) => {
  const made = datasets.flatMap((data) => data.ulabels.map((each) => ({ ...each, data })));
  const node = (id) => document.getElementById(id);
  const slider = node("ulabel-slider"), play = node("ulabel-play"), distribution = node("ulabel-distribution"), map = node("ulabel-map");
  let timer = null;
  const run = () => made[node("ulabel-run").value];
  const modalities = () => rawmsa.MODALITIES.filter((name) => run()[name]);
  const mlabels = () => run().clips.map((place) => run().data.labels[place]);
  const human = (name) => { const all = run().data.human[name]; return all ? run().clips.map((place) => all[place]) : null; };

  const draw = () => {
    const { data, epochs, clips } = run(), at = Number(slider.value), names = modalities();
    node("ulabel-epoch").textContent = epochs[at];
    slider.setAttribute("aria-valuetext", `epoch ${epochs[at]}`);
    node("ulabel-human").hidden = !names.some(human);
    const shared = mlabels(), base = rawmsa.stairs(shared, data);
    rawmsa.chart(distribution, () => {
      const [xs, ys, height] = rawmsa.panels(distribution, names.length, 260), layout = { height, showlegend: false, bargap: 0.05 };
      const traces = names.flatMap((name, index) => {
        const n = index ? index + 1 : "", axes = { xaxis: `x${n}`, yaxis: `y${n}` };
        const highest = Math.max(...base.y, ...run()[name].flatMap((values) => rawmsa.stairs(values, data).y)); // the same in every epoch
        layout[rawmsa.axis("x", index)] = { domain: xs[index], anchor: `y${n}`, title: { text: `u-label, ${name}` } };
        layout[rawmsa.axis("y", index)] = { domain: ys[index], anchor: `x${n}`, title: { text: index ? "" : "clips" }, range: [0, 1.05 * highest] };
        const step = { shape: "hvh", width: 1.5 };
        const true_ = human(name);
        return [
          { ...rawmsa.stairs(run()[name][at], data), type: "bar", mode: undefined, name: "u-label", marker: { color: rawmsa.colour(name) }, ...axes },
          { ...base, name: "m-label", line: { ...step, color: rawmsa.colour("ink") }, ...axes },
          ...(true_ ? [{ ...rawmsa.stairs(true_, data), name: "human", line: { ...step, color: rawmsa.colour("fusion"), dash: "dot" }, ...axes }] : []),
        ];
      });
      return [traces, layout];
    });
    rawmsa.chart(map, () => {
      const [xs, ys, height] = rawmsa.panels(map, names.length, 300), layout = { height, showlegend: false }, [low, high] = data.range;
      const traces = names.flatMap((name, index) => {
        const n = index ? index + 1 : "", axes = { xaxis: `x${n}`, yaxis: `y${n}` };
        layout[rawmsa.axis("x", index)] = { domain: xs[index], anchor: `y${n}`, title: { text: "m-label" }, range: [low - 0.2, high + 0.2] };
        layout[rawmsa.axis("y", index)] = { domain: ys[index], anchor: `x${n}`, title: { text: `u-label, ${name}` } };
        const kind = clips.length > rawmsa.MAX_MARKS ? "scattergl" : "scatter";
        const points = (values, marker, told) => ({
          type: kind, x: shared, y: values, customdata: clips, mode: "markers", marker, ...axes,
          text: clips.map((place) => rawmsa.plain(data.ids[place])), hovertemplate: `%{text}<br>m-label %{x:+.2f}, ${told} %{y:+.2f}<extra></extra>`,
        });
        const true_ = human(name);
        return [
          { x: data.range, y: data.range, mode: "lines", line: { color: rawmsa.colour("faint"), width: 1 }, hoverinfo: "skip", ...axes },
          ...(true_ ? [points(true_, { size: 6, symbol: "circle-open", color: rawmsa.colour("fusion"), opacity: 0.6 }, "human label")] : []),
          points(run()[name][at], { size: 7, opacity: 0.6, color: rawmsa.colour(name) }, "u-label"),
        ];
      });
      return [traces, layout];
    });
    if (!map.listening) {
      map.listening = true;
      map.on("plotly_click", (event) => {
        const place = event.points[0].customdata;
        if (place !== undefined) location.hash = rawmsa.address(run().data, place);
      });
    }
    node("ulabel-words").textContent = `Epoch ${epochs[at]}, mean distance of u-label and m-label: ${names.map((name) => {
      const far = run()[name][at].map((u, index) => (u === null ? null : Math.abs(u - shared[index]))).filter((value) => value !== null);
      return `${name} ${(far.reduce((sum, value) => sum + value, 0) / Math.max(1, far.length)).toFixed(2)}`;
    }).join(", ")}.`;
  };

  const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
  const choose = () => { stop(); slider.max = run().epochs.length - 1; slider.value = slider.max; draw(); };

  if (made.length) {
    node("ulabel-explorer").hidden = false;
    rawmsa.options(node("ulabel-run"), made.map((each, index) => [String(index), `${each.data.title}: ${each.title}`]), "0");
    node("ulabel-run").addEventListener("change", choose);
    slider.addEventListener("input", () => { stop(); draw(); });
    play.addEventListener("click", () => {
      if (timer) return stop();
      if (slider.value === slider.max) slider.value = 0;
      play.textContent = "Stop";
      draw();
      timer = setInterval(() => {
        if (slider.value === slider.max) return stop();
        slider.value = Number(slider.value) + 1;
        return draw();
      }, 700);
      return undefined;
    });
  }
  return { show: () => { if (made.length && !map.data) choose(); }, leave: stop };
};
