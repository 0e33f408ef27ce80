// Invitations: a button that prints their cards.

document.querySelector("[data-print]")?.addEventListener("click", () => window.print());
