import { z } from "zod";
import { choice, file, group, optional, optionalGroup, text, texts } from "./setting.ts";

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
    signIn: optionalGroup(
      "Sign-in to the console at the identity provider of `admin.oidc`: OpenID Connect, authorization code flow with PKCE (S256). Left out, people sign in with a token.",
      {
        origin: {
          ...text(
            "The address under which browsers open this node's console: its own, or that of a load balancer. Register `ORIGIN/console/signed-in` at the provider as redirect URI. It never comes from a request.",
            "https://HOST:PORT, without a path",
            /./,
          ),
          schema: z.string().refine(isOrigin),
        },
        clientId: text(
          "The console's client identifier at the provider.",
          "a text without spaces",
          /^[\x21-\x7e]{1,255}$/,
        ),
        clientSecretFile: optional(
          file(
            "File with the client's secret on its first line. Left out, the console is a public client, whose codes PKCE protects.",
          ),
        ),
        scopes: {
          ...texts(
            "The scopes that the console asks for. Some providers give an access token for this service only for a scope of its own.",
            "a list of scopes",
          ),
          schema: z
            .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,255}$/))
            .min(1)
            .default(["openid"]),
          default: '["openid"]',
        },
      },
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
