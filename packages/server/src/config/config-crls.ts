import { file, flag, integer, list, texts } from "./setting.ts";

/** The settings of revocation lists. */
export const crlSettings = list(
  "Revocation lists (CRL) of authorities that issue client certificates. Each node reads the lists of its own configuration. Lists are whole lists, PEM or DER, of at most 20 MiB and 500,000 entries. A change takes effect at the next start; the lists themselves are read again while the node runs, and all at once on SIGHUP.",
  {
    authority: file(
      "PEM file with one certificate: that of the authority that issued the clients' certificates and signs the lists.",
    ),
    files: {
      ...texts(
        "Files with the authority's list; a file is read again when it changes.",
        "a list of files",
      ),
      path: true,
      isPublic: true,
    },
    urls: texts(
      "Distribution points with the authority's list. Only these are asked: those that certificates name are not. Redirects are not followed.",
      "a list of http:// URLs without user or password; https and LDAP are not supported (a list is signed, so http is enough)",
      isCrlUrl,
    ),
    required: flag(
      "What happens while one of these lists was not read yet, or has ended. `true`: every certificate of the authority is refused, open connections included. `false`: the last list counts on; before the first one, nobody is refused.",
      false,
    ),
    everySeconds: integer(
      "How often a distribution point is asked. It is asked sooner if half of its list's time is over, but never more often than once a minute, or than this if it is less.",
      { min: 10, max: 604_800, default: 3600 },
      "s",
    ),
  },
);

function isCrlUrl(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const { protocol, username, password } = new URL(value);
  return protocol === "http:" && username === "" && password === "";
}
