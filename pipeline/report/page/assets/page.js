// The page: every section from the data it was written with.
(function () {
  "use strict";

  const { element, plain, look, figure, table, lazily } = window.asvpShared, { answer, costCurve, needed, fixed, dollars, mean } = window.asvpVerdict;
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const note = (section, text) => section.append(element("p", { class: "quiet" }, text));
  const three = (value) => fixed(value, 3), whole = (value) => Math.round(value).toLocaleString("en");
  const place = new Map(data.arms.filter((arm) => arm !== data.baseline).map((arm, i) => [arm, i]));
  const style = (arm) => look(place.has(arm) ? place.get(arm) : -1);
  const hex = (colour, alpha) => `rgba(${[1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16)).join(",")},${alpha})`;
  const redrawn = [];
  const shown = (draw, given) => { redrawn.push(() => draw(given)); draw(given); };

  // Of many arms a few marks along each line tell it from others; a hover finds every point.
  const many = data.arms.length > 12;
  function line(arm, x, y, more) {
    const { colour, dash, marker } = style(arm);
    return { type: "scatter", mode: "lines+markers", name: plain(arm), legendgroup: String(data.arms.indexOf(arm)), x, y,
      line: { color: colour, dash, width: 2 }, marker: { color: colour, symbol: marker, size: 7, maxdisplayed: many ? 6 : 0 }, ...more };
  }

  // The answer and the prices
  const said = element("div", { class: "said" });
  // What comes first is large; the rest is as it is.
  function say(text) {
    const end = text.indexOf("). ") + 2;
    const first = element("strong", { class: "told" }, end > 1 ? text.slice(0, end) : text);
    const rest = element("span", { class: "told" }, end > 1 ? text.slice(end) : "");
    // Of many arms that is half a page: it is there when asked for.
    said.replaceChildren(first, rest.textContent.length < 900 ? rest
      : element("details", {}, element("summary", {}, "How sure that is, and what the other arms reach and cost"), rest));
  }
  say(data.answer.text);
  at("answer").append(said, element("ul", { class: "quiet" }, ...data.answer.notes.map((one) => element("li", {}, one))));

  const compared = element("tbody", {}, ...data.compared.map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value))));
  at("compared").append(element("table", {}, compared));

  function curves() {
    const told = data.curves.filter((one) => one.points.length);
    if (!told.length) return note(at("curves"), "No final model was measured.");
    const draw = figure(at("curves"), "learning_curves", "Final accuracy against labels");
    // Bars of many arms would hide each other: there a hover tells the range.
    note(at("curves"), `${many ? "A" : "Bars are the range over seeds; a"} star is a refresh of the features of at least half of the seeds.`);
    const refreshes = (one) => one.points.filter(([n]) => one.refreshed.includes(n));
    shown(draw, () => ({
      traces: told.flatMap((one) => [
        line(one.arm, one.points.map((p) => p[0]), one.points.map((p) => p[1]), {
          error_y: { visible: !many, type: "data", symmetric: false, array: one.points.map((p) => p[3] - p[1]), arrayminus: one.points.map((p) => p[1] - p[2]), thickness: 1 },
          customdata: one.points.map((p) => `${three(p[2])} to ${three(p[3])}, ${p[4]} ${p[4] === 1 ? "seed" : "seeds"}`),
          hovertemplate: "%{x:,} labels<br>accuracy %{y:.3f} (%{customdata})" }),
        ...(refreshes(one).length ? [{ ...line(one.arm, refreshes(one).map((p) => p[0]), refreshes(one).map((p) => p[1])), mode: "markers", showlegend: false,
          marker: { symbol: "star", size: 14, color: style(one.arm).colour }, hovertemplate: "refresh at %{x:,} labels" }] : []),
      ]),
      layout: { xaxis: { title: { text: "labels" } }, yaxis: { title: { text: "accuracy of final models" } } },
      header: ["arm", "labels", "mean", "low", "high", "seeds"], rows: told.flatMap((one) => one.points.map((p) => [one.arm, ...p])),
    }));
  }

  // Accuracy against cost, which follows the prices
  const KEYS = [["per_label", "a label, $"], ["gpu_hour", "a GPU-hour, $"], ["cpu_hour", "a core-hour, $"]];
  const start = data.model.prices;
  let prices = start ? { ...start } : { per_label: 0.04, gpu_hour: 2.5, cpu_hour: 0.04 };
  const inputs = new Map(), followers = [];
  const changed = () => !start || KEYS.some(([key]) => prices[key] !== start[key]);

  function costs() {
    const section = at("costs");
    if (!data.model.can) {
      note(section, "These runs do not tell their device-seconds round by round, so other prices cannot be tried.");
      return;
    }
    const fields = KEYS.map(([key, name]) => {
      const input = element("input", { type: "number", min: "0", step: "any", value: String(prices[key]), id: `price-${key}` });
      input.addEventListener("input", () => {
        const value = input.value === "" ? NaN : Number(input.value);
        if (!(value >= 0 && value <= 1e9)) return;
        prices[key] = value;
        history.replaceState(null, "", `#${KEYS.map(([k]) => `${k}=${prices[k]}`).join("&")}`);
        follow();
      });
      inputs.set(key, input);
      return element("label", {}, `Price of ${name} `, input);
    });
    section.append(element("div", { class: "controls" }, ...fields));
    if (!start) note(section, "The runs were charged by different prices, or do not tell them: the answer above is by their own until a price is changed here.");
    note(section, "A round's device-seconds go to sampling, training and evaluation as the dollars did that it was charged. The address of this page keeps the prices.");
    if (data.model.draws && data.model.draws < 1000) note(section, `For other prices, intervals are of ${data.model.draws} draws of test rows instead of 1,000.`);
    const draw = figure(section, "cost_curves", "Accuracy against total cost");
    const refill = table(section, "rankings", [{ name: "total cost" }, { name: "place", show: String }, { name: "arm" }, { name: "accuracy", show: three },
      { name: "behind by", show: three }, { name: "low", show: three }, { name: "high", show: three }, { name: "told apart" }], [], "Arms at the same total cost");
    const runs = () => data.model.runs.filter((run) => run.finals.length);
    const points = () => data.arms.map((arm, i) => {
      const ofArm = runs().filter((run) => run.arm === i), curves = ofArm.map((run) => costCurve(run, prices));
      const counts = [...new Set(ofArm.flatMap((run) => run.finals.map(([n]) => n)))].sort((a, b) => a - b);
      return [arm, counts.map((n) => {
        const having = ofArm.map((run, j) => [run.finals.find(([m]) => m === n), curves[j].get(n)]).filter(([found]) => found);
        return [n, mean(having.map(([, cost]) => cost)), mean(having.map(([found]) => found[1]))];
      })];
    }).filter(([, found]) => found.length);
    const rank = lazily(section);
    followers.push((found) => {
      draw(() => ({
        traces: points().map(([arm, p]) => line(arm, p.map((one) => one[1]), p.map((one) => one[2]), { customdata: p.map((one) => one[0]),
          hovertemplate: "$%{x:,.2f} in all<br>%{customdata:,} labels<br>accuracy %{y:.3f}" })),
        layout: { xaxis: { title: { text: "dollars for labels, choosing and one final model" } }, yaxis: { title: { text: "accuracy of final models" } } },
        header: ["arm", "labels", "dollars", "accuracy"], rows: points().flatMap(([arm, p]) => p.map((one) => [arm, ...one])),
      }));
      rank(() => refill(found().rankings.flatMap((one) => [[one.amount, 1, one.best, one.accuracy.mean, null, null, null, null],
        ...one.behind.map((o, i) => [one.amount, i + 2, o.arm, o.accuracy, ...(o.difference ? [o.difference.mean, finite(o.difference.low), finite(o.difference.high)] : [null, null, null]), o.apart ? "yes" : "no"])])));
    });
  }
  const finite = (value) => (Number.isFinite(value) ? value : null);

  function follow() {
    let known = null;
    // At the prices that were paid the page holds it.
    const found = () => (known ??= (data.model.can && changed() && asked && answer(data.model, data.arms, prices)) || data.answer);
    say(found().text);
    for (const one of followers) one(found);
  }
  let asked = false;
  function fromAddress() {
    const told = new URLSearchParams(location.hash.slice(1));
    for (const [key] of KEYS) {
      const value = Number(told.get(key));
      if (told.has(key) && told.get(key) !== "" && value >= 0 && value <= 1e9) { prices[key] = value; asked = true; if (inputs.has(key)) inputs.get(key).value = String(value); }
    }
  }

  // Labels and dollars for an accuracy
  function target() {
    const section = at("target"), runs = data.model.runs.filter((run) => run.finished && run.finals.length > 1);
    if (!runs.length) return note(section, "It takes final models at two label counts or more (training.evaluate_at=several).");
    const values = runs.flatMap((run) => run.finals.map(([, v]) => v));
    const given = data.savings.length ? data.savings[0].target : Math.floor(1000 * mean(values)) / 1000;
    const slider = element("input", { type: "range", id: "wanted", min: String(Math.floor(1000 * Math.min(...values)) / 1000),
      max: String(Math.ceil(1000 * Math.max(...values)) / 1000), step: "0.001", value: String(given) });
    const told = element("output", { for: "wanted" });
    section.append(element("div", { class: "controls" }, element("label", {}, "Accuracy of final models ", slider), told));
    const refill = table(section, "needed", [{ name: "arm" }, { name: "labels", show: whole }, { name: "dollars", show: dollars }, { name: "seeds that reach it" }, { name: "at most" }], [], "What an accuracy needs");
    const fill = () => {
      const wanted = Number(slider.value);
      told.textContent = three(wanted);
      refill(data.arms.map((arm, i) => {
        const ofArm = runs.filter((run) => run.arm === i), accuracies = (run) => run.finals.map(([, v]) => v);
        const reach = ofArm.filter((run) => accuracies(run).some((v) => v >= wanted));
        const labels = reach.map((run) => needed(run.finals.map(([n]) => n), accuracies(run), wanted));
        const paid = data.model.can ? reach.map((run) => { const curve = costCurve(run, prices); return needed(run.finals.map(([n]) => curve.get(n)), accuracies(run), wanted); }) : [];
        return [arm, labels.length ? mean(labels) : null, paid.length ? mean(paid) : null, `${reach.length} of ${ofArm.length}`, reach.some((run) => run.finals[0][1] > wanted) ? "yes" : "no"];
      }));
    };
    slider.addEventListener("input", fill);
    followers.push(fill);
  }

  function savings() {
    const section = at("savings"), told = data.savings.filter((one) => one.arm !== data.baseline && Object.keys(one.ratio).length);
    if (!told.length) return note(section, "There is no arm with random picks and a curve to hold the others against.");
    const percent = (value) => `${fixed(100 * value, 1)} %`;
    const seeds = [...new Set(told.flatMap((one) => Object.keys(one.ratio)))];
    table(section, "savings", [{ name: "accuracy", show: three }, { name: "arm" }, { name: "mean", show: percent }, { name: "low", show: percent }, { name: "high", show: percent },
      ...seeds.map((seed) => ({ name: `seed ${seed}`, show: percent })), { name: "at least" }],
    told.map((one) => [one.target, one.arm, mean(Object.values(one.ratio)), one.saved && one.saved[1], one.saved && one.saved[2],
      ...seeds.map((seed) => one.ratio[seed] ?? null), one.atMost ? "yes" : "no"]), "Share of labels saved against random picks");
  }

  const STAGES = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#6B6B6B"];
  function bars(section, name, title, groups, keys, unit, text, overlaid) {
    const draw = figure(section, name, title), arms = groups.map((one) => one.arm);
    shown(draw, () => ({
      traces: keys.map((key, i) => ({ type: "bar", orientation: "h", name: plain(key), y: arms.map((arm) => plain(arm)), x: groups.map((one) => one.values[key] ?? null),
        marker: { color: STAGES[i % 7], pattern: { shape: ["", "/", "x", ".", "-", "\\", "+"][i % 7], fgcolor: "#ffffff", fgopacity: 0.5, fillmode: "overlay" } }, hovertemplate: `%{y}<br>%{x${text}} ${unit}` })),
      layout: { barmode: overlaid ? "group" : "stack", height: Math.max(260, 120 + (overlaid ? 18 * keys.length : 26) * arms.length), xaxis: { title: { text: unit } }, yaxis: { autorange: "reversed", type: "category" } },
      header: ["arm", ...keys], rows: groups.map((one) => [one.arm, ...keys.map((key) => one.values[key] ?? null)]),
    }));
  }
  function sampling() {
    const told = data.sampling.map((one) => ({ arm: one.arm, values: one.seconds }));
    const keys = [...new Set(told.flatMap((one) => Object.keys(one.values)))];
    if (!keys.length) return note(at("sampling"), "These runs do not tell their seconds by stage.");
    bars(at("sampling"), "stages", "Time by stage", told, keys, "seconds, mean of a run", ":,.1f");
  }

  function indicator() {
    if (!data.indicator.length) return note(at("indicator"), "No run has asked an indicator.");
    const column = data.indicator.some((one) => one.points.some((p) => p[2] !== null)) ? 2 : 1;
    const draw = figure(at("indicator"), "indicator", "The indicator's course");
    note(at("indicator"), "A line a run; a star is a refresh, a thin level line a threshold.");
    const seen = new Set();
    const legend = (arm) => !seen.has(arm) && Boolean(seen.add(arm));
    shown(draw, () => {
      seen.clear();
      return {
        traces: data.indicator.map((one) => {
          const points = one.points.filter((p) => p[column] !== null);
          return { ...line(one.arm, points.map((p) => p[0]), points.map((p) => p[column]), { hovertemplate: `seed ${Number(one.seed)}<br>%{x:,} labels<br>%{y:.4g}` }), showlegend: legend(one.arm),
            marker: { color: style(one.arm).colour, symbol: points.map((p) => one.refreshed.includes(p[0]) ? "star" : style(one.arm).marker), size: points.map((p) => one.refreshed.includes(p[0]) ? 14 : 6) } };
        }),
        layout: { xaxis: { title: { text: "labels" } }, yaxis: { title: { text: column === 2 ? "LogME-PED" : "LogME" } },
          shapes: [...new Set(data.indicator.map((one) => one.threshold).filter((t) => typeof t === "number"))].map((t) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: t, y1: t, line: { width: 1, dash: "dot", color: "#888" } })) },
        header: ["arm", "seed", "labels", "logme", "logme_ped"], rows: data.indicator.flatMap((one) => one.points.map((p) => [one.arm, one.seed, ...p])),
      };
    });
  }

  const MOST_CLASSES = 40;
  // A row a class, a mark an arm.
  function dots(name, title, key, axis, names) {
    const told = data.classes.filter((one) => names.some((of) => of in one[key]));
    if (!told.length) return;
    const short = (text) => plain(text.length > 26 ? `${text.slice(0, 25)}…` : text);
    shown(figure(at("classes"), name, title), () => ({
      traces: told.map((one) => {
        const of = names.filter((each) => each in one[key]);
        return { ...line(one.arm, of.map((each) => one[key][each]), of.map((each) => names.indexOf(each))), mode: "markers",
          customdata: of.map(plain), hovertemplate: `%{customdata}<br>${axis} %{x:.1%}` };
      }),
      layout: { height: Math.max(320, 140 + 20 * names.length), xaxis: { title: { text: axis }, tickformat: ".0%", rangemode: "tozero" },
        yaxis: { tickvals: names.map((_, i) => i), ticktext: names.map(short), range: [names.length - 0.5, -0.5] } },
      header: ["arm", "class", axis], rows: told.flatMap((one) => names.map((each) => [one.arm, each, one[key][each] ?? null])),
    }));
  }
  function classes() {
    const names = [...new Set(data.classes.flatMap((one) => [...Object.keys(one.picks), ...Object.keys(one.recall)]))].sort();
    if (!names.length) return note(at("classes"), "These runs do not tell the labels of their picks.");
    const percent = (value) => `${fixed(100 * value, 1)} %`;
    const shares = new Map(data.classes.map((one) => [one.arm, one.picks]));
    const common = (name) => shares.has(data.baseline) ? shares.get(data.baseline)[name] ?? 0 : mean(data.classes.map((one) => one.picks[name] ?? 0));
    const ranked = [...names].sort((a, b) => common(b) - common(a)).slice(0, MOST_CLASSES);
    dots("class_balance", "Share of each class among the picks", "picks", "share of the picks", ranked);
    dots("class_recall", "Recall of each class, of final models", "recall", "recall", ranked);
    const few = names.length > ranked.length ? ` The ${ranked.length} commonest of ${names.length} classes are drawn.` : "";
    note(at("classes"), `A mark an arm, its mean over seeds; classes by their share in random picks, where there are any.${few}`);
    table(at("classes"), "classes", [{ name: "arm" }, { name: "class" }, { name: "share of picks", show: percent }, { name: "recall", show: three }],
      data.classes.flatMap((one) => names.map((name) => [one.arm, name, one.picks[name] ?? null, one.recall[name] ?? null])), "Class balance of the picks, and recall");
    if (!data.classes.some((one) => Object.keys(one.recall).length)) note(at("classes"), "Recall of a class is not told by these runs.");
  }

  function differences() {
    followers.push(differencesOf());
  }
  function differencesOf() {
    const section = at("differences");
    if (data.arms.length < 2) return note(section, "There is one arm."), () => {};
    if (!data.model.can) return note(section, "Without device-seconds, see rankings.csv beside this page."), () => {};
    const draw = figure(section, "differences", "Accuracy behind the best arm, with 95 % intervals");
    const hint = element("p", { class: "quiet" });
    section.append(hint);
    const when = lazily(section);
    return (found) => when(() => {
      const last = found().rankings.at(-1), told = last ? last.behind.filter((o) => o.difference && Number.isFinite(o.difference.low)) : [];
      hint.textContent = last ? `Held against ${last.best}, with ${last.amount}; an interval that holds zero tells nothing apart.` : "Nothing can be compared yet.";
      draw(() => ({
        traces: told.map((o) => ({ ...line(o.arm, [o.difference.mean], [plain(o.arm)], { error_x: { type: "data", symmetric: false, array: [o.difference.high - o.difference.mean], arrayminus: [o.difference.mean - o.difference.low] },
          hovertemplate: "%{x:.3f} behind" }), showlegend: false })),
        layout: { height: Math.max(220, 110 + 26 * told.length), xaxis: { title: { text: "accuracy behind the best" }, zeroline: true }, yaxis: { autorange: "reversed", type: "category" } },
        header: ["arm", "behind", "low", "high", "seeds"], rows: told.map((o) => [o.arm, o.difference.mean, o.difference.low, o.difference.high, o.difference.seeds]),
      }));
    });
  }

  function trials() {
    const seconds = (value) => value.toLocaleString("en", { maximumFractionDigits: 0 });
    const keys = ["arm", "seed", "state", "reason", "rounds", "labels", "accuracy", "computed", "reused", "cost"];
    const shows = { accuracy: three, cost: dollars, labels: whole, computed: seconds, reused: seconds };
    const heads = { computed: "seconds computed", reused: "seconds reused", cost: "dollars charged", accuracy: "final accuracy" };
    table(at("trials"), "trials", keys.map((key) => ({ name: heads[key] || key, show: shows[key] })), data.trials.map((one) => keys.map((key) => one[key])), "All trials");
  }

  function repeat() {
    const section = at("repeat");
    for (const { folder, calls } of data.repeat.commands) {
      if (!calls.length) note(section, `How ${folder} was called is not told: it was begun by an earlier version.`);
      else section.append(element("p", {}, `${folder} was called by`), element("pre", { tabindex: 0, class: "calls" },
        calls.map(([when, version, command]) => `# ${when}, asvp ${version}\n${command}`).join("\n")));
    }
    note(section, "Save an arm's configuration as arm.yaml (JSON is YAML too), and run it with each of its seeds: asvp run arm.yaml -s seed=SEED --out DIR");
    for (const one of data.repeat.versions) {
      const told = Object.entries(one).map(([name, version]) => `${name} ${version ?? "not told"}`).join(", ");
      section.append(element("p", {}, `Versions: ${told || "not told by some runs"}`));
    }
    for (const one of data.repeat.configs) {
      section.append(element("details", {}, element("summary", {}, `${one.arm}, seeds ${one.seeds.join(", ")}`), element("pre", { tabindex: 0 }, JSON.stringify(one.config, null, 2))));
    }
    if (data.repeat.leftOut) note(section, `Of ${data.repeat.leftOut} more arms, see config.yaml of their runs.`);
  }

  function rows() {
    if (data.rows) window.asvpRows(at("rows"), data.rows);
    else note(at("rows"), "Nothing of single rows was kept by these runs.");
  }

  const reload = document.querySelector("meta[name=asvp-reload]"), kept = window.asvpState.kept();
  if (kept) window.asvpShared.hidden = kept.hidden;
  if (reload) note(at("answer"), `Runs are at work. This page is of ${new Date(reload.dataset.written).toLocaleTimeString()}, and loads itself again.`);
  fromAddress();
  for (const section of [curves, costs, target, savings, sampling, indicator, classes, rows, differences, trials, repeat]) section();
  if (start) asked = true;
  for (const input of inputs.values()) input.addEventListener("input", () => { if (!asked) { asked = true; follow(); } });
  follow();
  window.addEventListener("hashchange", () => { fromAddress(); follow(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const draw of redrawn) draw(); follow(); });
  if (kept) window.asvpState.restore(kept);
  if (reload) window.asvpState.reloadAfter(Number(reload.content));
})();
