"use strict";
// A clip that plays: film with the landmarks drawn over it, words, tracks and presence; everything follows the playhead.
// told: what report/player.py makes; film: its address, or null. Returns what ends it.

rawmsa.LINES = [ // of the 68 points: first, last, closed
  [0, 16, false], [17, 21, false], [22, 26, false], [27, 30, false], [31, 35, false], [36, 41, true], [42, 47, true],
  [48, 59, true], [60, 67, true],
];
rawmsa.ROW = 78; // pixels of a track

rawmsa.player = (root, told, film, text) => {
  const { element } = rawmsa;
  const left = element("div"), right = element("div");
  root.append(element("div", { class: "player" }, left, right));
  let screen = null, canvas = null, shown = null;
  if (film) {
    const kind = told.film === "audio" ? "audio" : "video";
    screen = element(kind, { controls: true, preload: "auto", playsinline: true, "aria-label": "The clip" });
    screen.src = film;
    if (kind === "video") {
      canvas = element("canvas", { "aria-hidden": "true" });
      left.append(element("div", { class: "screen" }, screen, canvas));
      if (told.timed && told.words.length) screen.append(rawmsa.captions(told.words));
    } else left.append(screen);
    if (canvas && told.vision && told.vision.landmarks) {
      shown = element("input", { type: "checkbox", checked: true, onchange: () => follow() });
      left.append(element("label", { class: "check" }, shown, "Landmarks"));
    }
  } else left.append(element("p", { class: "note" }, "There is no film of this clip."));

  const seek = (time) => { if (screen) screen.currentTime = Math.max(0, Math.min(time, told.seconds || time)); };
  const words = rawmsa.words(told, text, seek);
  left.append(words.element);
  const tracks = element("div", { class: "chart", role: "group", "aria-label": "Tracks of voice and face over the clip's time, and where either is present" });
  right.append(tracks);
  const rows = rawmsa.rows(told);
  if (rows.length) {
    rawmsa.chart(tracks, () => rawmsa.tracks(rows, told, screen ? screen.currentTime : 0));
    tracks.on("plotly_click", (event) => seek(event.points[0].x));
  } else rawmsa.fill(right, element("p", { class: "note" }, "Neither voice nor face has a track."));

  let ended = false;
  const follow = () => {
    if (ended) return;
    const time = screen ? screen.currentTime : 0;
    words.at(time);
    if (rows.length) Plotly.relayout(tracks, { "shapes[0].x0": time, "shapes[0].x1": time });
    if (canvas) rawmsa.drawFace(canvas, screen, shown && shown.checked ? told.vision.landmarks : null, time);
  };
  const run = () => { follow(); if (screen && !screen.paused && !ended) requestAnimationFrame(run); };
  if (screen) {
    for (const event of ["play", "seeked", "timeupdate", "loadeddata"]) screen.addEventListener(event, event === "play" ? run : follow);
    addEventListener("resize", follow);
  }
  follow();
  return () => {
    ended = true;
    removeEventListener("resize", follow);
    if (screen) { screen.pause(); screen.removeAttribute("src"); screen.load(); }
    rawmsa.forget(tracks);
  };
};

// The words as captions of the film, for those who do not hear it; off until they are switched on.
rawmsa.captions = (words) => {
  const stamp = (time) => new Date(Math.max(0, time) * 1000).toISOString().slice(11, 23);
  const lines = [];
  for (let first = 0; first < words.length; first += 7) {
    const some = words.slice(first, first + 7);
    const said = some.map(([word]) => word.replace(/[&<>]/g, " ")).join(" ");
    lines.push(`${stamp(some[0][1])} --> ${stamp(Math.max(some.at(-1)[2], some[0][1] + 0.1))}\n${said}\n`);
  }
  const track = rawmsa.element("track", { kind: "captions", label: "Words" });
  track.src = `data:text/vtt;charset=utf-8,${encodeURIComponent(`WEBVTT\n\n${lines.join("\n")}`)}`;
  return track;
};

// Buttons that seek where the words' times are known; the arrow keys go from one to the next.
rawmsa.words = (told, text, seek) => {
  if (!told.words.length || !told.timed) {
    const plain = told.words.length ? told.words.map(([word]) => word).join(" ") : text;
    const note = told.words.length ? rawmsa.element("p", { class: "note" }, "When each word is said is not known; with transcribe.word_times in params.yaml it is.") : null;
    return { element: rawmsa.element("div", { class: "said" }, plain || "No words.", note), at() {} };
  }
  const buttons = told.words.map(([word, start], index) =>
    rawmsa.element("button", { type: "button", tabindex: index ? -1 : 0, onclick: () => seek(start) }, word));
  const box = rawmsa.element("div", { class: "said", role: "group", "aria-label": "Words; each goes to its moment" });
  for (const button of buttons) box.append(button, " ");
  box.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const next = step && buttons[buttons.indexOf(document.activeElement) + step];
    if (!next) return;
    event.preventDefault();
    for (const button of buttons) button.tabIndex = button === next ? 0 : -1;
    next.focus();
  });
  let current = null;
  const at = (time) => {
    const found = buttons[told.words.findIndex(([, start, end]) => start <= time && time < end)] || null;
    if (found === current) return;
    if (current) current.removeAttribute("aria-current");
    current = found;
    if (!found) return;
    found.setAttribute("aria-current", "true");
    const above = found.offsetTop - box.offsetTop;
    if (above < box.scrollTop || above > box.scrollTop + box.clientHeight - 30) box.scrollTop = above - 30;
  };
  return { element: box, at };
};

// Each track as a row of the chart: {name, unit, times, values, colour}. fusion: what is predicted, where it is told over time.
rawmsa.rows = (told) =>
  ["fusion", "audio", "vision"].filter((name) => told[name]).flatMap((name) =>
    told[name].tracks.map((track) => ({ ...track, times: told[name].times, colour: name })));

rawmsa.tracks = (rows, told, time) => {
  const present = ["vision", "audio"].filter((name) => told[name]);
  const heights = [...rows.map(() => 1), present.length ? 0.35 + 0.3 * present.length : 0];
  const total = heights.reduce((sum, height) => sum + height, 0) * rawmsa.ROW + 60;
  const layout = {
    height: total, showlegend: false, margin: { l: 44, r: 8, t: 8, b: 36 }, annotations: [],
    xaxis: { range: [0, told.seconds], title: { text: "seconds" }, anchor: "free", position: 0 },
    shapes: [{ type: "line", xref: "x", yref: "paper", x0: time, x1: time, y0: 0, y1: 1, line: { color: rawmsa.colour("fusion"), width: 2 } }],
  };
  const unit = 1 / heights.reduce((sum, height) => sum + height, 0);
  let top = 1;
  const traces = rows.map((row, index) => {
    const bottom = top - unit * heights[index];
    layout[rawmsa.axis("y", index)] = { domain: [bottom + 0.02, top - 0.3 * unit], nticks: 3, zeroline: false };
    layout.annotations.push({ text: `<b>${row.name}</b> (${row.unit})`, xref: "paper", yref: "paper", x: 0, y: top, showarrow: false, xanchor: "left", yanchor: "top", font: { size: 11 } });
    top = bottom;
    return { x: row.times, y: row.values, yaxis: `y${index ? index + 1 : ""}`, mode: row.times.length > 1 ? "lines" : "markers", connectgaps: false, name: row.name, line: { color: rawmsa.colour(row.colour), width: 1.4 } };
  });
  if (present.length) {
    const names = { vision: "face", audio: "voice" };
    layout[rawmsa.axis("y", rows.length)] = { domain: [0.02, top - 0.1 * unit], type: "category", categoryarray: present.map((name) => names[name]), range: [-0.6, present.length - 0.4] };
    for (const name of present) {
      const spans = told[name].present;
      traces.push({ type: "bar", orientation: "h", y: spans.map(() => names[name]), base: spans.map(([start]) => start), x: spans.map(([start, end]) => end - start), yaxis: `y${rows.length ? rows.length + 1 : ""}`, marker: { color: rawmsa.colour(name) }, hoverinfo: "skip" });
    }
    layout.barmode = "overlay";
  }
  return [traces, layout];
};

rawmsa.drawFace = (canvas, screen, landmarks, time) => {
  const ratio = devicePixelRatio || 1, width = screen.clientWidth, height = screen.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  if (!landmarks) return;
  let nearest = 0;
  while (nearest + 1 < landmarks.times.length && Math.abs(landmarks.times[nearest + 1] - time) <= Math.abs(landmarks.times[nearest] - time)) nearest++;
  const points = landmarks.points[nearest];
  if (!points) return;
  const at = (index) => [(points[2 * index] / 1000) * canvas.width, (points[2 * index + 1] / 1000) * canvas.height];
  pen.strokeStyle = pen.fillStyle = "#7fe3b0";
  pen.lineWidth = 1.2 * ratio;
  for (const [first, last, closed] of rawmsa.LINES) {
    pen.beginPath();
    pen.moveTo(...at(first));
    for (let index = first + 1; index <= last; index++) pen.lineTo(...at(index));
    if (closed) pen.closePath();
    pen.stroke();
  }
  for (let index = 0; index < points.length / 2; index++) {
    const [x, y] = at(index);
    pen.fillRect(x - ratio, y - ratio, 2 * ratio, 2 * ratio);
  }
};
