// Takes newer parts of a page from the server without loading it anew: whatever bears data-swap, found by its id.

/** Fetches a page of ours as a document. Throws if it cannot be had. */
export async function fetchPage(url, signal) {
  const answer = await fetch(url, { headers: { Accept: "text/html" }, signal });
  if (!answer.ok) {
    throw new Error(`${url}: ${answer.status}`);
  }
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

/** Puts the parts of `page` in place of ours; focus stays on what has the same id. */
export function swap(page) {
  const focused = document.activeElement?.id;
  for (const fresh of page.querySelectorAll("[data-swap]")) {
    const old = document.getElementById(fresh.id);
    if (old && old.innerHTML !== fresh.innerHTML) {
      old.replaceChildren(...document.importNode(fresh, true).childNodes);
    }
  }
  if (focused && document.activeElement?.id !== focused) {
    document.getElementById(focused)?.focus({ preventScroll: true });
  }
}
