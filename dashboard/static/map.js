// The map: council boundaries, and the sites of the table beside it with the value that stands for each.

import { setText } from "./age.js";

/* global L */

const MEMBER = { color: "#3d7f84", weight: 2, fillColor: "#d8ebe9", fillOpacity: 1 };
const SIDES = ["right", "left", "above", "below", "above-left", "above-right", "below-left", "below-right"];
const TRIES = 4;
const SAME_DECIMALS = 5; // of a degree: about a metre, as in api/pages/boundaries.py
const MOST_LABELS = 60; // beyond, a label shows when its mark is pointed at or has the focus
const NEIGHBOUR = { color: "#b5c2c5", weight: 1, fillColor: "#f8faf9", fillOpacity: 1 };

function siteRows() {
  return [...document.querySelectorAll("tbody[data-site]")].filter((row) => row.dataset.longitude !== "");
}

function element(name, className, ...children) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...children);
  return made;
}

function headlineOf(site) {
  const row = document.getElementById(`v${site.dataset.headline}`);
  const value = row?.querySelector("[data-value]").textContent ?? "";
  const unit = row?.querySelector(".kb-unit:not([hidden])")?.textContent ?? "";
  return { label: site.dataset.headlineLabel, text: `${value} ${unit}`.trim() };
}

/** The index that the table tells of a site, e.g. "Index 2, Low"; "" where it tells none. */
function indexOf(site) {
  return site.querySelector("[data-air]")?.dataset.air ?? "";
}

function stateOf(site) {
  return site.querySelector("[data-site-status]").textContent;
}

function linkTo(site) {
  const link = document.createElement("a");
  link.href = `/sites/${site.dataset.site}`;
  link.textContent = `${site.dataset.name} over time`;
  return link;
}

/** What is told of sites at one point: all of one, or a list of several. */
function popupOf(sites) {
  if (sites.length === 1) {
    return popupOfOne(sites[0]);
  }
  const heading = document.createElement("h3");
  heading.textContent = `${sites.length} sites at this place`;
  const list = document.createElement("ul");
  for (const site of sites) {
    const { label, text } = headlineOf(site);
    const told = [`${label} ${text}`, indexOf(site), stateOf(site)].filter(Boolean).join(". ");
    const entry = document.createElement("li");
    entry.append(linkTo(site), element("p", "", told));
    list.append(entry);
  }
  return element("div", "kb-popup", heading, list);
}

function popupOfOne(site) {
  const list = document.createElement("dl");
  for (const row of site.querySelectorAll("tr[data-datastream]")) {
    const unit = row.querySelector(".kb-unit:not([hidden])")?.textContent ?? "";
    list.append(
      element("dt", "", row.querySelector("th").textContent.trim()),
      element("dd", "", `${row.querySelector("[data-value]").textContent} ${unit}`.trim()),
    );
  }
  const heading = document.createElement("h3");
  heading.textContent = site.dataset.name;
  const index = site.querySelector("[data-air]")?.textContent ?? "";
  return element("div", "kb-popup", heading, list, element("p", "", index), element("p", "", stateOf(site)), linkTo(site));
}

/** Turns the still map in `box` into one that moves; returns what keeps it in step with the table. */
export function makeMap(box) {
  box.replaceChildren();
  const map = L.map(box, {
    attributionControl: false, // stands beneath the map, always readable
    scrollWheelZoom: false, // the wheel belongs to the page
    zoomSnap: 0.25,
    fadeAnimation: false,
    zoomAnimation: false,
    markerZoomAnimation: false,
    inertia: false,
  });
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", "Map of the sites; the table holds all that it shows");
  const markers = new Map();

  function bounds() {
    const places = siteRows().map((site) => [+site.dataset.latitude, +site.dataset.longitude]);
    return places.length ? L.latLngBounds(places).pad(0.02) : L.latLngBounds([[51.3, -0.5], [51.7, 0.3]]);
  }

  /** Adds the mark of one place; sites at the same point would cover each other and share one. */
  function add(place, sites) {
    const mark = element("span", "kb-mark");
    const count = element("span", "kb-site-mark__count", `${sites.length}`);
    const name = sites.length === 1 ? sites[0].dataset.name : `${sites.length} sites`;
    const value = element("b", "");
    const index = element("span", "kb-site-mark__index");
    const label = element("span", "kb-site-mark__label", `${name} `, value, index);
    const icon = L.divIcon({ className: "kb-site-mark", html: element("span", ""), iconSize: [24, 24] });
    const [first] = sites;
    const marker = L.marker([+first.dataset.latitude, +first.dataset.longitude], { icon, keyboard: true, riseOnHover: true });
    const ids = sites.map((site) => site.dataset.site);
    marker.bindPopup(() => popupOf(ids.map(findSite)), { maxWidth: 300, minWidth: 200 });
    marker.addTo(map);
    const own = marker.getElement();
    own.replaceChildren(mark, ...(sites.length > 1 ? [count] : []), label);
    own.setAttribute("role", "button");
    marker.on("popupopen", (event) => {
      const popup = event.popup.getElement();
      popup.querySelector("a[href^='/']")?.focus();
      popup.onkeydown = (key) => { // returns nothing: false would take Tab and Enter away
        if (key.key === "Escape") {
          marker.closePopup();
        }
      };
    });
    // What had the focus is gone with the popup, unless it was left for something else before.
    marker.on("popupclose", () => [null, document.body].includes(document.activeElement) && own.focus());
    markers.set(place, { marker, own, mark, value, index, label, ids });
  }

  function findSite(id) {
    return document.getElementById(`site-${id}`);
  }

  function describe(site) {
    const { label, text } = headlineOf(site);
    return [`${site.dataset.name}: ${label} ${text}`, indexOf(site), stateOf(site)].filter(Boolean).join(". ");
  }

  function update() {
    for (const { own, mark, value, index, ids } of markers.values()) {
      const sites = ids.map(findSite);
      const states = new Set(sites.map((site) => site.dataset.state ?? "fresh"));
      const status = states.size === 1 ? [...states][0] : "late";
      if (sites.length === 1) {
        const { label, text } = headlineOf(sites[0]);
        setText(value, `${label} ${text}`);
        setText(index, indexOf(sites[0]));
      }
      const told = sites.map(describe).join("; ");
      const name = sites.length === 1 ? told : `${sites.length} sites at one place. ${told}`;
      if (own.getAttribute("aria-label") !== name) {
        own.setAttribute("aria-label", name);
      }
      mark.className = `kb-mark kb-mark--${status}`;
      own.classList.toggle("kb-site-mark--stale", status === "stale");
    }
  }

  /** Whether a label covers no other mark and nothing in `taken`, and stays on the map. */
  function isFree({ mark, label }, taken, frame) {
    const self = mark.getBoundingClientRect();
    const rect = label.getBoundingClientRect();
    return rect.left >= frame.left && rect.right <= frame.right && rect.top >= frame.top && rect.bottom <= frame.bottom &&
      !taken.some((other) =>
        (other.left !== self.left || other.top !== self.top) &&
        rect.left < other.right && other.left < rect.right && rect.top < other.bottom && other.top < rect.bottom);
  }

  /** Puts one label on the first side where it is free; false if there is none. */
  function placeOne(one, taken, frame) {
    const { own, label } = one;
    own.classList.remove("kb-site-mark--crowded");
    const found = SIDES.some((side) => {
      SIDES.forEach((other) => own.classList.toggle(`kb-site-mark--${other}`, other === side));
      return isFree(one, taken, frame) && taken.push(label.getBoundingClientRect());
    });
    own.classList.toggle("kb-site-mark--crowded", !found);
    return found;
  }

  /** Finds a side for each label; those without one go first in the next try, in the last they are hidden. */
  function placeAll(all, frame) {
    let order = all;
    for (let tries = 0; tries < TRIES; tries += 1) {
      const taken = order.map(({ mark }) => mark.getBoundingClientRect());
      const placed = order.map((one) => placeOne(one, taken, frame));
      if (placed.every(Boolean)) {
        return true;
      }
      order = [...order.filter((_, i) => !placed[i]), ...order.filter((_, i) => placed[i])];
    }
    return false;
  }

  /** Places labels with their index; where they have no room, without, but for those where it then has. */
  function place() {
    const all = [...markers.values()];
    if (all.length > MOST_LABELS) {
      all.forEach(({ own }) => own.classList.add("kb-site-mark--crowded"));
      return;
    }
    const frame = box.getBoundingClientRect();
    const brief = (one, yes) => one.own.classList.toggle("kb-site-mark--brief", yes);
    all.forEach((one) => brief(one, false));
    if (placeAll(all, frame)) {
      return;
    }
    all.forEach((one) => brief(one, true));
    placeAll(all, frame);
    for (const one of all) {
      brief(one, false);
      const taken = all.flatMap((other) => [other.mark, ...(other === one ? [] : [other.label])]).map((part) => part.getBoundingClientRect());
      brief(one, !isFree(one, taken, frame));
    }
  }

  function rebuild() {
    for (const { marker } of markers.values()) {
      marker.remove();
    }
    markers.clear();
    const places = new Map();
    for (const site of siteRows()) {
      const place = [site.dataset.latitude, site.dataset.longitude].map((degrees) => (+degrees).toFixed(SAME_DECIMALS)).join();
      places.set(place, [...(places.get(place) ?? []), site]);
    }
    places.forEach((sites, place) => add(place, sites));
    update();
    look();
  }

  function look() {
    map.fitBounds(bounds(), { animate: false, padding: [56, 64], maxZoom: 14 });
    place();
  }

  function drawBoundaries(areas) {
    const layer = L.geoJSON(areas, {
      interactive: false,
      style: (area) => (area.properties.member ? MEMBER : NEIGHBOUR),
    }).addTo(map);
    layer.eachLayer((area) => {
      if (area.feature.properties.member) {
        area.bringToFront();
        const label = L.divIcon({ className: "kb-area-label", html: element("span", "", area.feature.properties.name), iconSize: null });
        L.marker(area.getBounds().getCenter(), { icon: label, interactive: false, keyboard: false, zIndexOffset: -1000 }).addTo(map);
      }
    });
    layer.bringToBack();
    layer.eachLayer((area) => area.feature.properties.member && area.bringToFront());
  }

  map.fitBounds(bounds(), { animate: false });
  rebuild();
  map.on("zoomend moveend resize", place);
  fetch("/boundaries.geojson")
    .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(answer.statusText))))
    .then(drawBoundaries)
    .catch(() => {}); // the sites and the table are there without them
  new ResizeObserver(() => map.invalidateSize({ animate: false })).observe(box);
  return { update, rebuild };
}
