/** The theme that a person chose; without a choice, that of the system. */
const storageKey = "holdfast-theme";

/** Shows the console in the chosen theme, or in that of the system. */
export function startTheme(): void {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const show = () =>
    applyTheme(localStorage.getItem(storageKey) ?? (dark.matches ? "dark" : "light"));
  dark.addEventListener("change", show);
  show();
}

/** Changes from light to dark, or back, and remembers it. */
export function toggleTheme(): void {
  const next = document.body.getAttribute("cds-theme") === "dark" ? "light" : "dark";
  localStorage.setItem(storageKey, next);
  applyTheme(next);
}

/** Shows the page in a theme: `light` or `dark`. */
export function applyTheme(theme: string): void {
  document.body.setAttribute("cds-theme", theme);
  document.documentElement.style.colorScheme = theme;
}
