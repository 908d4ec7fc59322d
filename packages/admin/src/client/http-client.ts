// A module of its own, for `import()`: in a bundle, `import("undici")` has no names, since undici is CommonJS.
import { Agent, buildConnector } from "undici";

export { Agent, buildConnector };
