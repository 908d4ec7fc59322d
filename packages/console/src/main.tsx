import { render } from "preact";
import "@clr/ui/clr-ui.min.css";
import "./console.css";
import { App } from "./app.tsx";
import { startTheme } from "./base/theme.ts";

startTheme();
const root = document.getElementById("console");
if (root !== null) render(<App />, root);
