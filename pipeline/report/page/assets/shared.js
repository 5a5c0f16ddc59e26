// What every section uses: how an arm looks, tables, figures and files to save. Names go through textContent, or
// through `plain` where Plotly takes them, which would read markup in them.
(function () {
  "use strict";

  const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"];
  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
  const MARKERS = ["circle", "square", "diamond", "triangle-up", "x", "cross", "star"];

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }
  // Plotly turns tags and entities in names into markup: look-alikes stay what they are. It also breaks links.
  const plain = (text) => String(text).replaceAll("&", "\uff06").replaceAll("<", "\u2039").replaceAll(">", "\u203a").replaceAll("%{", "% {").replaceAll("$", "\uff04");
  const look = (place) => place < 0 ? { colour: "#6B6B6B", dash: "dot", marker: "circle" }
    : { colour: COLOURS[place % 6], dash: DASHES[place % 5], marker: MARKERS[place % 7] };

  function save(name, text, type) {
    const address = URL.createObjectURL(new Blob([text], { type }));
    element("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }
  function csv(header, rows) {
    const cell = (value) => {
      const text = value === null || value === undefined ? "" : String(value);
      // What a spreadsheet would take for a formula begins with an apostrophe.
      const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
      return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    return [header, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  }
  function button(text, act, label) {
    const made = element("button", { type: "button", "aria-label": label || null }, text);
    made.addEventListener("click", act);
    return made;
  }

  // Work that waits until its place comes near the screen, or the page is printed. One at a time, so that each is on the
  // screen before the next is begun.
  const waiting = new Map(), near = [];
  const watcher = new IntersectionObserver((seen) => {
    const idle = !near.length;
    near.push(...seen.filter((one) => one.isIntersecting).map((one) => one.target));
    if (idle && near.length) setTimeout(next);
  }, { rootMargin: "600px 0px" });
  function next() {
    try {
      now(near.shift());
    } finally {
      if (near.length) setTimeout(next);
    }
  }
  function now(place) {
    const act = waiting.get(place);
    if (!act) return;
    waiting.delete(place);
    watcher.unobserve(place);
    act();
  }
  const all = () => [...waiting.keys()].forEach(now);
  window.addEventListener("beforeprint", all);
  matchMedia("print").addEventListener("change", (print) => print.matches && all());
  // Gives a function that does what it is given, as soon as the place is seen, and the last of it.
  function lazily(place) {
    let act = null, seen = false;
    waiting.set(place, () => { seen = true; if (act) act(); });
    watcher.observe(place);
    return (given) => { act = given; if (seen) act(); };
  }

  // The library is text until the first figure is drawn; the page's policy lets this text run, and no other.
  function plotly() {
    if (!window.Plotly) document.head.append(element("script", {}, document.getElementById("plotly").textContent));
    return window.Plotly;
  }

  // A figure with its buttons; what is returned is given a function that tells {traces, layout, header, rows}, again and
  // again.
  function figure(section, name, title) {
    const place = element("div", { class: "figure", id: `figure-${name}`, role: "img", "aria-label": title });
    let tell = () => ({ header: [], rows: [] });
    const image = (format) => { now(place); plotly().downloadImage(place, { format, filename: name, width: 1000, height: 600 }); };
    section.append(element("div", { class: "controls" },
      button("CSV", () => { const told = tell(); save(`${name}.csv`, csv(told.header, told.rows), "text/csv;charset=utf-8"); }, `${title}: data as CSV`),
      button("PNG", () => image("png"), `${title}: figure as PNG`),
      button("SVG", () => image("svg"), `${title}: figure as SVG`)), place);
    const when = lazily(place);
    function draw() {
      const given = tell(), hidden = window.asvpShared.hidden[place.id] || [];
      const style = getComputedStyle(document.body), ink = style.color, line = "rgba(128,128,128,0.3)";
      const narrow = place.clientWidth < 600;
      // A phone's width has room for some forty letters.
      const title = (text) => (narrow && text.length > 36 ? text.replace(/^(.{12,36}) /, "$1<br>") : text);
      const axis = (more) => ({ gridcolor: line, zerolinecolor: line, automargin: true, ...more, title: more.title && { text: title(more.title.text) } });
      const names = given.traces.filter((trace) => trace.showlegend !== false).length, below = narrow || names > 12;
      plotly().react(place, given.traces.map((trace) => hidden.includes(trace.name) ? { visible: "legendonly", ...trace } : trace), {
        uirevision: "kept",
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, family: "system-ui, sans-serif", size: 13 },
        margin: { l: 60, r: 20, t: 16, b: 50 }, hovermode: "closest",
        legend: below ? { orientation: "h", x: 0, xanchor: "left", y: 0, yanchor: "bottom", yref: "container", maxheight: 0.9 } : { x: 1.02, y: 1 },
        ...given.layout, height: (given.layout.height || (below ? 400 : 440)) + (below ? 22 * Math.ceil(names / (narrow ? 1 : 4)) : 0), xaxis: axis(given.layout.xaxis), yaxis: axis(given.layout.yaxis),
      }, { displayModeBar: false, responsive: true });
    }
    return (given) => { tell = given; when(draw); };
  }

  // A table that sorts by its headings and filters by a word; numbers are shown by `show`, and sorted as numbers. What a
  // row does not have is told by `missing`.
  function table(section, name, columns, rows, title) {
    const body = element("tbody"), said = element("span", { class: "quiet", role: "status" });
    const word = element("input", { type: "search", "aria-label": `${title}: filter` , placeholder: "filter" });
    let by = null, down = false;
    const text = (value, column, row) => value === null || value === undefined || value === "" ? (column.missing ? column.missing(row) : "–")
      : typeof value === "number" ? (column.show || String)(value) : String(value);
    function fill() {
      const wanted = word.value.toLowerCase();
      const kept = rows.filter((row) => !wanted || row.some((value, i) => text(value, columns[i], row).toLowerCase().includes(wanted)));
      if (by !== null) {
        kept.sort((a, b) => {
          const [x, y] = [a[by], b[by]];
          if (x === null || y === null) return (x === null) - (y === null);
          return (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y))) * (down ? -1 : 1);
        });
      }
      body.replaceChildren(...kept.map((row) => element("tr", {}, ...row.map((value, i) =>
        element("td", { class: typeof value === "number" ? "number" : null }, text(value, columns[i], row))))));
      said.textContent = `${kept.length} of ${rows.length}`;
      heads.forEach((head, i) => head.setAttribute("aria-sort", i !== by ? "none" : down ? "descending" : "ascending"));
    }
    const heads = columns.map((column, i) => {
      const head = element("th", { scope: "col" }, button(column.name, () => { down = by === i && !down; by = i; fill(); }));
      return head;
    });
    word.addEventListener("input", fill);
    section.append(element("div", { class: "controls" }, word, said,
      button("CSV", () => save(`${name}.csv`, csv(columns.map((c) => c.name), rows), "text/csv;charset=utf-8"), `${title}: table as CSV`)),
    element("div", { class: "wide", tabindex: 0, role: "region", "aria-label": title },
      element("table", { id: `${name}-table` }, element("thead", {}, element("tr", {}, ...heads)), body)));
    fill();
    return (given) => { rows = given; fill(); };
  }

  // Hidden: by figure, names that its reader had hidden before the page was loaded again.
  window.asvpShared = { element, plain, look, figure, table, button, csv, save, lazily, hidden: {} };
})();
