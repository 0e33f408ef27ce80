// The live stream: new values into their rows, and a banner when the centre has not been heard for half a minute.

import { now, setClock, setText, tick, tickRow } from "./age.js";

const LOST_SECONDS = 30;
const RETRY_SECONDS = 5;

/** Puts a value that the centre sent into its row; false if the page has no such row. */
export function showValue(value) {
  const row = document.getElementById(`v${value.id}`);
  if (!row) {
    return false;
  }
  if (Date.parse(row.dataset.time) >= Date.parse(value.time)) {
    return true;
  }
  row.dataset.time = value.time;
  const cell = row.querySelector("[data-value]");
  const unit = row.querySelector(".kb-unit");
  const quality = row.querySelector("[data-quality]");
  const age = row.querySelector("[data-age]");
  setText(cell, value.value);
  if (unit) {
    unit.hidden = false;
  }
  age.dateTime = value.time;
  setText(row.querySelector("[data-when]"), value.when);
  setText(quality, value.quality);
  quality.classList.toggle("kb-flagged", value.flagged);
  tickRow(row);
  cell.parentElement.classList.remove("kb-changed");
  requestAnimationFrame(() => cell.parentElement.classList.add("kb-changed"));
  return true;
}

/**
 * Follows the stream at `url`. `onValues` is given the values of each message, `onTick` is called
 * every second, `onGateways` when a gateway was enrolled, suspended or the like. The clock of the page is the centre's.
 */
export function follow(url, { onValues, onTick, onGateways }) {
  const line = document.querySelector("[data-live-line]");
  const text = document.querySelector("[data-live-text]");
  const banner = document.querySelector("[data-lost]");
  let heard = performance.now();
  let heardAt = now();
  let changedAt = null;
  let connected = true;
  let lastId = "";
  let source = null;

  function hear(body) {
    heard = performance.now();
    setClock(body.now);
    heardAt = now();
    connected = body.connected !== false;
  }

  function open() {
    const address = new URL(url, document.baseURI);
    if (lastId) {
      address.searchParams.set("since", lastId);
    }
    source = new EventSource(address);
    source.addEventListener("beat", (event) => hear(JSON.parse(event.data)));
    source.addEventListener("values", (event) => {
      const body = JSON.parse(event.data);
      hear(body);
      changedAt = now();
      lastId = event.lastEventId || lastId;
      onValues(body.values);
      step();
    });
    if (onGateways) {
      source.addEventListener("registry", onGateways);
    }
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(open, RETRY_SECONDS * 1000);
      }
    });
  }

  function clock(seconds) {
    return `${new Date(seconds * 1000).toISOString().slice(11, 19)} UTC`;
  }

  function step() {
    const silent = (performance.now() - heard) / 1000;
    const lost = silent > LOST_SECONDS || !connected;
    line.classList.toggle("kb-live--on", !lost);
    if (lost) {
      setText(text, `Last heard from the centre at ${clock(heardAt)}.`);
      setText(
        banner,
        connected
          ? `The connection to the centre is lost. Values are as of ${clock(heardAt)} and grow old. This page goes on trying.`
          : "The centre cannot reach its database at the moment. The values shown are the last it had. This page goes on trying.",
      );
    } else {
      setText(text, changedAt === null ? "Live: new values appear by themselves." : `Live: last new value at ${clock(changedAt)}.`);
    }
    banner.hidden = !lost;
    tick();
    onTick();
  }

  setClock(document.querySelector("main").dataset.now);
  open();
  step();
  setInterval(step, 1000);
  window.addEventListener("pagehide", () => source.close());
  window.addEventListener("pageshow", (event) => event.persisted && open());
}
