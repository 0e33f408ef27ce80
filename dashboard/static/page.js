// Every page: says that scripts run, and starts the few components of GOV.UK Frontend that need one.

import { createAll, ServiceNavigation, SkipLink } from "./vendor/govuk-frontend/govuk-frontend.min.js";

document.body.classList.add("js-enabled", "govuk-frontend-supported");
createAll(ServiceNavigation);
createAll(SkipLink);
