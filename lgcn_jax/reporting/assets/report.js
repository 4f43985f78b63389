"use strict";
// Without this script every value is still there: in titles that appear under the pointer, and in the tables.
(() => {
  const NS = "http://www.w3.org/2000/svg";

  const takeTitles = (elements) => elements.map((element) => {
    const title = element.querySelector("title");
    title.remove(); // or it would appear beside ours
    return title.textContent;
  });

  const reachable = (plot, label) => {
    plot.tabIndex = 0;
    plot.setAttribute("role", "group");
    plot.setAttribute("aria-label", label);
  };

  // A chart over an axis: pointer and arrow keys choose a place on it, whose values are read out below.
  const readout = (figure) => {
    const plot = figure.querySelector(".plot");
    const bands = [...plot.querySelectorAll(".band")];
    if (!bands.length) return;
    const texts = takeTitles(bands);
    const output = figure.querySelector(".readout");
    const rule = document.createElementNS(NS, "line");
    rule.setAttribute("class", "rule");
    let chosen = bands.length - 1;
    const show = (place) => {
      chosen = Math.min(Math.max(place, 0), bands.length - 1);
      const band = bands[chosen];
      for (const end of ["x1", "x2"]) rule.setAttribute(end, band.dataset.x);
      rule.setAttribute("y1", band.getAttribute("y"));
      rule.setAttribute("y2", Number(band.getAttribute("y")) + Number(band.getAttribute("height")));
      bands[0].before(rule);
      output.textContent = texts[chosen];
    };
    const hide = () => { rule.remove(); output.textContent = ""; };
    bands.forEach((band, place) => band.addEventListener("pointerenter", () => show(place)));
    plot.addEventListener("pointerleave", () => { if (document.activeElement !== plot) hide(); });
    plot.addEventListener("focus", () => show(chosen));
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: chosen - 1, ArrowRight: chosen + 1, Home: 0, End: bands.length - 1 };
      if (!(event.key in moves)) return;
      event.preventDefault();
      show(moves[event.key]);
    });
    reachable(plot, `${figure.querySelector("h3").textContent}: arrow keys read the values`);
  };

  // The map: pointer and arrow keys go from point to point, and a word finds points by their titles.
  const map = (figure) => {
    const plot = figure.querySelector(".plot");
    const circles = [...plot.querySelectorAll("circle")];
    const texts = takeTitles(circles);
    const places = circles.map((circle) => [Number(circle.getAttribute("cx")), Number(circle.getAttribute("cy"))]);
    const output = figure.querySelector(".readout");
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.setAttribute("aria-hidden", "true"); // the readout tells the same
    let at = circles.length - 1;
    const hide = () => { circles[at].classList.remove("at"); tip.remove(); output.textContent = ""; };
    const show = (place) => {
      circles[at].classList.remove("at");
      at = place;
      circles[at].classList.add("at");
      tip.textContent = output.textContent = texts[at];
      plot.append(tip);
      const box = circles[at].getBoundingClientRect(), frame = plot.getBoundingClientRect();
      const left = box.left - frame.left + box.width / 2 - tip.offsetWidth / 2;
      tip.style.left = `${Math.max(0, Math.min(left, frame.width - tip.offsetWidth))}px`;
      const above = box.top - frame.top - tip.offsetHeight - 6;
      tip.style.top = `${above < 0 ? box.bottom - frame.top + 6 : above}px`;
    };
    // The nearest point that lies more in the direction of the key than beside it.
    const next = (dx, dy) => {
      let best = at, least = Infinity;
      places.forEach(([x, y], place) => {
        const along = (x - places[at][0]) * dx + (y - places[at][1]) * dy;
        const beside = Math.abs((x - places[at][0]) * dy) + Math.abs((y - places[at][1]) * dx);
        const distance = Math.hypot(along, 2 * beside);
        const sought = !plot.classList.contains("sought") || circles[place].classList.contains("found");
        if (sought && along > 0 && along >= beside && distance < least) { best = place; least = distance; }
      });
      return best;
    };
    circles.forEach((circle, place) => circle.addEventListener("pointerenter", () => show(place)));
    plot.addEventListener("pointerleave", () => { if (document.activeElement !== plot) hide(); });
    plot.addEventListener("focus", () => show(at));
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (!(event.key in moves)) return;
      event.preventDefault();
      show(next(...moves[event.key]));
    });
    const find = figure.querySelector(".find");
    find.hidden = false;
    const lower = texts.map((text) => text.toLowerCase());
    find.querySelector("input").addEventListener("input", (event) => {
      const word = event.target.value.trim().toLowerCase();
      plot.classList.toggle("sought", word !== "");
      const found = lower.map((text) => word !== "" && text.includes(word));
      circles.forEach((circle, place) => circle.classList.toggle("found", found[place]));
      const count = found.filter(Boolean).length;
      find.querySelector("output").textContent = word && `${count.toLocaleString("en")} of ${circles.length.toLocaleString("en")} items`;
      if (count) at = found.lastIndexOf(true);
    });
    reachable(plot, "Map of the items: arrow keys go from item to item");
  };

  document.querySelectorAll("figure.chart:not(.map)").forEach(readout);
  document.querySelectorAll("figure.map").forEach(map);
  const opened = [];
  addEventListener("beforeprint", () => {
    opened.push(...document.querySelectorAll("details:not([open])"));
    opened.forEach((each) => { each.open = true; });
  });
  addEventListener("afterprint", () => opened.splice(0).forEach((each) => { each.open = false; }));
})();
