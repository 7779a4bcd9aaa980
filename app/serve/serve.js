"use strict";
// A clip is sent, its steps are watched, its sentiment is shown. It lives on the server as long as its events are listened to.

(() => {
  const { element, fill, signed } = rawmsa;
  const node = (id) => document.getElementById(id);
  const STEPS = { probe: "reading the file", transcribe: "hearing the words", audio: "following the voice", vision: "following the face", film: "making a small copy to play", network: "predicting" };
  let facts = null, events = null, id = null, name = "", sending = null, recorder = null, end = () => {};

  const show = (...parts) => { for (const part of ["progress", "failure", "result"]) node(part).hidden = !parts.includes(part); };
  const fail = (reason) => { leave(); show("failure"); node("reason").textContent = reason; };

  const leave = () => { // the clip before, if any, is nobody's any more
    if (sending) sending.abort();
    if (events) events.close();
    if (id) fetch(`clips/${id}`, { method: "DELETE", keepalive: true }).catch(() => {});
    sending = events = id = null;
    end();
    end = () => {};
  };

  const send = (file) => { // by XMLHttpRequest, since fetch does not tell how much was sent
    leave();
    name = file.name;
    show("progress");
    node("progress-title").textContent = name;
    node("waiting").textContent = "Sending";
    node("sent").hidden = false;
    node("sent").value = 0;
    fill(node("steps"), ...facts.steps.map((step) => element("li", { "data-step": step }, STEPS[step] || step)));
    if (file.size > facts.max_upload_mib * 2 ** 20) return fail(`${name} has ${(file.size / 2 ** 20).toFixed(1)} MiB, more than the ${facts.max_upload_mib} that this page takes (serve.max_upload_mib of params.yaml). Cut it, or raise the limit.`);
    const request = sending = new XMLHttpRequest();
    request.open("POST", `clips?name=${encodeURIComponent(name)}`);
    request.responseType = "json";
    request.upload.onprogress = (event) => { node("sent").value = event.total ? event.loaded / event.total : 0; };
    request.onload = () => {
      sending = null;
      if (request.status !== 201) return fail(request.response ? request.response.error : "The server did not take it.");
      id = request.response.id;
      return listen();
    };
    request.onerror = () => { sending = null; fail("The server cannot be reached. Is rawmsa serve still running?"); };
    request.send(file);
    return undefined;
  };

  const listen = () => {
    events = new EventSource(`clips/${id}/events`);
    events.onmessage = ({ data }) => told(JSON.parse(data));
    events.onerror = () => { if (events && events.readyState === EventSource.CLOSED) fail("The server has ended, or let go of the clip. Send it again."); };
  };

  const told = ({ state, ahead, step, error, result }) => {
    node("sent").hidden = true;
    if (state === "failed") return fail(error);
    if (state === "done") return present(result);
    node("waiting").textContent = state === "queued" ? (ahead ? `${ahead} ${ahead === 1 ? "clip comes" : "clips come"} before yours.` : "It is your turn.") : `${STEPS[step] || "Beginning"} …`;
    const at = facts.steps.indexOf(step);
    for (const [index, item] of [...node("steps").children].entries()) {
      item.classList.toggle("done", index < at);
      if (index === at) item.setAttribute("aria-current", "step"); else item.removeAttribute("aria-current");
    }
    return undefined;
  };

  const leaning = (record, leans) => {
    const row = (modality) => {
      const head = facts.heads[modality], value = record[modality];
      const corr = !head || head.corr === null ? "unknown" : head.corr.toFixed(2);
      const told = value === null ? "absent from the clip" : modality in leans ? `${signed(value)}, ${leans[modality]}` : `not told: its correlation is ${corr === "unknown" ? "unknown" : `below ${facts.min_corr}`}`;
      return element("tr", {}, element("th", { scope: "row" }, modality), element("td", {}, told), element("td", {}, corr));
    };
    fill(node("leans"), element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Modalities" }, element("table", {},
      element("thead", {}, element("tr", {}, ...["Modality", "Leans", "Its correlation with the label on the validation split"].map((each) => element("th", { scope: "col" }, each)))),
      element("tbody", {}, ...rawmsa.MODALITIES.map(row)))));
  };

  const present = ({ record, leans, notes, files, player }) => {
    const { windows } = record;
    show("result");
    node("result-title").textContent = record.clip;
    const [low, high] = facts.label_range, value = Math.max(low, Math.min(high, record.prediction));
    node("sentiment").textContent = record.prediction === null ? "" : signed(record.prediction);
    node("verdict").textContent = record.polarity || record.error;
    for (const [key, each] of Object.entries({ label: "Sentiment", valuemin: low, valuemax: high, valuenow: value })) node("scale").setAttribute(`aria-${key}`, each);
    node("scale").firstElementChild.style.left = `${(100 * (value - low)) / (high - low)}%`;
    node("low").textContent = `${signed(low)} negative`;
    node("high").textContent = `${signed(high)} positive`;
    leaning(record, leans);
    const odd = [...record.flags, ...notes].join("; ");
    node("odd").hidden = !odd;
    node("odd").textContent = odd;
    fill(node("downloads"), ...files.map((each) => element("a", { class: "button", href: `clips/${id}/${each}.parquet`, download: "" }, `${each}.parquet`)));
    if (windows.length) {
      player.fusion = {
        times: windows.map(({ start, end: last }) => (start + last) / 2),
        tracks: [{ name: "sentiment", unit: `windows of ${facts.window_seconds} s, at their middles`, values: windows.map(({ prediction }) => prediction) }],
      };
    }
    fill(node("playing"));
    end = rawmsa.player(node("playing"), player, player.film ? `clips/${id}/film.mp4` : null, record.transcript);
    node("view").focus();
  };

  // Camera -------------------------------------------------------------------------------------------------------------

  const record = async () => {
    let stream = null;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640 }, audio: true });
    } catch (error) {
      return fail(`The camera cannot be used (${error.message}). Allow it for this page, or choose a file.`);
    }
    const parts = [];
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.onstop = () => {
      for (const track of stream.getTracks()) track.stop();
      node("preview").srcObject = null;
      node("camera").hidden = true;
      node("drop").hidden = false;
      const kind = recorder.mimeType.includes("mp4") ? "mp4" : "webm";
      if (!recorder.discarded) send(new File(parts, `recording.${kind}`));
    };
    node("preview").srcObject = stream;
    node("preview").play();
    node("camera").hidden = false;
    node("drop").hidden = true;
    recorder.start();
    node("stop").focus();
    return undefined;
  };

  const begin = async () => {
    facts = await (await fetch("facts")).json();
    node("about").textContent = `Run ${facts.run}${facts.synthetic ? ": trained on the synthetic demo, so it says nothing about people" : ""}. Everything stays on this computer.`;
    node("limits").textContent = `At most ${facts.max_upload_mib} MiB and ${facts.max_seconds} s.`;
    node("file").addEventListener("change", () => { if (node("file").files[0]) send(node("file").files[0]); node("file").value = ""; });
    node("record").addEventListener("click", record);
    node("stop").addEventListener("click", () => recorder.stop());
    node("discard").addEventListener("click", () => { recorder.discarded = true; recorder.stop(); });
    node("cancel").addEventListener("click", () => { leave(); show(); });
    for (const [event, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
      addEventListener(event, (happened) => {
        happened.preventDefault();
        node("drop").classList.toggle("over", over);
        if (event === "drop" && happened.dataTransfer.files[0]) send(happened.dataTransfer.files[0]);
      });
    }
    addEventListener("pagehide", leave);
    document.body.dataset.ready = "";
  };
  begin();
})();
