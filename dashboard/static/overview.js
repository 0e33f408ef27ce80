// The overview: values as they come, in the table and on the map.

import { countText, now, setText, statusOf } from "./age.js";
import { follow, showValue } from "./live.js";
import { makeMap } from "./map.js";
import { fetchPage, swap } from "./swap.js";

const REFETCH_SECONDS = 5;
const HOUR_SECONDS = 3600;
const INDEX_SECONDS = 60 + 180 * Math.random(); // after the full hour, each page at a time of its own

const overview = document.querySelector("[data-live-url]");
const map = makeMap(document.getElementById("map"));
let unknown = false;
let fetchedAt = 0;
let indexHour = Math.floor((now() - INDEX_SECONDS) / HOUR_SECONDS);

function siteStatus(rows) {
  const kinds = new Set(rows.map(statusOf));
  const all = (...allowed) => [...kinds].every((kind) => allowed.includes(kind));
  if (all("fresh")) {
    return "fresh";
  }
  return all("stale", "waiting") ? "stale" : "late";
}

function refresh() {
  const everything = [];
  for (const site of document.querySelectorAll("tbody[data-site]")) {
    const rows = [...site.querySelectorAll("tr[data-datastream]")];
    everything.push(...rows);
    const status = siteStatus(rows);
    site.dataset.state = status;
    setText(site.querySelector("[data-site-status]"), countText(rows));
    const mark = site.querySelector("[data-site-mark]");
    if (!mark.classList.contains(`kb-mark--${status}`)) {
      mark.className = `kb-mark kb-mark--${status}`;
    }
  }
  setText(document.querySelector("[data-counts]"), countText(everything));
  map.update();
  const hour = Math.floor((now() - INDEX_SECONDS) / HOUR_SECONDS);
  if (hour > indexHour && document.querySelector("[data-air]")) {
    unknown = true; // there are new air quality indices
  }
  indexHour = hour;
  if (unknown && performance.now() - fetchedAt > REFETCH_SECONDS * 1000) {
    unknown = false;
    fetchedAt = performance.now();
    fetchPage(location.href).then(swap).then(map.rebuild).catch(() => { unknown = true; });
  }
}

function onValues(values) {
  const filter = new URLSearchParams(location.search).get("property");
  for (const value of values) {
    // A value without a row is of a site or datastream that is new, unless the page was asked to leave it out.
    if (!showValue(value) && !filter) {
      unknown = true;
    }
  }
}

follow(overview.dataset.liveUrl, { onValues, onTick: refresh });
