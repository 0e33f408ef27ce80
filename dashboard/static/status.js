// The status page: ages tick, and what stands there is fetched anew, at once when a gateway is suspended or revoked.

import { now, setClock, setText, tick } from "./age.js";
import { fetchPage, swap } from "./swap.js";

const FETCH_SECONDS = 15;
const LOST_SECONDS = 30;

const main = document.querySelector("main");
const line = document.querySelector("[data-live-line]");
const text = document.querySelector("[data-live-text]");
const banner = document.querySelector("[data-lost]");
let heard = performance.now();
let heardAt = 0;
let timer = 0;

function clock(seconds) {
  return `${new Date(seconds * 1000).toISOString().slice(11, 19)} UTC`;
}

function step() {
  const lost = performance.now() - heard > LOST_SECONDS * 1000;
  line.classList.toggle("kb-live--on", !lost);
  setText(text, lost ? `Last heard from the centre at ${clock(heardAt)}.` : `Live: as of ${clock(heardAt)}.`);
  if (lost) {
    setText(banner, `The connection to the centre is lost. What stands here is as of ${clock(heardAt)}. This page goes on trying.`);
  }
  banner.hidden = !lost;
  tick();
}

function hear(page) {
  heard = performance.now();
  setClock(page.querySelector("main").dataset.now);
  heardAt = now();
}

async function renew() {
  clearTimeout(timer);
  try {
    const page = await fetchPage(location.href, AbortSignal.timeout(FETCH_SECONDS * 1000));
    hear(page);
    swap(page);
  } catch {
    // the banner says so after half a minute
  }
  clearTimeout(timer);
  timer = setTimeout(renew, FETCH_SECONDS * 1000);
}

setClock(main.dataset.now);
heardAt = now();
step();
setInterval(step, 1000);
timer = setTimeout(renew, FETCH_SECONDS * 1000);

// The stream is an extra: without it the page is fetched by the clock, and a browser opens it again by itself.
const gateways = new EventSource("/live/gateways");
gateways.addEventListener("registry", renew);
window.addEventListener("pagehide", () => gateways.close());
