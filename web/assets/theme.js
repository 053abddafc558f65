// Theme and palette: what the settings and the system say becomes attributes that style.css knows.

const light = matchMedia("(prefers-color-scheme: light)");

/** Puts the theme and palette of the settings into force, and calls changed when they are others. */
export function followTheme(settings, changed) {
  const apply = () => {
    const root = document.documentElement;
    const theme = settings.theme === "auto" ? (light.matches ? "light" : "dark") : settings.theme;
    if (root.dataset.theme !== theme || root.dataset.palette !== settings.palette) {
      root.dataset.theme = theme;
      root.dataset.palette = settings.palette;
      changed();
    }
  };
  light.addEventListener("change", apply);
  settings.watch(apply);
  apply();
}
