import { choice, file, group, optional, text, texts } from "./setting.ts";

/** The settings of the web console. */
export const consoleSettings = group(
  "The web console at `/console/` of `admin.listen`: what the management API does, in a browser.",
  {
    serve: choice("`off`: this node has no console.", ["on", "off"], "on"),
    nodes: texts(
      "The management addresses of the other nodes of both regions, as a browser reaches them: the console shows these nodes too, and continues with one of them when this node does not answer. Only pages of these addresses may use a session of this node.",
      "a list of https://HOST:PORT",
      isOrigin,
    ),
    relyingParty: optional(
      text(
        "The domain of approvers' keys in authenticators (the WebAuthn relying party): the host name by which browsers reach this node, or a domain above the names of all nodes, so that a key signs at each of them. The host name of the page unless given. Keys are bound to it for ever.",
        "a host name in lower case",
        /^(?=.{1,253}$)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){0,15}$/,
      ),
    ),
    signInFolder: optional(
      file(
        "A folder with one-time sign-in links, for a development cluster. Each file is named by the SHA-256 (hex) of a link's code and contains a token; the node deletes the file when the link is used.",
      ),
    ),
    controlSocket: optional(
      file(
        "The socket of a development cluster that takes faults: managers can then kill, freeze and cut its parts in the console. Never set it anywhere else.",
      ),
    ),
  },
);

function isOrigin(text: string): boolean {
  return URL.canParse(text) && text.startsWith("https://") && new URL(text).origin === text;
}
