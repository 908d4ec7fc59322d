import { z } from "zod";
import {
  choice,
  file,
  group,
  list,
  optional,
  optionalGroup,
  type Setting,
  text,
  texts,
} from "./setting.ts";

/** A list of at least one user. */
const viewers: Setting<readonly string[]> = {
  kind: "setting",
  schema: z.array(z.string().regex(/^[^\\\s]+\\\S(.*\S)?$/)).min(1),
  expects: "a list of one or more users as DOMAIN\\USER, such as [VSPHERE.LOCAL\\Administrator]",
  doc: "The users who may read here, as `viewer`, by their names in vCenter, in which upper and lower case are the same. Groups are not possible: vCenter's session does not name them.",
};

/** The address of a vCenter. */
const vcenterAddress: Setting<string> = {
  kind: "setting",
  schema: z.string().refine(isOrigin),
  expects: "https://HOST, with :PORT unless it is 443",
  doc: "Where this node asks vCenter about a session, and where people open the vSphere Client: no page of another address may frame the console.",
};

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
    signIn: optionalGroup(
      "Sign-in to the console at the identity provider of `admin.oidc`: OpenID Connect, authorization code flow with PKCE (S256). Left out, people sign in with a token.",
      {
        origin: {
          ...text(
            "The address under which browsers open this node's console: its own, or that of a load balancer. Register `ORIGIN/console/signed-in` at the provider as redirect URI, and `ORIGIN/console/` as post-logout redirect URI. It never comes from a request.",
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
    vcenters: list(
      "The vCenters in whose vSphere Client the console shows itself as a remote plug-in (docs/vsphere-plugin.md). Left out, nothing of the plug-in is served, and no session of a vCenter counts.",
      {
        guid: text(
          "The vCenter's identifier, `about.instanceUuid`: of two vCenters, the one whose session a page sends.",
          "a lower-case UUID",
          /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
        ),
        address: vcenterAddress,
        ca: optional(
          file(
            "PEM file with the authorities that vCenter's certificate must come from, mostly vCenter's own root; the system's unless given.",
          ),
        ),
        viewers,
        instances: texts(
          "Identifiers or names of the instances that these users reach. Left out, they reach all, and read the state of the service too.",
          "a list of instances",
        ),
      },
    ),
  },
);

function isOrigin(text: string): boolean {
  return URL.canParse(text) && text.startsWith("https://") && new URL(text).origin === text;
}
