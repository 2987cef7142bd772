// Puts the chosen colours in place before the page is painted.
"use strict";
document.documentElement.classList.remove("no-js");
try {
  const theme = localStorage.getItem("mainstay-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the system's colours will do.
}
