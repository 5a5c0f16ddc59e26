// The page: every section from the data it was written with.
(function () {
  "use strict";

  const { element, plain, look, figure, table, lazily } = window.asvpShared, { answer, costCurve, needed, fixed, dollars, mean } = window.asvpVerdict;
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const note = (section, text) => section.append(element("p", { class: "quiet" }, text));
  const three = (value) => fixed(value, 3), whole = (value) => (Math.round(value) || 0).toLocaleString("en");
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

  // Of a single value Plotly draws an axis that reaches far beyond accuracies, and of few labels it marks halves.
  const single = (values) => values.length > 0 && values.every((one) => one === values[0]);
  const around = (value, by, most) => ({ range: [Math.max(0, value - by), Math.min(most, value + by)] });
  const accuracyAxis = (values) => ({ title: { text: "accuracy of final models" }, ...(single(values) ? around(values[0], 0.05, 1) : {}) });
  const dollarAxis = (values) => ({ title: { text: "dollars for labels, choosing and one final model" },
    ...(single(values) ? around(values[0], values[0] / 2 || 1, Infinity) : {}) });
  function labelAxis(counts) {
    const least = Math.min(...counts), wide = Math.max(...counts) - least, title = { text: "labels" };
    if (single(counts)) return { title, tickvals: [least], ...around(least, least / 2 || 1, Infinity) };
    return wide < 20 ? { title, tick0: least, dtick: wide < 10 ? 1 : 2 } : { title };
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
      layout: { xaxis: labelAxis(told.flatMap((one) => one.points.map((p) => p[0]))), yaxis: accuracyAxis(told.flatMap((one) => one.points.flatMap((p) => p.slice(1, 4)))) },
      header: ["arm", "labels", "mean", "low", "high", "seeds"], rows: told.flatMap((one) => one.points.map((p) => [one.arm, ...p])),
    }));
  }

  // Accuracy against cost, which follows the prices
  const KEYS = [["per_label", "a label, $"], ["gpu_hour", "a GPU-hour, $"], ["cpu_hour", "a core-hour, $"]];
  const start = data.model.prices;
  let prices = start ? { ...start } : { per_label: 0.04, gpu_hour: 2.5, cpu_hour: 0.04 };
  const inputs = new Map(), followers = [];
  // A price that is none is said to be, and the last one that was stays.
  const wrong = element("p", { class: "wrong", id: "wrong-prices", role: "status" });
  function mark(input, right) {
    input.setAttribute("aria-invalid", String(!right));
    const names = KEYS.filter(([key]) => inputs.get(key).getAttribute("aria-invalid") === "true").map(([key, name]) => `${name.replace(", $", "")} (${dollars(prices[key])} still counts)`);
    wrong.textContent = names.length ? `A price is a number of dollars from 0 to 1,000,000,000; what is given is none for ${names.join(", ")}.` : "";
  }
  const changed = () => !start || KEYS.some(([key]) => prices[key] !== start[key]);

  function costs() {
    const section = at("costs");
    if (!data.model.can) {
      note(section, "These runs do not tell their device-seconds round by round, so other prices cannot be tried.");
      return;
    }
    const fields = KEYS.map(([key, name]) => {
      const input = element("input", { type: "number", min: "0", max: "1e9", step: "any", value: String(prices[key]), id: `price-${key}`, "aria-describedby": "wrong-prices" });
      input.addEventListener("input", () => {
        const value = input.value === "" ? NaN : Number(input.value), right = value >= 0 && value <= 1e9;
        mark(input, right);
        if (!right) return;
        prices[key] = value;
        history.replaceState(null, "", `#${KEYS.map(([k]) => `${k}=${prices[k]}`).join("&")}`);
        follow();
      });
      inputs.set(key, input);
      return element("label", {}, `Price of ${name} `, input);
    });
    section.append(element("div", { class: "controls" }, ...fields), wrong);
    if (!start) note(section, "The runs were charged by different prices, or do not tell them: the answer above is by their own until a price is changed here.");
    note(section, "A round's device-seconds go to sampling, training and evaluation as the dollars did that it was charged. The address of this page keeps the prices.");
    if (data.model.draws && data.model.draws < 1000) note(section, `For other prices, intervals are of ${data.model.draws} draws of test rows instead of 1,000.`);
    const draw = figure(section, "cost_curves", "Accuracy against total cost");
    // One seed has no interval: that of its test rows would look surer than one of two seeds.
    const oneSeed = (row) => (row[1] > 1 && row[7] === 1 ? "one seed" : "–");
    const refill = table(section, "rankings", [{ name: "total cost" }, { name: "place", show: String }, { name: "arm" }, { name: "accuracy", show: three },
      { name: "behind by", show: three }, { name: "low", show: three, missing: oneSeed }, { name: "high", show: three, missing: oneSeed }, { name: "seeds" }, { name: "told apart" }], [], "Arms at the same total cost");
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
      draw(() => {
        const told = points();
        return {
          traces: told.map(([arm, p]) => line(arm, p.map((one) => one[1]), p.map((one) => one[2]), { customdata: p.map((one) => one[0]),
            hovertemplate: "$%{x:,.2f} in all<br>%{customdata:,} labels<br>accuracy %{y:.3f}" })),
          layout: { xaxis: dollarAxis(told.flatMap(([, p]) => p.map((one) => one[1]))), yaxis: accuracyAxis(told.flatMap(([, p]) => p.map((one) => one[2]))) },
          header: ["arm", "labels", "dollars", "accuracy"], rows: told.flatMap(([arm, p]) => p.map((one) => [arm, ...one])),
        };
      });
      rank(() => refill(found().rankings.flatMap((one) => [[one.amount, 1, one.best, one.accuracy.mean, null, null, null, one.accuracy.seeds, null],
        ...one.behind.map((o, i) => [one.amount, i + 2, o.arm, o.accuracy, ...(o.difference ? [o.difference.mean, finite(o.difference.low), finite(o.difference.high), o.difference.seeds] : [null, null, null, 0]), o.apart ? "yes" : "no"])])));
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
      if (told.has(key) && told.get(key) !== "" && value >= 0 && value <= 1e9) { prices[key] = value; asked = true; if (inputs.has(key)) { inputs.get(key).value = String(value); mark(inputs.get(key), true); } }
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
    const oneSeed = (row) => (row.at(-1) === "no" && row.slice(5, -1).filter((ratio) => ratio !== null).length === 1 ? "one seed" : "–");
    table(section, "savings", [{ name: "accuracy", show: three }, { name: "arm" }, { name: "mean", show: percent }, { name: "low", show: percent, missing: oneSeed }, { name: "high", show: percent, missing: oneSeed },
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

  // Of each kind the place of its values in a point; the kinds that a policy compares have thresholds on their scale.
  const COURSES = [
    { key: "gap", place: 3, axis: "LogME-PED \u2212 LogME", title: "The gap between LogME-PED and LogME",
      policy: "logme_ped", clears: (noise) => `a gap that reaches it in two rounds in a row, or clears it by ${noise} in one, asks for a refresh` },
    { key: "fall", place: 4, axis: "fall of LogME from its best", title: "LogME's fall from its best on the same features",
      policy: "logme", clears: () => "a fall that reaches it asks for a refresh" },
    { key: "level", place: 1, axis: "LogME", title: "LogME", policy: null },
  ];
  function indicator() {
    const { runs, noise } = data.indicator, section = at("indicator");
    if (!runs.length) return note(section, "No run has asked an indicator.");
    // Runs whose policy compares neither are told by their gap where they have one.
    const kind = (one) => one.policy === "logme_ped" || (!one.policy && one.points.some((p) => p[3] !== null)) ? "gap" : one.policy === "logme" ? "fall" : "level";
    const told = COURSES.map((of) => [of, runs.filter((one) => kind(one) === of.key)]).filter(([, ofKind]) => ofKind.length);
    for (const [of, ofKind] of told) course(section, of, ofKind, noise);
    note(section, "A line a run; a star is a refresh, which is made after the reading that it stands at. refresh.min_labels, min_growth, min_left and max_refreshes may forbid one that a threshold asks for.");
  }
  function course(section, { key, place, axis, title, policy, clears }, runs, noise) {
    const draw = figure(section, `indicator_${key}`, title);
    const known = runs.map((one) => [one, one.points.filter((p) => p[place] !== null)]), counts = known.flatMap(([, points]) => points.map((p) => p[0]));
    const thresholds = [...new Set(runs.filter((one) => one.policy === policy).map((one) => one.threshold).filter((t) => t !== null))].sort((a, b) => a - b);
    const ends = single(counts) ? [counts[0] / 2, counts[0] * 1.5] : [Math.min(...counts), Math.max(...counts)];
    const named = (t) => String(Number(t.toPrecision(4))), names = thresholds.map(named).join(", "), told = thresholds.length === 1 ? "the threshold" : "an arm's threshold";
    note(section, !policy || !thresholds.length ? `${title}, which these runs compare with no threshold.` : !counts.length ? `These runs have too few readings for it so far; ${told} is ${names}.`
      : `${title}, which policy ${policy} compares with refresh.threshold. A thin level line is ${told} (${names}): ${clears(noise)}.`);
    const seen = new Set();
    const legend = (arm) => !seen.has(arm) && Boolean(seen.add(arm));
    // A line of its own and no shape, so that the axis reaches as far as it lies.
    const level = (t) => {
      const arms = [...new Set(runs.filter((one) => one.threshold === t).map((one) => one.arm))], own = thresholds.length > 1 && arms.length === 1;
      return { type: "scatter", mode: "lines", name: `threshold ${named(t)}`, x: ends, y: [t, t], showlegend: false, line: { width: 1, dash: "dot", color: own ? style(arms[0]).colour : "#888888" },
        hovertemplate: own ? `threshold ${named(t)} of ${plain(arms[0])}` : `threshold ${named(t)}` };
    };
    shown(draw, () => {
      seen.clear();
      return {
        traces: [...known.map(([one, points]) => ({
          ...line(one.arm, points.map((p) => p[0]), points.map((p) => p[place]), { hovertemplate: `seed ${Number(one.seed)}<br>%{x:,} labels<br>%{y:.4g}` }), showlegend: legend(one.arm),
          marker: { color: style(one.arm).colour, symbol: points.map((p) => one.refreshed.includes(p[0]) ? "star" : style(one.arm).marker), size: points.map((p) => one.refreshed.includes(p[0]) ? 14 : 6) } })),
        ...(counts.length ? thresholds.map(level) : [])],
        layout: { xaxis: labelAxis(counts), yaxis: { title: { text: axis } } },
        header: ["arm", "seed", "labels", "logme", "logme_ped", "gap", "fall", "threshold"], rows: runs.flatMap((one) => one.points.map((p) => [one.arm, one.seed, ...p, one.threshold])),
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
      const last = found().rankings.at(-1), told = last ? last.behind.filter((o) => o.difference) : [];
      const half = ({ mean, low, high }) => Number.isFinite(low) ? { error_x: { type: "data", symmetric: false, array: [high - mean], arrayminus: [mean - low] } } : {};
      const alone = told.some((o) => o.difference.seeds === 1) ? " One seed has no interval, and tells nothing apart." : "";
      hint.textContent = last ? `Held against ${last.best}, with ${last.amount}; an interval that holds zero tells nothing apart.${alone}` : "Nothing can be compared yet.";
      draw(() => ({
        traces: told.map((o) => ({ ...line(o.arm, [o.difference.mean], [plain(o.arm)], { ...half(o.difference),
          hovertemplate: "%{x:.3f} behind" }), showlegend: false })),
        layout: { height: Math.max(220, 110 + 26 * told.length), xaxis: { title: { text: "accuracy behind the best" }, zeroline: true }, yaxis: { autorange: "reversed", type: "category" } },
        header: ["arm", "behind", "low", "high", "seeds"], rows: told.map((o) => [o.arm, o.difference.mean, finite(o.difference.low), finite(o.difference.high), o.difference.seeds]),
      }));
    });
  }

  function trials() {
    const keys = ["arm", "seed", "state", "reason", "rounds", "labels", "accuracy", "computed", "reused", "cost"];
    const shows = { accuracy: three, cost: dollars, labels: whole, computed: whole, reused: whole };
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
