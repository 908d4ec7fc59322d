import { render } from "preact";
import "@clr/ui/clr-ui.min.css";
import "./console.css";
import { App } from "./app.tsx";
import { startTheme } from "./base/theme.ts";
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
