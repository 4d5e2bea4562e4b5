// What a page does: shows and hides methods, draws what comes into view, plays films, sorts tables.
"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const { dark } = JSON.parse(document.getElementById("page--settings").textContent);
  const hidden = new Set();

  // What sticks to the top covers nothing that is jumped to: not even by the link that opened the
  // page, which is followed before an observer is first called.
  const bar = document.querySelector(".bar");
  const measureBar = () => root.style.setProperty("--bar", `${bar.getBoundingClientRect().height}px`);
  measureBar();
  new ResizeObserver(measureBar).observe(bar);

  // Themes: the reader's choice in this page, or the system's.
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const themeButton = document.getElementById("page--theme");
  let chosen = null;
  let printing = false;
  const isDark = () => !printing && (chosen ?? (systemDark.matches ? "dark" : "light")) === "dark";

  function showTheme() {
    if (chosen) root.dataset.theme = chosen;
    themeButton.setAttribute("aria-pressed", String(isDark()));
    drawAgain();
  }

  // Colours of the light theme stand in the figures.
  function themed(value, name = "") {
    if (Array.isArray(value)) return value.map((part) => themed(part, name));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v, k)]));
    }
    return isDark() && typeof value === "string" && /color/.test(name) ? (dark[value] ?? value) : value;
  }

  // Charts: drawn when they come into view, drawn again when something changed since. Until then
  // they are marked as outdated.
  const config = { displayModeBar: false, responsive: false, doubleClick: "reset" };
  const coarse = matchMedia("(pointer: coarse)").matches;
  const plots = new Map();
  const charts = all(".chart").map((element) => {
    const data = JSON.parse(element.querySelector(".drawing").textContent);
    const chart = { element, data, frame: null };
    all(".plot", element).forEach((plot, i) => {
      plots.set(plot, { chart, panel: data.panels[i], stale: true, near: false, width: 0, drawing: null });
    });
    return chart;
  });

  // Bands are named in all panels of a chart, or numbered in all where a name does not fit.
  function numberBands(chart) {
    const narrow = (plot) => plot.clientWidth && plot.clientWidth < plots.get(plot).panel.namesFrom;
    const numbered = all(".plot", chart.element).some(narrow);
    if (numbered !== chart.element.classList.contains("numbered")) {
      chart.element.classList.toggle("numbered", numbered);
      return true;
    }
    return false;
  }

  function figure(plot) {
    const { chart, panel } = plots.get(plot);
    const data = panel.data.map((trace, i) => ({
      ...themed(trace),
      ...(chart.frame === null || !panel.frames.length ? {} : panel.frames[chart.frame][i]),
      visible: !hidden.has(panel.traces[i]),
    }));
    const layout = {
      ...themed(panel.layout),
      uirevision: "kept",
      width: plot.clientWidth,
      height: plot.clientHeight,
    };
    if (chart.element.classList.contains("numbered")) {
      let number = 0;
      layout.annotations = layout.annotations.map((note) => (
        note.name === "band" ? { ...note, text: String(++number) } : note));
    }
    if (coarse) {
      // A finger that moves scrolls the page.
      layout.dragmode = false;
      layout.xaxis.fixedrange = layout.yaxis.fixedrange = true;
    }
    return [data, layout];
  }

  async function draw(plot) {
    const state = plots.get(plot);
    if (!plot.clientWidth) return;
    state.stale = false;
    state.width = plot.clientWidth;
    const drawing = Plotly.react(plot, ...figure(plot), config);
    state.drawing = drawing;
    await drawing;
    if (!state.stale && state.drawing === drawing) plot.classList.remove("outdated");
  }

  function drawAgain(chosenPlots = plots.keys()) {
    for (const plot of chosenPlots) {
      const state = plots.get(plot);
      state.stale = true;
      plot.classList.add("outdated");
      if (state.near) draw(plot);
    }
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const state = plots.get(target);
      state.near = isIntersecting;
      if (isIntersecting && state.stale) draw(target);
    }
  }, { rootMargin: "400px" });
  const sizes = new ResizeObserver((entries) => {
    const renumbered = new Set(entries.map(({ target }) => plots.get(target).chart).filter(numberBands));
    for (const chart of renumbered) drawAgain(all(".plot", chart.element));
    for (const { target } of entries) {
      const state = plots.get(target);
      if (!state.stale && target.clientWidth && target.clientWidth !== state.width) {
        drawAgain([target]);
      }
    }
  });
  charts.forEach(numberBands);
  for (const plot of plots.keys()) {
    watcher.observe(plot);
    sizes.observe(plot);
  }

  // What is wider than its place says so.
  const wide = new ResizeObserver((entries) => {
    for (const scroller of new Set(entries.map(({ target }) => target.closest(".scroller")))) {
      scroller.classList.toggle("scrolls", scroller.scrollWidth > scroller.clientWidth + 1);
    }
  });
  const watchWidth = (scroller) => {
    wide.observe(scroller);
    for (const inside of scroller.children) wide.observe(inside);
  };
  for (const scroller of all(".scroller")) watchWidth(scroller);

  for (const chart of charts) {
    const slider = chart.element.querySelector("input[type=range]");
    if (!slider) continue;
    const names = JSON.parse(slider.dataset.names);
    const output = chart.element.querySelector("output");
    slider.addEventListener("input", () => {
      chart.frame = Number(slider.value);
      output.textContent = names[chart.frame];
      slider.setAttribute("aria-valuetext", names[chart.frame]);
      drawAgain(all(".plot", chart.element));
    });
  }

  // Tables.
  // A number, perhaps with its interval: 1,234 or +3.2 ± 1.1 or 0.5 (0.4 to 0.6) or < 0.001.
  const numeric = /^[<>\u2264\u2265]? ?[+\u2212-]?\d[\d,]*\.?\d*(e[+-]?\d+)? ?%?\*{0,3}( ?[\u00b1([].*)?$/;
  const missing = (text) => text === "" || text === "\u2013" || text === "-";
  const valueOf = (text) => Number.parseFloat(text.replace(/^[^\d+\u2212-]+/, "").replace(/,/g, "").replace("\u2212", "-"));
  // What stands in a cell, without its footnotes.
  const textOf = (cell) => (cell?.firstChild?.textContent ?? "").trim();

  function alignNumbers(table) {
    all("thead th", table).forEach((head, i) => {
      const texts = all("tbody tr", table).map((row) => textOf(row.cells[i])).filter((t) => !missing(t));
      if (!texts.length || !texts.every((text) => numeric.test(text))) return;
      head.classList.add("number");
      for (const row of all("tbody tr", table)) row.cells[i]?.classList.add("number");
    });
  }

  function makeSortable(table) {
    all("thead th button", table).forEach((button, i) => {
      button.addEventListener("click", () => {
        const head = button.parentElement;
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of all("th", table.tHead)) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const byNumber = head.classList.contains("number");
        const body = table.tBodies[0];
        const rows = [...body.rows].sort((a, b) => {
          const [x, y] = [textOf(a.cells[i]), textOf(b.cells[i])];
          if (missing(x) || missing(y)) return missing(x) - missing(y);
          const order = byNumber ? valueOf(x) - valueOf(y) : x.localeCompare(y, "en", { numeric: true });
          return down ? -order : order;
        });
        body.append(...rows);
      });
    });
  }

  for (const table of all(".item:not(.films) table")) {
    alignNumbers(table);
    makeSortable(table);
  }

  function buildTable({ columns, methods }, place) {
    // Texts that come again and again are written once.
    const texts = columns.map(({ texts, at }) => (at ? at.map((i) => texts[i]) : texts));
    const table = document.createElement("table");
    table.setAttribute("aria-label", place.getAttribute("aria-label"));
    const head = table.createTHead().insertRow();
    for (const { name } of columns) {
      const cell = document.createElement("th");
      const button = document.createElement("button");
      cell.scope = "col";
      button.type = "button";
      button.textContent = name;
      cell.append(button);
      head.append(cell);
    }
    const body = table.createTBody();
    methods.forEach((method, i) => {
      const row = body.insertRow();
      row.dataset.method = method;
      row.hidden = hidden.has(method);
      for (const column of texts) row.insertCell().textContent = column[i];
    });
    alignNumbers(table);
    makeSortable(table);
    place.append(table);
    watchWidth(place);
  }

  for (const { element, data } of charts) {
    const details = element.querySelector(".numbers");
    details.addEventListener("toggle", () => {
      if (details.open && !details.querySelector("table")) {
        buildTable(data, details.querySelector(".table"));
      }
    });
  }

  // Films: a browser has only so many players, so those out of sight give theirs back.
  const mostPlayers = 60;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const filmsButton = document.getElementById("page--films");
  const films = all("video");
  const visible = new Set();
  const loaded = new Set();
  let playing = !still.matches;

  function load(film) {
    if (loaded.has(film)) return;
    // What is seen goes before what is only near.
    if (loaded.size >= mostPlayers && visible.has(film)) unload([...loaded].find((other) => !visible.has(other)));
    if (loaded.size >= mostPlayers) return;
    const bytes = Uint8Array.from(atob(film.dataset.film), (letter) => letter.charCodeAt(0));
    film.src = URL.createObjectURL(new Blob([bytes], { type: film.dataset.mime }));
    loaded.add(film);
  }

  function unload(film) {
    if (!loaded.delete(film)) return;
    URL.revokeObjectURL(film.src);
    film.removeAttribute("src");
    film.load();
  }

  function playOrPause(film) {
    if (playing && visible.has(film) && loaded.has(film)) {
      // Paused again before it began: no error.
      film.play().catch(() => {});
    } else {
      film.pause();
    }
  }

  function showFilms() {
    if (!filmsButton) return;
    filmsButton.textContent = playing ? "Pause films" : "Play films";
    for (const film of films) {
      film.controls = still.matches;
      playOrPause(film);
    }
  }

  const nearFilms = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) if (!isIntersecting) unload(target);
    for (const { target, isIntersecting } of entries) if (isIntersecting) load(target);
    for (const film of visible) {
      load(film);
      playOrPause(film);
    }
  }, { rootMargin: "300px" });
  const seenFilms = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) {
        visible.add(target);
        load(target);
      } else {
        visible.delete(target);
      }
      playOrPause(target);
    }
  });
  for (const film of films) {
    nearFilms.observe(film);
    seenFilms.observe(film);
    // Keeps its place when it is unloaded.
    film.addEventListener("loadedmetadata", () => {
      film.style.aspectRatio = `${film.videoWidth} / ${film.videoHeight}`;
    });
  }
  filmsButton?.addEventListener("click", () => {
    playing = !playing;
    showFilms();
  });
  still.addEventListener("change", () => {
    playing = !still.matches;
    showFilms();
  });
  showFilms();

  // Methods.
  const toggles = all("[data-toggles]");
  const showAll = document.getElementById("page--show-all");

  function showMethods() {
    hidden.clear();
    for (const toggle of toggles) if (!toggle.checked) hidden.add(Number(toggle.dataset.toggles));
    for (const element of all("[data-method]")) {
      element.hidden = hidden.has(Number(element.dataset.method));
    }
    if (showAll) showAll.hidden = hidden.size === 0;
    drawAgain();
  }

  for (const toggle of toggles) toggle.addEventListener("change", showMethods);
  showAll?.addEventListener("click", () => {
    for (const toggle of toggles) toggle.checked = true;
    showMethods();
    toggles[0].focus();
  });

  themeButton.addEventListener("click", () => {
    chosen = isDark() ? "light" : "dark";
    showTheme();
  });
  systemDark.addEventListener("change", showTheme);
  showTheme();

  // Paper: everything is drawn, in light colours, as wide as the paper.
  function setPrinting(on) {
    printing = on;
    root.classList.toggle("printing", on);
    if (on) plots.forEach((_, plot) => draw(plot));
    else drawAgain();
  }
  addEventListener("beforeprint", () => setPrinting(true));
  addEventListener("afterprint", () => setPrinting(false));
})();
