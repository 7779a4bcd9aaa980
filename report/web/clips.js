"use strict";
// Clips: search, filters and a list that sorts; and the page of one clip.

rawmsa.PAGE = 100; // rows shown at once
rawmsa.address = (data, place) => `#clip/${encodeURIComponent(data.name)}/${encodeURIComponent(data.ids[place])}`;

rawmsa.clips = (datasets) => {
  const { element, signed } = rawmsa;
  const form = document.getElementById("clip-filters");
  const usable = datasets.filter((data) => data.ids.length);
  const field = (name) => form.elements[name];
  let found = [], shown = rawmsa.PAGE, order = { column: null, sign: 1 };

  const parts = (data, place) => { // the largest distance of a last u-label from the m-label
    const distances = data.ulabels.flatMap((made) => {
      made.where ??= new Map(made.clips.map((clip, index) => [clip, index]));
      const index = made.where.get(place);
      return index === undefined ? [] : rawmsa.MODALITIES.filter((name) => made[name]).map((name) => made[name].at(-1)[index]).filter((u) => u !== null).map((u) => Math.abs(u - data.labels[place]));
    });
    return distances.length ? Math.max(...distances) : null;
  };

  const COLUMNS = [
    ["Clip", (data, place) => data.ids[place], (value) => value],
    ["Split", (data, place) => data.splits[place], (value) => value ?? "–"],
    ["Label", (data, place) => data.labels[place], signed],
    ["Prediction", (data, place, model) => model && model.prediction[place], signed],
    ["Error", (data, place, model) => rawmsa.error(data, place, model), (value) => (value === null ? "–" : value.toFixed(2))],
    ["Largest |u − m|", (data, place) => parts(data, place), (value) => (value === null ? "–" : value.toFixed(2))],
    ["Seconds", (data, place) => data.seconds[place], (value) => (value === null ? "–" : value.toFixed(1))],
    ["Flags", (data, place) => data.flags[place].join(", "), (value) => value],
    ["Words", (data, place) => (data.texts ? data.texts[place] : ""), (value) => (value.length > 140 ? `${value.slice(0, 140)}…` : value)],
  ];

  const kind = (flag) => flag.replace(/\d[\d,.]*(?= |$|;)/g, "…"); // a flag without its numbers, to choose by
  const chosen = () => usable[field("dataset").value];
  const model = () => chosen().models[field("model").value] || null;
  const either = (values) => [["", "any"], ...[...new Set(values)].sort((a, b) => String(a).localeCompare(String(b), undefined, { numeric: true })).map((value) => [value, value])];

  const fields = () => { // what the data set has to choose from
    const data = chosen();
    rawmsa.options(field("model"), data.models.length ? data.models.map((each, index) => [String(index), each.title]) : [["", "nobody"]], data.models.length ? "0" : "");
    rawmsa.options(field("split"), [...either(data.splits.filter(Boolean)), ...(data.splits.includes(null) ? [["none", "none"]] : [])], "");
    rawmsa.options(field("speaker"), either(data.speakers), "");
    rawmsa.options(field("flag"), [["", "any"], ["*", "some flag"], ...either(data.flags.flat().map(kind)).slice(1)], "");
  };

  const matches = (data, place, using) => {
    const text = field("text").value.trim().toLowerCase();
    const least = parseFloat(field("error").value);
    const flag = field("flag").value, split = field("split").value, speaker = field("speaker").value;
    return (!text || data.ids[place].toLowerCase().includes(text) || (data.texts && data.texts[place].toLowerCase().includes(text)))
      && (!split || (data.splits[place] ?? "none") === split)
      && (!speaker || data.speakers[place] === speaker)
      && (!flag || (flag === "*" ? data.flags[place].length > 0 : data.flags[place].some((each) => kind(each) === flag)))
      && !(least > 0 && !(rawmsa.error(data, place, using) >= least));
  };

  const filter = () => {
    const data = chosen(), using = model();
    found = data.ids.map((_, place) => place).filter((place) => matches(data, place, using));
    shown = rawmsa.PAGE;
    sort();
  };

  const sort = () => {
    if (order.column !== null) {
      const data = chosen(), using = model(), value = COLUMNS[order.column][1];
      const keys = new Map(found.map((place) => [place, value(data, place, using)]));
      const missing = (key) => key === null || key === undefined || key === "";
      found.sort((a, b) => {
        const [x, y] = [keys.get(a), keys.get(b)];
        if (missing(x) || missing(y)) return missing(x) - missing(y) || a - b; // what is not known comes last
        return order.sign * (typeof x === "number" ? x - y : x.localeCompare(y, undefined, { numeric: true })) || a - b;
      });
    }
    list();
  };

  const list = () => {
    const data = chosen(), using = model();
    const head = element("tr", {}, ...COLUMNS.map(([name], column) => {
      const way = order.column === column ? (order.sign > 0 ? "ascending" : "descending") : null;
      const turn = () => { order = { column, sign: order.column === column ? -order.sign : 1 }; sort(); document.querySelectorAll("#clip-list th button")[column].focus(); };
      return element("th", { scope: "col", "aria-sort": way }, element("button", { type: "button", onclick: turn }, name));
    }));
    const rows = found.slice(0, shown).map((place) => element("tr", {}, ...COLUMNS.map(([, value, told], column) => {
      const cell = told(value(data, place, using) ?? null);
      return element("td", {}, column ? cell : element("a", { href: rawmsa.address(data, place) }, cell));
    })));
    rawmsa.fill(document.getElementById("clip-list"), element("thead", {}, head), element("tbody", {}, ...rows));
    document.getElementById("clip-count").textContent = `${found.length.toLocaleString("en")} of ${data.ids.length.toLocaleString("en")} clips`;
    document.getElementById("clip-more").hidden = found.length <= shown;
  };

  if (usable.length) {
    rawmsa.options(field("dataset"), usable.map((data, index) => [String(index), data.title]), "0");
    fields();
    form.addEventListener("input", (event) => { if (event.target === field("dataset")) { order = { column: null, sign: 1 }; fields(); } filter(); });
    form.addEventListener("reset", () => setTimeout(() => { fields(); filter(); }));
    form.addEventListener("submit", (event) => event.preventDefault());
    document.getElementById("clip-more").addEventListener("click", () => { shown += rawmsa.PAGE; list(); });
  } else document.getElementById("clip-count").textContent = "There is no clip.";

  return { show: () => { if (usable.length && !found.length) filter(); }, page: rawmsa.clipPage(datasets, () => (usable.length ? { data: chosen(), found } : null)) };
};

rawmsa.error = (data, place, model) => {
  if (!model || model.prediction[place] === null || data.labels[place] === null) return null;
  return Math.abs(model.prediction[place] - data.labels[place]);
};

// One clip. listed: what the list shows now, in whose order Previous and Next go.
rawmsa.clipPage = (datasets, listed) => {
  const { element, signed } = rawmsa;
  let end = () => {};

  const load = (data, place) => new Promise((done) => { // a page opened from disk may load a script, but no JSON
    const script = element("script", { src: `media/${encodeURIComponent(data.name)}/${place}.js` });
    let told = null;
    rawmsa.clip = (content) => { if (document.currentScript === script) told = content; }; // not one that was asked for before
    script.onload = script.onerror = () => { script.remove(); done(told); };
    document.head.append(script);
  });

  const numbers = (data, place) => {
    const heads = ["fusion", ...rawmsa.MODALITIES];
    const row = (name, values) => element("tr", {}, element("th", { scope: "row" }, name), ...values.map((value) => element("td", {}, signed(value))));
    const rows = [row("label", [data.labels[place], ...rawmsa.MODALITIES.map((name) => (data.human[name] ? data.human[name][place] : null))])];
    for (const model of data.models) rows.push(row(model.title, ["prediction", ...rawmsa.MODALITIES].map((branch) => model[branch][place])));
    for (const made of data.ulabels) {
      const index = made.clips.indexOf(place);
      if (index >= 0) rows.push(row(`u-labels of epoch ${made.epochs.at(-1)}, ${made.title}`, [null, ...rawmsa.MODALITIES.map((name) => (made[name] ? made[name].at(-1)[index] : null))]));
    }
    return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Label and predictions" },
      element("table", { class: "numbers" }, element("thead", {}, element("tr", {}, element("td"), ...heads.map((name) => element("th", { scope: "col" }, name)))), element("tbody", {}, ...rows)));
  };

  const course = (panel, data, place) => { // u-labels over the epochs
    for (const made of data.ulabels) {
      const index = made.clips.indexOf(place);
      if (index < 0) continue;
      const div = element("div", { class: "chart", role: "group", "aria-label": "The clip's u-labels by epoch" });
      panel.append(element("figure", {}, div, element("figcaption", {}, `Its u-labels by epoch, ${made.title}; dashed: the m-label; dotted: human unimodal labels, where there are any.`)));
      rawmsa.chart(div, () => {
        const ends = [made.epochs[0], made.epochs.at(-1)];
        const traces = rawmsa.MODALITIES.filter((name) => made[name]).map((name) => ({ x: made.epochs, y: made[name].map((epoch) => epoch[index]), name, mode: "lines+markers", line: { color: rawmsa.colour(name) } }));
        traces.push({ x: ends, y: [data.labels[place], data.labels[place]], name: "m-label", mode: "lines", line: { color: rawmsa.colour("ink"), dash: "dash" } });
        for (const [name, values] of Object.entries(data.human)) if (values[place] !== null) traces.push({ x: ends, y: [values[place], values[place]], name: `human, ${name}`, mode: "lines", line: { color: rawmsa.colour(name), dash: "dot" } });
        return [traces, { height: 260, xaxis: { title: { text: "epoch" } }, yaxis: { title: { text: "u-label" } } }];
      });
      return () => rawmsa.forget(div);
    }
    return () => {};
  };

  return {
    async show(dataset, id) {
      end();
      const data = datasets.find((each) => each.name === dataset), place = data ? data.ids.indexOf(id) : -1;
      const root = document.getElementById("clip-content"), title = document.getElementById("clip-title");
      if (place < 0) { title.textContent = "There is no such clip."; rawmsa.fill(root); return; }
      title.textContent = data.ids[place];
      const now = listed(), order = now && now.data === data && now.found.includes(place) ? now.found : data.ids.map((_, index) => index);
      for (const [name, step] of [["clip-before", -1], ["clip-after", 1]]) {
        const other = order[order.indexOf(place) + step], link = document.getElementById(name);
        if (other === undefined) link.removeAttribute("href"); else link.href = rawmsa.address(data, other);
      }
      const facts = [data.title, data.splits[place], data.seconds[place] === null ? null : `${data.seconds[place].toFixed(2)} s`, ...data.flags[place], data.scale].filter(Boolean).join(" · ");
      const playing = element("div", { class: "panel" }), told = element("div", { class: "panel" }, element("p", { class: "note" }, facts), numbers(data, place));
      rawmsa.fill(root, playing, told);
      const forget = course(told, data, place);
      let stop = () => {}, left = false;
      end = () => { left = true; stop(); forget(); end = () => {}; };
      if (!data.media) {
        playing.append(element("p", { class: "note" }, "Film, words and tracks are left out: the data set's dataset.yaml does not say redistribute: true."));
        return;
      }
      const content = await load(data, place);
      if (left) return;
      if (content === null) {
        playing.append(element("p", { class: "note" }, "Film, words and tracks are not here: they lie in the folder media, which belongs beside this page."));
        return;
      }
      stop = rawmsa.player(playing, content, content.film ? `media/${encodeURIComponent(data.name)}/${place}.mp4` : null, data.texts ? data.texts[place] : "");
    },
    leave: () => end(),
  };
};
