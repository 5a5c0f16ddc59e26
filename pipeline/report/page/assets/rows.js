// The rows themselves: galleries of picks, maps of the pool, overlap of picks. Text from outside goes through
// textContent alone; images are thumbnails that were encoded anew, as data.
(function () {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";
  const SIDE = 420, EDGE = 12;
  // Like viridis, without its ends, which are lost on a dark or a light ground.
  const COLOURS = ["#5b45a8", "#3d68a5", "#277f8e", "#1fa187", "#4ac16d", "#a0da39"];

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
    }
    for (const child of children) if (child !== null && child !== undefined) made.append(child);
    return made;
  }

  function drawn(name, attributes, ...children) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)}\u00a0%`;
  const count = (number, one, more) => `${number.toLocaleString("en")} ${number === 1 ? one : more}`;

  function colourOf(round, rounds) {
    const place = rounds.length < 2 ? 0 : rounds.indexOf(round) / (rounds.length - 1) * (COLOURS.length - 1);
    const from = Math.min(Math.floor(place), COLOURS.length - 2), part = place - from;
    const channel = (colour, i) => parseInt(colour.slice(1 + 2 * i, 3 + 2 * i), 16);
    const mixed = [0, 1, 2].map((i) =>
      Math.round(channel(COLOURS[from], i) * (1 - part) + channel(COLOURS[from + 1], i) * part));
    return `rgb(${mixed.join(",")})`;
  }

  function choice(label, groups, changed) {
    const select = element("select", {});
    for (const [title, options] of groups) {
      const made = options.map(([value, text]) => element("option", { value }, text));
      select.append(...(title ? [element("optgroup", { label: title }, ...made)] : made));
    }
    select.addEventListener("change", () => changed(select.value));
    return [element("label", { class: "rows-control" }, `${label} `, select), select];
  }

  function csv(name, header, rows) {
    // A cell that a spreadsheet would take for a formula begins with an apostrophe.
    const cell = (value) => {
      const text = value === null || value === undefined ? "" : String(value);
      const plain = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
      return /[",\n\r]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
    };
    return { name, text: [header, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n" };
  }

  function saved(made, text) {
    const button = element("button", { type: "button", class: "rows-save" }, text);
    button.addEventListener("click", async () => {
      const { name, text: content, type } = await made();
      const address = URL.createObjectURL(new Blob([content], { type: type || "text/csv;charset=utf-8" }));
      element("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10000);
    });
    return button;
  }

  // Galleries

  function thought(row) {
    if (!row.thought || !row.thought.length) return "no model yet";
    return `proxy: ${row.thought.map(([name, p]) => `${name} ${percent(p)}`).join(", ")}`;
  }

  function card(row) {
    const right = row.thought && row.thought.length ? row.thought[0][0] === row.label : null;
    const shown = row.image
      ? element("img", { src: row.image, alt: `Row ${row.id}`, loading: "lazy" })
      : element("p", { class: row.words === undefined ? "rows-words rows-none" : "rows-words" },
          row.words === undefined ? `row ${row.id}` : row.words);
    return element("li", { class: "rows-card", title: `row ${row.row}, id ${row.id}` }, shown,
      element("p", { class: "rows-label" },
        right === null ? null : element("span", { class: right ? "rows-right" : "rows-wrong" }, right ? "✓ " : "✗ "),
        right === null ? null : element("span", { class: "rows-unseen" }, right ? "The proxy was right: " : "The proxy was wrong: "),
        row.label),
      element("p", { class: "rows-thought" }, thought(row)));
  }

  function strip(title, one) {
    return element("section", { class: "rows-strip" }, element("h4", {}, title),
      element("ul", { class: "rows-cards" }, ...one.rows.map(card)));
  }

  function galleries(given) {
    const place = element("div", { class: "rows-gallery" });
    const numbers = [...new Set(given.flatMap((one) => one.rounds.map((round) => round.round)))].sort((a, b) => a - b);
    const told = (round) => `${round.rows.length} of ${count(round.bought, "pick", "picks")} by ${round.strategy || "?"}`;
    const show = (value) => {
      const [kind, number] = [value[0], Number(value.slice(1))];
      place.replaceChildren(...(kind === "a"
        ? given[number].rounds.map((round) =>
            strip(`Round ${round.round}, up to ${count(round.labelled, "label", "labels")}: ${told(round)}`, round))
        : given.flatMap((one) => one.rounds.filter((round) => round.round === number)
            .map((round) => strip(`${one.arm}: ${told(round)}`, round)))));
    };
    const [label] = choice("Show", [
      ["All rounds of an arm", given.map((one, i) => [`a${i}`, one.arm])],
      ["All arms in a round", numbers.map((number) => [`r${number}`, `round ${number}`])],
    ], show);
    show("a0");
    const table = () => csv("rows.csv",
      ["arm", "seed", "round", "row", "id", "label", "predicted", "probability", "second", "second_probability", "words"],
      given.flatMap((one) => one.rounds.flatMap((round) => round.rows.map((row) => {
        const [first, second] = row.thought || [];
        return [one.arm, one.seed, round.round, row.row, row.id, row.label, ...(first || ["", ""]),
          ...(second || ["", ""]), row.words];
      }))));
    return element("div", { class: "rows-part" }, element("h3", {}, "Some picks of each round"),
      element("p", { class: "rows-hint" }, "Each with its label and the two classes that the proxy which chose it " +
        "thought most probable. In the first round nothing is labelled, so there is no proxy."),
      element("div", { class: "rows-controls" }, label, saved(table, "CSV")), place);
  }

  // Maps

  const dots = (points) => points.map(([x, y]) => `M${x} ${y}h0`).join("");

  function sideOf(map, side, title) {
    const scale = (SIDE / 2 - EDGE) / map.grid;
    const at = (x, y) => [(SIDE / 2 + x * scale).toFixed(1), (SIDE / 2 - y * scale).toFixed(1)];
    const others = [];
    for (let i = 0; i < side.others.length; i += 2) others.push(at(side.others[i], side.others[i + 1]));
    const name = `${title}: ${count(others.length, "row that was not bought", "rows that were not bought")}, ` +
      `${count(side.picks.length, "pick", "picks")}`;
    const picks = drawn("g", {});
    const svg = drawn("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, role: "img", "aria-label": name, class: "rows-map" },
      drawn("path", { d: dots(others), class: "rows-others" }), picks);
    const show = (last, label) => {
      picks.replaceChildren();
      for (const round of map.rounds.filter((one) => one <= last)) {
        const of = side.picks.filter((pick) => pick[2] === round && (label < 0 || pick[3] === label));
        const d = dots(of.map(([x, y]) => at(x, y)));
        picks.append(drawn("path", { d, class: "rows-halo" }),
          drawn("path", { d, class: "rows-pick", stroke: colourOf(round, map.rounds) }));
      }
    };
    const tip = element("p", { class: "rows-tip", hidden: true });
    let shownUntil = () => [Infinity, -1];
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const [x, y] = [(event.clientX - box.left) / box.width * SIDE, (event.clientY - box.top) / box.height * SIDE];
      const [last, label] = shownUntil();
      let best = null, nearest = 144;
      for (const pick of side.picks) {
        if (pick[2] > last || (label >= 0 && pick[3] !== label)) continue;
        const [px, py] = at(pick[0], pick[1]), far = (px - x) ** 2 + (py - y) ** 2;
        if (far <= nearest) [best, nearest] = [pick, far];
      }
      tip.hidden = best === null;
      if (best === null) return;
      tip.textContent = `row ${best[4]}: ${map.classes[best[3]]}, picked in round ${best[2]}`;
      const right = x > SIDE / 2;
      tip.style.left = right ? "auto" : `${event.clientX - box.left + 14}px`;
      tip.style.right = right ? `${box.right - event.clientX + 14}px` : "auto";
      tip.style.top = `${event.clientY - box.top + 30}px`;
    });
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
    const figure = element("figure", { class: "rows-side" }, element("figcaption", {}, title),
      element("div", { class: "rows-frame" }, svg, tip));
    return { figure, title, show: (last, label) => { shownUntil = () => [last, label]; show(last, label); } };
  }

  // Both sides in one drawing that needs no style sheet.
  function picture(map, sides) {
    const top = 28, style = getComputedStyle(document.body);
    const ground = getComputedStyle(document.querySelector(".rows-halo") || document.body).stroke;
    const width = sides.length * SIDE, height = SIDE + top;
    const whole = drawn("svg", { xmlns: SVG, viewBox: `0 0 ${width} ${height}`, width, height });
    whole.append(drawn("rect", { width, height, fill: ground }));
    sides.forEach((side, number) => {
      const title = drawn("text", { x: number * SIDE + EDGE, y: 19, fill: style.color, "font-family": "sans-serif", "font-size": 14 });
      title.textContent = `${map.arm}: ${side.title}`;
      const group = drawn("g", { transform: `translate(${number * SIDE} ${top})` });
      for (const path of side.figure.querySelectorAll("path")) {
        const look = getComputedStyle(path);
        group.append(drawn("path", {
          d: path.getAttribute("d"), fill: "none", stroke: look.stroke,
          "stroke-width": look.strokeWidth, "stroke-linecap": "round",
        }));
      }
      whole.append(title, group);
    });
    return new XMLSerializer().serializeToString(whole);
  }

  function rastered(svg, width, height) {
    return new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => {
        const canvas = element("canvas", { width: 2 * width, height: 2 * height });
        canvas.getContext("2d").drawImage(image, 0, 0, 2 * width, 2 * height);
        canvas.toBlob(resolve, "image/png");
      };
      image.onerror = reject;
      image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
    });
  }

  function titleOf(side, map) {
    if (side.version === 0) return "Features of the pre-trained encoder";
    return map.refreshes > 1 ? `Features after refresh ${side.version}, the last` : "Features after the refresh";
  }

  function maps(given) {
    const place = element("div", { class: "rows-maps" }), legend = element("div", { class: "rows-legend" });
    const said = element("p", { class: "rows-hint" });
    let sides = [], map = given[0], classes, last = Infinity, label = -1;
    const range = element("input", { type: "range", min: 0, step: 1 });
    const until = element("output", {});
    const update = () => {
      last = map.rounds[Number(range.value)];
      until.textContent = `round ${last}`;
      for (const side of sides) side.show(last, label);
    };
    range.addEventListener("input", update);
    const choose = (number) => {
      map = given[Number(number)];
      label = -1;
      sides = map.sides.map((side) => sideOf(map, side, titleOf(side, map)));
      place.replaceChildren(...sides.map((side) => side.figure));
      range.max = map.rounds.length - 1;
      range.value = range.max;
      classes.replaceChildren(element("option", { value: -1 }, "all"),
        ...map.classes.map((name, i) => element("option", { value: i }, name)));
      const keys = map.rounds.length > 12 ? map.rounds.filter((_, i) => i % Math.ceil(map.rounds.length / 12) === 0) : map.rounds;
      legend.replaceChildren(element("span", {}, "Picked in round"), ...keys.map((round) => {
        const key = element("span", { class: "rows-key" }, element("i", { "aria-hidden": "true" }), `${round}`);
        key.firstChild.style.background = colourOf(round, map.rounds);
        return key;
      }), element("span", { class: "rows-key rows-grey" }, element("i", { "aria-hidden": "true" }), "not bought"));
      said.textContent = map.refreshes === 0 ? "This arm did not refresh its features."
        : map.sides.length < 2 ? "The run kept one of the two maps: it was begun by an earlier version, or ended before it chose rows after the refresh."
        : "The same rows on both sides; picks beside the sample that were bought after the refresh are on the right alone.";
      update();
    };
    const [arm, arms] = choice("Arm", [["", given.map((one, i) => [i, one.arm])]], choose);
    const [byClass, select] = choice("Class", [["", []]], (value) => { label = Number(value); update(); });
    classes = select;
    // What alignment does is seen where there was a refresh.
    arms.value = Math.max(0, given.findIndex((one) => one.sides.length > 1));
    choose(arms.value);
    const table = () => csv("map.csv", ["arm", "seed", "version", "x", "y", "round", "class", "row"],
      given.flatMap((one) => one.sides.flatMap((side) => {
        const rows = side.picks.map((p) => [one.arm, one.seed, side.version, p[0], p[1], p[2], one.classes[p[3]], p[4]]);
        for (let i = 0; i < side.others.length; i += 2) {
          rows.push([one.arm, one.seed, side.version, side.others[i], side.others[i + 1], "", "", ""]);
        }
        return rows;
      })));
    const svg = () => ({ name: "map.svg", text: picture(map, sides), type: "image/svg+xml" });
    const png = async () =>
      ({ name: "map.png", text: await rastered(picture(map, sides), sides.length * SIDE, SIDE + 28), type: "image/png" });
    return element("div", { class: "rows-part" }, element("h3", {}, "The pool before and after a refresh"),
      element("p", { class: "rows-hint" }, "A sample of the pool and the picks on the two widest axes of the features " +
        "(principal components, so distances within the picture are of the part they show); the right side is turned " +
        "to lie on the left as well as it can. Classes are known of picks alone."),
      element("div", { class: "rows-controls" }, arm,
        element("label", { class: "rows-control" }, "Picks up to ", range, until), byClass, saved(table, "CSV"), saved(svg, "SVG"), saved(png, "PNG")),
      legend, place, said);
  }

  // Overlap

  function heat(given) {
    const { arms, shares, seeds, picks } = given;
    const table = element("table", { class: "rows-heat" });
    table.append(element("caption", {}, "Share of picks that two arms have in common"));
    const head = element("tr", {}, element("td", {}));
    arms.forEach((arm, i) => head.append(element("th", { scope: "col", title: arm }, `${i + 1}`,
      element("span", { class: "rows-unseen" }, ` ${arm}`))));
    table.append(element("thead", {}, head));
    const body = element("tbody", {});
    arms.forEach((arm, a) => {
      const line = element("tr", {}, element("th", { scope: "row", title: arm }, `${a + 1}  ${arm}`));
      arms.forEach((other, b) => {
        const share = shares[a][b];
        const cell = element("td", {
          title: share === null ? null : `${arm} and ${other}: ${percent(share)}, ${count(seeds[a][b], "seed", "seeds")}`,
        }, a === b ? "" : share === null ? "–" : (100 * share).toFixed(0));
        if (share !== null) cell.style.setProperty("--share", `${Math.round(100 * share)}%`);
        cell.className = share === null ? "" : "rows-share";
        line.append(cell);
      });
      body.append(line);
    });
    table.append(body);
    const many = picks[0] === picks[1] ? `${picks[0]}` : `${picks[0]} to ${picks[1]}`;
    const file = () => csv("overlap.csv", ["arm", "other", "share", "seeds"], arms.flatMap((arm, a) =>
      arms.map((other, b) => [arm, other, shares[a][b], seeds[a][b]]).filter((row) => row[2] !== null)));
    return element("div", { class: "rows-part" }, element("h3", {}, "Which rows arms agree on"),
      element("p", { class: "rows-hint" }, `In per cent of ${many} picks, a mean over the seeds that both arms have. ` +
        "The first round is left out: with one seed all arms begin with the same rows. What chance gives is to be seen " +
        "beside an arm that picks at random."),
      element("div", { class: "rows-controls" }, saved(file, "CSV")),
      element("div", { class: "rows-wide", tabindex: 0, role: "region", "aria-label": "Overlap of picks" }, table));
  }

  function common(given) {
    // Of rows that have no text nobody misses words.
    const texts = given.rows.some((row) => row.words !== undefined), all = given.rows.every((row) => row.words !== undefined);
    const words = (row) => row.words === undefined ? element("td", { class: "rows-none" }, "not kept") : element("td", {}, row.words);
    const body = element("tbody", {}, ...given.rows.map((row) => element("tr", {},
      element("td", { class: "rows-number" }, `${row.arms} of ${given.arms}`),
      element("td", { class: "rows-number" }, `${row.runs} of ${given.runs}`),
      element("td", {}, row.label), element("td", {}, row.id), texts ? words(row) : null)));
    const table = element("table", { class: "rows-table" }, element("caption", {}, "Rows that most arms picked"),
      element("thead", {}, element("tr", {}, ...["arms", "runs", "label", "row", ...(texts ? ["first words"] : [])].map((name) =>
        element("th", { scope: "col" }, name)))), body);
    return element("div", { class: "rows-part" },
      element("div", { class: "rows-wide", tabindex: 0, role: "region", "aria-label": "Rows that most arms picked" }, table),
      texts && !all ? element("p", { class: "rows-hint" }, "A run keeps the first words of some picks a round (12 or fewer), of " +
        "the others label and name alone: \u201cnot kept\u201d is where no run kept them. The data have them, by the name of the row.") : null);
  }

  function render(section, rows) {
    if (!rows) return;
    if (rows.galleries.length) section.append(galleries(rows.galleries));
    if (rows.maps.length) section.append(maps(rows.maps));
    if (rows.overlap) section.append(heat(rows.overlap));
    if (rows.common && rows.common.rows.length) section.append(common(rows.common));
    if (rows.notes.length) {
      section.append(element("ul", { class: "rows-notes" }, ...rows.notes.map((note) => element("li", {}, note))));
    }
  }

  window.asvpRows = render;
})();
