// Draws every plot of the page, and again when light and dark change.
"use strict";
(() => {
  const root = document.documentElement;
  const token = document.querySelector('meta[name="csrf-token"]').content;
  const theme = () => (root.dataset.bsTheme === "dark" ? "dark" : "light");

  const draw = async (place) => {
    const wanted = theme();
    const address = new URL(place.dataset.plot, document.baseURI);
    address.searchParams.set("theme", wanted);
    try {
      const answer = await fetch(address, {
        headers: { Accept: "application/json", "X-CSRF-Token": token },
      });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const item = await answer.json();
      if (wanted !== theme()) return;
      const views = place.views;
      place.replaceChildren();
      if (views) views.clear();
      place.views = await Bokeh.embed.embed_item(item, place);
      place.dataset.drawn = wanted;
    } catch (error) {
      const note = document.createElement("p");
      note.className = "quiet";
      note.textContent =
        "The plot could not be loaded; the table below has the same numbers. Load the page again to retry.";
      place.replaceChildren(note);
      place.dataset.drawn = "failed";
      console.warn("plot", place.id, String(error));
    }
  };

  const places = document.querySelectorAll("[data-plot]");
  const drawAll = () => places.forEach(draw);
  drawAll();
  new MutationObserver(drawAll).observe(root, { attributeFilter: ["data-bs-theme"] });
})();
