// A page of runs that are at work loads itself again, and is then as its reader had left it: what was typed, chosen,
// sorted, opened and hidden, and the place on the page. Prices are in the address, which stays.
(function () {
  "use strict";

  const KEY = `asvp ${location.pathname}`, QUIET = 5000, AGAIN = 2000;
  const sections = () => [...document.querySelectorAll("main > section")];
  const controls = (section) => [...section.querySelectorAll("input:not([id^=price-]), select")];
  const sorted = (section) => [...section.querySelectorAll("th[aria-sort]")];

  function left() {
    const kept = { sections: {}, hidden: {} };
    for (const section of sections()) {
      kept.sections[section.id] = {
        values: controls(section).map((one) => one.value),
        opened: [...section.querySelectorAll("details")].map((one) => one.open),
        sorted: sorted(section).map((head) => head.getAttribute("aria-sort")),
        scrolled: [...section.querySelectorAll(".wide, .rows-wide")].map((one) => [one.scrollLeft, one.scrollTop]),
      };
    }
    for (const figure of document.querySelectorAll(".figure")) {
      const hidden = (figure.data || []).filter((trace) => trace.visible === "legendonly").map((trace) => trace.name);
      if (hidden.length) kept.hidden[figure.id] = hidden;
    }
    // The place is told from the section that is being read: those above it may be longer than before.
    const read = sections().filter((one) => one.getBoundingClientRect().top <= 1).at(-1);
    kept.place = read ? [read.id, -read.getBoundingClientRect().top] : null;
    return kept;
  }

  function restore(kept) {
    for (const section of sections()) {
      const was = kept.sections[section.id];
      if (!was) continue;
      section.querySelectorAll("details").forEach((one, i) => { one.open = was.opened[i] ?? one.open; });
      controls(section).forEach((one, i) => {
        if (was.values[i] === undefined || was.values[i] === one.value) return;
        const before = one.value;
        one.value = was.values[i];
        // What was chosen may be there no more.
        if (one.value === "" && was.values[i] !== "") one.value = before;
        else one.dispatchEvent(new Event(one.tagName === "SELECT" ? "change" : "input"));
      });
      sorted(section).forEach((head, i) => {
        const clicks = { ascending: 1, descending: 2 }[was.sorted[i]] || 0;
        for (let click = 0; click < clicks; click += 1) head.querySelector("button").click();
      });
      section.querySelectorAll(".wide, .rows-wide").forEach((one, i) => {
        if (was.scrolled[i]) [one.scrollLeft, one.scrollTop] = was.scrolled[i];
      });
    }
    const read = kept.place && document.getElementById(kept.place[0]);
    if (read) window.scrollTo(0, read.getBoundingClientRect().top + window.scrollY + kept.place[1]);
  }

  // What was kept before this page was loaded again, once.
  function kept() {
    try {
      const told = sessionStorage.getItem(KEY);
      sessionStorage.removeItem(KEY);
      return told ? JSON.parse(told) : null;
    } catch {
      return null;
    }
  }

  function reloadNow() {
    try {
      sessionStorage.setItem(KEY, JSON.stringify(left()));
      history.scrollRestoration = "manual";
    } catch {
      // Where nothing can be kept the page begins anew.
    }
    location.reload();
  }

  function reloadAfter(seconds) {
    let touched = -Infinity;
    for (const kind of ["input", "pointerdown", "keydown"]) addEventListener(kind, () => { touched = performance.now(); }, true);
    const due = () => {
      const busy = performance.now() - touched < QUIET || !getSelection().isCollapsed;
      if (busy || document.hidden) {
        setTimeout(due, AGAIN);
        return;
      }
      reloadNow();
    };
    // A page that takes long to open opens seldom.
    setTimeout(due, Math.max(1000 * seconds, 10 * performance.now()));
  }

  window.asvpState = { kept, restore, reloadNow, reloadAfter };
})();
