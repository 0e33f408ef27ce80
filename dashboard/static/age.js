// Ages in words and what they say about a value. The words are those of api/pages/times.py, which a test compares.

const DAY = 86400;
const HOUR = 3600;
const MINUTE = 60;

/** Seconds by which the centre's clock is ahead of this computer's. */
let ahead = 0;

/** Takes over the centre's clock from an ISO 8601 text. */
export function setClock(iso) {
  const time = Date.parse(iso);
  if (!Number.isNaN(time)) {
    ahead = (time - Date.now()) / 1000;
  }
}

/** The time at the centre, in seconds since 1970. */
export function now() {
  return Date.now() / 1000 + ahead;
}

function plural(count, noun) {
  return `${count.toLocaleString("en-GB")} ${noun}${count === 1 ? "" : "s"}`;
}

function coarse(seconds) {
  for (const [size, noun] of [[DAY, "day"], [HOUR, "hour"], [MINUTE, "minute"]]) {
    if (seconds >= 2 * size) {
      return plural(Math.floor(seconds / size), noun);
    }
  }
  return plural(Math.floor(seconds), "second");
}

/** How long ago, in the unit that two or more of fit. */
export function ageText(seconds) {
  if (seconds < -MINUTE) {
    return `${coarse(-seconds)} in the future`;
  }
  return seconds < 2 ? "just now" : `${coarse(seconds)} ago`;
}

/** The age in seconds of an ISO 8601 time; null where there is none. */
export function ageOf(iso) {
  const time = Date.parse(iso);
  return Number.isNaN(time) ? null : now() - time / 1000;
}

/** "fresh", "late", "stale" or "waiting", by the thresholds that the centre gave with the row. */
export function judge(age, lateAfter, staleAfter) {
  if (age === null) {
    return "waiting";
  }
  if (age <= lateAfter) {
    return "fresh";
  }
  return age <= staleAfter ? "late" : "stale";
}

const WORDS = { fresh: "Fresh", late: "Late", stale: "Stale", waiting: "No value yet" };

/** Sets an element's text only if it changes, so that assistive technology is left in peace. */
export function setText(element, text) {
  if (element && element.textContent !== text) {
    element.textContent = text;
  }
}

// Of a great many rows, those in or near the window are written to every second and the others more rarely, because
// each change lays out the table anew.
const MANY_ROWS = 500;
const RARELY = 15;
let ticks = 0;
const inSight = new Set();
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) {
      inSight.add(target);
      tickRow(target);
    } else {
      inSight.delete(target);
    }
  }
}, { rootMargin: "400px" });
const observed = new WeakSet();

function tickAge(element) {
  const age = ageOf(element.dateTime);
  if (age !== null) {
    setText(element, ageText(age));
  }
}

/** Brings the age and status of one row up to now. */
export function tickRow(row) {
  row.querySelectorAll("[data-age]").forEach(tickAge);
  const tag = row.querySelector("[data-status]");
  const kind = statusOf(row);
  const [fresh, late, stale] = (row.dataset.words || "").split(",");
  setText(tag, { fresh, late, stale }[kind] || WORDS[kind]);
  if (tag && !tag.classList.contains(`kb-status--${kind}`)) {
    tag.className = `kb-status kb-status--${kind}`;
  }
}

/** Brings ages and statuses up to now; to be called every second. */
export function tick() {
  const rows = document.querySelectorAll("[data-late-after]");
  for (const row of rows) {
    if (!observed.has(row)) {
      observed.add(row);
      observer.observe(row);
    }
  }
  for (const row of inSight) {
    if (!row.isConnected) {
      inSight.delete(row);
      observer.unobserve(row);
    }
  }
  ticks += 1;
  const all = rows.length <= MANY_ROWS || ticks % RARELY === 0;
  (all ? rows : inSight).forEach(tickRow);
  document.querySelectorAll(":not([data-late-after]) > td [data-age]").forEach(tickAge);
}

/** The status that a row shows at present. */
export function statusOf(row) {
  return judge(ageOf(row.dataset.time), +row.dataset.lateAfter, +row.dataset.staleAfter);
}

/** How many rows are in which state, as api/pages/presentation.py counts them. */
export function countText(rows) {
  const counts = { fresh: 0, late: 0, stale: 0, waiting: 0 };
  for (const row of rows) {
    counts[statusOf(row)] += 1;
  }
  if (rows.length > 0 && counts.fresh === rows.length) {
    return "All fresh";
  }
  const parts = Object.keys(counts).filter((kind) => counts[kind] > 0);
  return parts.map((kind) => `${counts[kind]} ${WORDS[kind].toLowerCase()}`).join(", ") || "No values";
}
