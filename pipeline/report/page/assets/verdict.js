// The answer for other prices, as pipeline/report/{rankings,prices,verdict,intervals}.py compute it, which is the
// reference: what is said here has to be the same to the letter.
(function () {
  "use strict";

  // A number as `fixed` of tables.py prints it: a tie between two ends goes to the even one, and zero has no sign.
  function fixed(value, digits) {
    const exact = Math.abs(value).toFixed(100 - (Math.abs(value) >= 1e6 ? 20 : 0));
    const cut = exact.indexOf(".") + 1 + digits, rest = exact.slice(cut);
    let text = Math.abs(value).toFixed(digits);
    if (/^50*$/.test(rest)) {
      const down = exact.slice(0, digits ? cut : cut - 1);
      if (Number(down[down.length - 1]) % 2 === 0) text = down;
    }
    return (value < 0 && /[1-9]/.test(text) ? "-" : "") + text;
  }
  const grouped = (text) => text.replace(/^(-?\d+)/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ","));
  const dollars = (value) => `$${grouped(fixed(value, 2))}`;
  const count = (value) => grouped(fixed(value, 0));
  const three = (value) => fixed(value, 3);
  const mean = (values) => values.reduce((sum, one) => sum + one, 0) / values.length;
  const list = (names) => names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}` : names[0];
  const are = (names) => (names.length === 1 ? "is" : "are");

  // Student's t: the 97.5 % quantile, by bisection on the incomplete beta function.
  function logGamma(x) {
    if (x < 15) return logGamma(x + 1) - Math.log(x);
    const y = 1 / (x * x);
    return (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI)
      + (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y / 1188)))) / x;
  }
  function fraction(x, a, b) {
    let c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (Math.abs(d) < 1e-300 ? 1e-300 : d);
    let h = d;
    for (let m = 1; m < 5000; m++) {
      for (const term of [m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
        -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))]) {
        d = 1 + term * d; d = 1 / (Math.abs(d) < 1e-300 ? 1e-300 : d);
        c = 1 + term / c; if (Math.abs(c) < 1e-300) c = 1e-300;
        h *= d * c;
        if (Math.abs(d * c - 1) < 1e-16) return h;
      }
    }
    return h;
  }
  function beta(x, a, b) {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * fraction(x, a, b) / a : 1 - front * fraction(1 - x, b, a) / b;
  }
  const NORMAL = 1.959963984540054, SURE = 1e6;
  const known = new Map();
  function student(freedom) {
    // Beyond this the first terms of the expansion around the normal are exact to twelve digits.
    const z = NORMAL;
    if (freedom >= 2000) return z + (z ** 3 + z) / (4 * freedom) + (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * freedom ** 2)
      + (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * freedom ** 3);
    if (!known.has(freedom)) {
      let low = 1, high = 1e6;
      for (let i = 0; i < 200 && high - low > 1e-14 * high; i++) {
        const middle = (low + high) / 2;
        if (beta(freedom / (freedom + middle * middle), freedom / 2, 0.5) > 0.05) low = middle; else high = middle;
      }
      known.set(freedom, (low + high) / 2);
    }
    return known.get(freedom);
  }

  function rowsBlur(draws) {
    if (!draws.length) return [0, 0];
    const seeds = draws.length, kept = [];
    for (let d = 0; d < draws[0].length; d++) if (draws.every((one) => !Number.isNaN(one[d]))) kept.push(d);
    if (kept.length < draws[0].length / 2) return [0, 0];
    const centred = draws.map((one) => {
      const values = kept.map((d) => one[d]), middle = mean(values);
      return values.map((value) => value - middle);
    });
    const product = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0) / (kept.length - 1);
    const trace = centred.reduce((sum, one) => sum + product(one, one), 0), one = trace / seeds;
    if (seeds === 1) return [one, 0];
    let off = 0;
    for (let i = 0; i < seeds; i++) for (let j = 0; j < i; j++) off += 2 * product(centred[i], centred[j]);
    const shared = Math.max(0, off / (seeds * (seeds - 1)));
    return [shared, Math.max(0, one - shared)];
  }
  function interval(values, draws) {
    const seeds = values.length, middle = mean(values);
    const between = seeds > 1 ? values.reduce((sum, one) => sum + (one - middle) ** 2, 0) / (seeds - 1) : NaN;
    const [shared, alone] = rowsBlur(draws);
    const half = (n) => {
      if (Number.isNaN(between)) return Infinity;
      const rows = student(SURE) * Math.sqrt(shared + alone / n), ofSeeds = between / n, whole = ofSeeds + shared;
      const freedom = ofSeeds === 0 ? SURE : Math.min(SURE, (n - 1) * (whole / ofSeeds) ** 2);
      return Math.max(rows, student(freedom) * Math.sqrt(whole));
    };
    const width = half(seeds), low = middle - width, high = middle + width;
    const tells = !(low <= 0 && 0 <= high);
    return {
      mean: middle, low, high, seeds, tells,
      hidden: Math.abs(middle) <= student(SURE) * Math.sqrt(shared),
      more() {
        if (seeds < 2 || tells) return null;
        for (let n = seeds + 1; n <= 200; n++) if (half(n) < Math.abs(middle)) return n - seeds;
        return null;
      },
    };
  }

  // Runs, with what they cost at the prices.
  function unpack(model) {
    for (const run of model.runs) {
      if (!run.draws || typeof run.draws !== "string") continue;
      const bytes = Uint8Array.from(atob(run.draws), (sign) => sign.charCodeAt(0));
      const numbers = new DataView(bytes.buffer), width = run.finals.length;
      run.draws = Array.from({ length: model.draws }, (_, d) =>
        Array.from({ length: width }, (_, p) => numbers.getUint16(2 * (d * width + p), true) / model.scale));
    }
  }
  function costCurve(run, prices) {
    let spent = 0;
    const curve = new Map();
    for (const [labelled, bought, ...used] of run.rounds) {
      const labels = bought * prices.per_label;
      const [s, t, e] = [0, 2, 4].map((i) => (used[i] * prices.cpu_hour + used[i + 1] * prices.gpu_hour) / 3600);
      const total = labels + (s + t + e);
      spent += total - t - e;
      curve.set(labelled, spent + t);
    }
    return curve;
  }
  function weights(amounts, amount) {
    const found = amounts.map(() => 0), last = amounts.length - 1;
    if (amount >= amounts[last]) found[last] = 1;
    else if (amount < amounts[0]) found[0] = 1;
    else {
      let j = 0;
      while (amounts[j + 1] <= amount) j++;
      const gap = amounts[j + 1] - amounts[j];
      found[j] = (-1 / gap) * (amount - amounts[j]) + 1;
      found[j + 1] = (1 / gap) * (amount - amounts[j]);
    }
    return found;
  }
  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const points = (run) => run.finals.map(([labelled]) => labelled);
  function needed(amounts, accuracies, target) {
    const after = accuracies.findIndex((value) => value >= target);
    if (after < 0) return NaN;
    if (after === 0) return amounts[0];
    const step = accuracies[after] - accuracies[after - 1];
    return amounts[after - 1] + (target - accuracies[after - 1]) / (step || 1) * (amounts[after] - amounts[after - 1]);
  }

  function group(runs, arms) {
    const found = new Map(arms.map((arm) => [arm, []]));
    for (const run of runs) found.get(arms[run.arm]).push(run);
    for (const arm of arms) if (!found.get(arm).length) found.delete(arm);
    return found;
  }

  function rankings(runs, arms, prices, drawn) {
    const told = group(runs.filter((run) => run.finals.length), arms);
    if (!told.size) return [];
    const all = [...told.values()].flat(), curves = new Map(all.map((run) => [run, costCurve(run, prices)]));
    const free = !all.some((run) => [...curves.get(run).values()].some((cost) => cost));
    const spent = new Map(all.map((run) => [run, new Map([...curves.get(run)].map(([labelled, cost]) =>
      [labelled, free ? labelled : Number(fixed(cost, 2))]))]));
    const common = points(all[0]).filter((n) => all.every((run) => points(run).includes(n)));
    let amounts;
    if (!common.length) {
      amounts = [[Math.max(...[...told.values()].map((runs) => mean(runs.map((run) => spent.get(run).get(points(run).at(-1)))))), null]];
    } else {
      const paid = (n) => [...told.values()].map((runs) => mean(runs.map((run) => spent.get(run).get(n))));
      const first = Math.max(...paid(common[0]));
      amounts = [[first, common[0]], ...common.slice(1).map((n) => [Math.min(...paid(n)), n]).filter(([a]) => a > first)];
    }
    return amounts.map(([amount, labelled]) => {
      const at = new Map(all.map((run) => {
        const w = weights(points(run).map((n) => spent.get(run).get(n)), amount);
        return [run, { value: dot(run.finals.map(([, v]) => v), w), draws: drawn ? run.draws.map((one) => dot(one, w)) : null }];
      }));
      const accuracy = (arm) => mean(told.get(arm).map((run) => at.get(run).value));
      const [best, ...others] = [...told.keys()].sort((a, b) => accuracy(b) - accuracy(a));
      const behind = others.map((arm) => {
        const pairs = told.get(best).map((run) => [run, told.get(arm).find((other) => other.seed === run.seed)]).filter(([, o]) => o);
        const difference = pairs.length ? interval(pairs.map(([a, b]) => at.get(a).value - at.get(b).value),
          drawn ? pairs.map(([a, b]) => at.get(a).draws.map((v, d) => v - at.get(b).draws[d])) : []) : null;
        return { arm, accuracy: accuracy(arm), difference, apart: Boolean(difference && difference.tells && Math.abs(difference.mean) >= 0.001) };
      });
      const reached = interval(told.get(best).map((run) => at.get(run).value), drawn ? told.get(best).map((run) => at.get(run).draws) : []);
      const amountText = !free || labelled === null ? dollars(free ? 0 : amount) : `${count(labelled)} labels`;
      return { cost: free ? 0 : amount, labelled, best, accuracy: reached, behind, amount: amountText,
        equals: behind.filter((one) => !one.apart).map((one) => one.arm) };
    });
  }

  const told = (found) => `${three(found.mean)} (${found.seeds === 1 ? "one seed" : `mean of ${found.seeds} seeds`})`;
  function doubt(found) {
    if (Math.abs(found.mean) < 0.0005) return "as good";
    const more = found.more();
    const would = more !== null ? `about ${more} more seed${more === 1 ? "" : "s"} would tell`
      : found.hidden && found.mean ? "more test rows would be needed to tell, not seeds" : "not even 200 seeds would tell";
    return `${three(found.mean)} behind; ${would}`;
  }
  function bestSaid(one) {
    const nobody = one.equals.length === one.behind.length ? "no arm is told apart as the best; " : "";
    return `With ${one.amount}${one.cost ? " in all (labels and compute)" : ""} ${nobody}${one.best} is `
      + `${one.equals.length ? "first" : "best"}: its final models reach ${told(one.accuracy)}.`;
  }
  function behindSaid(one) {
    const compared = one.behind.filter((other) => other.difference), said = [];
    const worse = compared.filter((o) => o.apart).map(({ arm, difference: d }) =>
      `${arm} (by ${three(d.mean)}, 95 % interval ${three(d.low)} to ${three(d.high)})`);
    const doubts = compared.filter((o) => !o.apart && o.difference.seeds > 1).map((o) => `${o.arm} (${doubt(o.difference)})`);
    const single = compared.filter((o) => o.difference.seeds === 1).map((o) => o.arm);
    const apart = one.behind.filter((o) => !o.difference).map((o) => o.arm);
    if (worse.length) said.push(`Behind it ${are(worse)} ${list(worse)}.`);
    if (doubts.length) said.push(`Not told apart from it: ${list(doubts)}.`);
    if (single.length) said.push(`One seed tells nothing apart (${list(single)}): run three or more.`);
    if (apart.length) said.push(`Without a seed in common with it, and so not compared: ${list(apart)}.`);
    return said;
  }
  function cheapestSaid(done, prices, drawn) {
    const runs = [...done.values()].flat();
    if (!runs.every((run) => run.finals.length > 1)) {
      return "What an accuracy costs is not known: it takes final models at two label counts or more for every run (training.evaluate_at=several).";
    }
    const target = Math.floor(Math.min(...runs.map((run) => Math.max(...run.finals.map(([, v]) => v)))) * 1000) / 1000;
    const found = [...done].map(([arm, ofArm]) => {
      const paid = new Map(), draws = new Map();
      for (const run of ofArm) {
        const curve = costCurve(run, prices), costs = points(run).map((n) => curve.get(n));
        paid.set(run.seed, needed(costs, run.finals.map(([, v]) => v), target));
        if (drawn) draws.set(run.seed, run.draws.map((one) => needed(costs, one, target)));
      }
      const atMost = ofArm.some((run) => run.finals[0][1] > target), middle = mean([...paid.values()]);
      return { arm, paid, draws, atMost, mean: middle, cents: Number(fixed(middle, 2)), text: `${atMost ? "at most " : ""}${dollars(middle)}` };
    }).sort((a, b) => a.cents - b.cents);
    const [first, ...others] = found;
    if (!found.at(-1).mean) return null;
    if (found.at(-1).cents === first.cents) return `Every run reaches ${three(target)}, and all arms pay the same for it, ${first.text}.`;
    const dearer = (one) => {
      const seeds = [...one.paid.keys()].filter((seed) => first.paid.has(seed));
      if (!seeds.length || one.atMost) return false;
      const more = interval(seeds.map((s) => one.paid.get(s) - first.paid.get(s)),
        drawn ? seeds.map((s) => one.draws.get(s).map((v, d) => v - first.draws.get(s)[d])) : []);
      return more.tells && more.mean >= 0.005;
    };
    const against = others.map((one) => `${one.text} for ${one.arm}${dearer(one) ? "" : " (not told apart)"}`);
    return `Every run reaches ${three(target)}; ${first.arm} pays the least in all for it, ${first.text}, against ${list(against)}.`;
  }

  // The answer: `text`, and the `rankings` it was taken from; null where no prices would change what is said.
  function answer(model, arms, prices) {
    unpack(model);
    const finished = model.runs.filter((run) => run.finished), stopped = model.runs.filter((run) => run.stopped);
    const unfinished = model.runs.length - finished.length - stopped.length;
    const done = group(finished, arms), everyone = group(model.runs, arms);
    if (!done.size || (unfinished && done.size < Math.min(2, everyone.size))) return null;
    const ranked = rankings(finished, arms, prices, model.draws > 0);
    if (!ranked.length) return null;
    const last = ranked.at(-1);
    const said = unfinished ? [`Provisional, as ${unfinished} of ${model.runs.length} runs ${unfinished === 1 ? "is" : "are"} not finished.`] : [];
    if (!last.behind.length) {
      const labels = new Set(done.get(last.best).filter((run) => run.finals.length).map((run) => points(run).at(-1)));
      said.push(`${last.best}: final models reach ${told(last.accuracy)}${labels.size === 1 ? ` with ${count([...labels][0])} labels` : ""}, `
        + `for ${dollars(last.cost)} in all (labels and compute).`);
    } else {
      said.push(bestSaid(last), ...behindSaid(last));
      const less = ranked.slice(0, -1).map((one) => `with ${one.amount} ${one.best} (${three(one.accuracy.mean)}`
        + `${one.equals.length ? `, not told apart from ${list(one.equals)}` : ""})`);
      if (less.length) said.push(`For less: ${less.join("; ")}.`);
      const cheapest = cheapestSaid(done, prices, model.draws > 0);
      if (cheapest) said.push(cheapest);
    }
    const missing = [...done.keys()].filter((arm) => arm !== last.best && !last.behind.some((o) => o.arm === arm));
    if (missing.length) said.push(`${list(missing)} ${missing.length === 1 ? "has" : "have"} no final model.`);
    if (last.labelled === null && last.behind.length) said.push("The arms have no label count in common: each is taken at its end.");
    const cut = group(stopped, arms), out = [...cut.keys()].filter((arm) => !done.has(arm));
    if (out.length) said.push(`Stopped early, and so not in the answer: ${list(out)}.`);
    const partly = [...cut].filter(([arm]) => done.has(arm)).map(([arm, runs]) => `${arm} (${runs.length} of ${runs.length + done.get(arm).length} seeds)`);
    if (partly.length) said.push(`Told of by the seeds that were not stopped early, and better for it: ${list(partly)}.`);
    return { text: said.join(" "), rankings: ranked };
  }

  window.asvpVerdict = { answer, costCurve, needed, fixed, dollars, count, mean, group };
})();
