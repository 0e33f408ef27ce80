// A gateway's page: new values as they come, and all else fetched anew, often while a first reading is expected.

import { follow, showValue } from "./live.js";
import { fetchPage, swap } from "./swap.js";

const EXPECTING_SECONDS = 3;
const FETCH_SECONDS = 15;

let timer = 0;
let fetching = false;
let again = false;

function wait() {
  const expected = document.querySelector("[data-expected]") !== null;
  clearTimeout(timer);
  timer = setTimeout(renew, (expected ? EXPECTING_SECONDS : FETCH_SECONDS) * 1000);
}

async function renew() {
  if (fetching) {
    again = true;
    return;
  }
  fetching = true;
  again = false;
  try {
    const page = await fetchPage(location.href, AbortSignal.timeout(FETCH_SECONDS * 1000));
    swap(page);
    document.getElementById("expected").toggleAttribute("data-expected", page.querySelector("[data-expected]") !== null);
  } catch {
    // the banner of the live stream says what is wrong
  }
  fetching = false;
  if (again) {
    renew();
  } else {
    wait();
  }
}

function onValues(values) {
  // The stream is of the whole council: only a gateway that is expected can be helped by a value without a row.
  const strange = values.map(showValue).includes(false);
  if (strange && document.querySelector("[data-expected]")) {
    renew();
  }
}

follow(document.querySelector("[data-live-url]").dataset.liveUrl, { onValues, onTick: () => {}, onGateways: renew });
wait();
