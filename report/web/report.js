"use strict";
// The views of the report: the address says which is open, so that Back works and a view can be sent as a link.

(() => {
  const { datasets } = JSON.parse(document.getElementById("found").textContent);
  const views = [...document.querySelectorAll(".view")], links = [...document.querySelectorAll("header nav a")];
  const draw = rawmsa.results(datasets), clips = rawmsa.clips(datasets), ulabels = rawmsa.ulabels(datasets);
  let first = true;

  const open = () => {
    const [name, ...rest] = location.hash.slice(1).split("/");
    const view = views.find((each) => each.id === name) || views[0];
    for (const each of views) each.hidden = each !== view;
    for (const link of links) {
      if (link.hash === `#${view.id === "clip" ? "clips" : view.id}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    clips.page.leave();
    ulabels.leave();
    if (view.id === "clips") clips.show();
    if (view.id === "ulabels") ulabels.show();
    if (view.id === "clip") clips.page.show(decodeURIComponent(rest[0]), decodeURIComponent(rest.slice(1).join("/")));
    draw(view);
    scrollTo(0, 0);
    if (!first) document.getElementById("view").focus({ preventScroll: true });
    first = false;
  };

  document.querySelector("[data-skip]").addEventListener("click", (event) => { event.preventDefault(); document.getElementById("view").focus(); });
  addEventListener("hashchange", open);
  open();
})();
