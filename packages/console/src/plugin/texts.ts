/** The languages of the plug-in, as the vSphere Client names them. */
export const locales = ["en-US", "de-DE"] as const;

/** One of `locales`. */
export type Locale = (typeof locales)[number];

/** Every text of the plug-in in each language. States of keys are KMIP's words, and statuses of instances IBM's: the same in all. */
export const texts = {
  name: { "en-US": "Holdfast", "de-DE": "Holdfast" },
  keys: { "en-US": "Keys at Holdfast", "de-DE": "Schlüssel bei Holdfast" },
  keysOf: { "en-US": "Keys of {name} at Holdfast", "de-DE": "Schlüssel von {name} bei Holdfast" },
  loading: { "en-US": "Loading…", "de-DE": "Wird geladen …" },
  again: { "en-US": "Try again", "de-DE": "Erneut versuchen" },
  outside: {
    "en-US": "This page works only inside the vSphere Client.",
    "de-DE": "Diese Seite funktioniert nur im vSphere Client.",
  },
  failed: {
    "en-US": "Holdfast gave no answer, or refused.",
    "de-DE": "Holdfast hat nicht geantwortet oder abgelehnt.",
  },
  none: {
    "en-US": "Holdfast holds no key of this object.",
    "de-DE": "Holdfast hat keinen Schlüssel dieses Objekts.",
  },
  unread: {
    "en-US": "vCenter does not let you read everything, so keys may be missing here: {what}",
    "de-DE": "vCenter lässt Sie nicht alles lesen, deshalb können hier Schlüssel fehlen: {what}",
  },
  key: { "en-US": "Key", "de-DE": "Schlüssel" },
  state: { "en-US": "State", "de-DE": "Zustand" },
  use: { "en-US": "Used for", "de-DE": "Verwendung" },
  made: { "en-US": "Made", "de-DE": "Erzeugt" },
  instance: { "en-US": "Instance", "de-DE": "Instanz" },
  instances: { "en-US": "Instances", "de-DE": "Instanzen" },
  regions: { "en-US": "Regions", "de-DE": "Regionen" },
  number: { "en-US": "Number of keys", "de-DE": "Anzahl der Schlüssel" },
  home: { "en-US": "machine", "de-DE": "Maschine" },
  disk: { "en-US": "disk", "de-DE": "Festplatte" },
  host: { "en-US": "host", "de-DE": "Host" },
  vsanKek: { "en-US": "vSAN (KEK)", "de-DE": "vSAN (KEK)" },
  vsanHostKey: { "en-US": "vSAN (host key)", "de-DE": "vSAN (Host-Schlüssel)" },
  policy: { "en-US": "setting of the cluster", "de-DE": "Einstellung des Clusters" },
  unused: { "en-US": "not in use now", "de-DE": "derzeit nicht verwendet" },
  elsewhere: {
    "en-US": "not found at Holdfast; key provider in vCenter: {provider}",
    "de-DE": "bei Holdfast nicht gefunden; Schlüsselanbieter in vCenter: {provider}",
  },
  unnamed: { "en-US": "not named", "de-DE": "nicht genannt" },
  noInstances: {
    "en-US": "There is no instance of Holdfast that you may read.",
    "de-DE": "Es gibt keine Instanz von Holdfast, die Sie lesen dürfen.",
  },
  changes: {
    "en-US": "Here you can only look. Changes are made in Holdfast's own console.",
    "de-DE": "Hier können Sie nur lesen. Änderungen macht man in der Konsole von Holdfast.",
  },
  up: { "en-US": "region {region}: reached", "de-DE": "Region {region}: erreichbar" },
  down: { "en-US": "region {region}: not reached", "de-DE": "Region {region}: nicht erreichbar" },
  node: {
    "en-US": "Node {node} of region {region} serves from: {serving}.",
    "de-DE": "Knoten {node} der Region {region} liefert aus: {serving}.",
  },
} as const satisfies Readonly<Record<string, Readonly<Record<Locale, string>>>>;

/** The name of a text. */
export type TextName = keyof typeof texts;

/** Finds texts of one language, and fills their `{places}`. */
export type Say = (name: TextName, values?: Readonly<Record<string, string>>) => string;

/** The language of a client that names it as `de-DE`, `de_DE` or `de`; English for others. */
export function localeOf(named: string): Locale {
  const language = named.slice(0, 2).toLowerCase();
  return locales.find((locale) => locale.startsWith(`${language}-`)) ?? "en-US";
}

/** The texts of a language. */
export function sayIn(locale: Locale): Say {
  return (name, values = {}) =>
    texts[name][locale].replaceAll(/\{(\w+)\}/g, (_, place: string) => values[place] ?? "");
}
