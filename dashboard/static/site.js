// One site: values as they come, and charts whose span is always the one in the address.

import { drawCharts, redrawCharts } from "./chart.js";
import { follow, showValue } from "./live.js";
import { fetchPage, swap } from "./swap.js";

const FOLLOW_SECONDS = 10;

const now = document.querySelector("[data-live-url]");
const plots = document.getElementById("plots");
let asked = null;
let dirty = false;
let fetchedAt = performance.now();

/** Shows the view at `url`, which is the page the server would give for it. */
async function show(url, { push }) {
  asked?.abort();
  const mine = new AbortController();
  asked = mine;
  try {
    const page = await fetchPage(url, mine.signal);
    if (push) {
      history.pushState(null, "", url);
    }
    fetchedAt = performance.now();
    swap(page);
    Object.assign(plots.dataset, page.getElementById("plots").dataset);
    redrawCharts();
  } catch (error) {
    if (error.name !== "AbortError") {
      location.assign(url); // the server's own page says what is wrong
    }
  }
}

/** Shows a span given in seconds since 1970. */
function go(start, end) {
  const iso = (seconds) => new Date(Math.round(seconds) * 1000).toISOString().replace(".000Z", "Z");
  const query = new URLSearchParams({ from: iso(start), to: iso(end) });
  show(`${location.pathname}?${query}`, { push: true });
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-view]");
  if (link && event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey) {
    event.preventDefault();
    show(link.href, { push: true });
  }
});
window.addEventListener("popstate", () => show(location.href, { push: false }));

function onTick() {
  const due = performance.now() - fetchedAt > FOLLOW_SECONDS * 1000;
  if (dirty && due && plots?.dataset.following === "yes" && !document.hidden) {
    dirty = false;
    fetchedAt = performance.now();
    fetchPage(location.href).then((page) => {
      if (plots.dataset.following === "yes") {
        swap(page);
        Object.assign(plots.dataset, page.getElementById("plots").dataset);
        redrawCharts();
      }
    }).catch(() => { dirty = true; });
  }
}

if (now) {
  drawCharts(go);
  follow(now.dataset.liveUrl, {
    onValues: (values) => {
      dirty = values.map(showValue).some(Boolean) || dirty;
    },
    onTick,
  });
}
