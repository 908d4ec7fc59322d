import { render } from "preact";
import "@clr/ui/clr-ui.min.css";
import "./console.css";
import { App } from "./app.tsx";
import { startTheme } from "./base/theme.ts";
import { agesMs } from "./parts/value.tsx";
import { startClient } from "./plugin/client.ts";
import { Plugin } from "./plugin/plugin.tsx";

const root = document.getElementById("console");
if (root !== null) {
  startTheme();
  render(<App />, root);
}
const plugin = document.getElementById("plugin");
if (plugin !== null) {
  startClient();
  render(<Plugin />, plugin);
}

/** How often the ages on a page are shown anew. */
const ageEveryMs = 5000;
setInterval(() => {
  agesMs.value = Date.now();
}, ageEveryMs);

// A file that misses its field must not take the place of the page, and of the form in it.
for (const type of ["dragover", "drop"] as const) {
  addEventListener(type, (event) => {
    if (event.defaultPrevented || event.dataTransfer?.types.includes("Files") !== true) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "none";
  });
}
