// Every page: says that scripts run, and starts the few components of GOV.UK Frontend that need one.

import { createAll, ServiceNavigation, SkipLink } from "./vendor/govuk-frontend/govuk-frontend.min.js";

document.body.classList.add("js-enabled", "govuk-frontend-supported");
createAll(ServiceNavigation);
createAll(SkipLink);

/** Returns the id that the address points at; an address with a stray % is taken as it stands. */
function targetId() {
  const written = location.hash.slice(1);
  try {
    return decodeURIComponent(written);
  } catch {
    return written;
  }
}

/** Opens what the address points at, where the browser does not do so by itself. */
function openTarget() {
  const target = document.getElementById(targetId());
  for (let at = target; at; at = at.parentElement) {
    if (at instanceof HTMLDetailsElement) {
      at.open = true;
    }
  }
  target?.scrollIntoView();
}

if (location.hash.length > 1) {
  openTarget();
}
window.addEventListener("hashchange", openTarget);
