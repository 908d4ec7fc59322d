import { locales, type TextName, texts } from "./texts.ts";

/** The places of the plug-in's page, behind its `#`. */
export const places = { overview: "/", summary: "/summary", keys: "/keys" } as const;

/** The types of vCenter's objects that have keys: each has a card in its summary, and a list under Monitor. */
const types = ["VirtualMachine", "HostSystem", "ClusterComputeResource"] as const;

/** The texts that the vSphere Client itself shows. */
const shown = { name: "name", keys: "keys" } as const satisfies Readonly<Record<string, TextName>>;

const page = (place: string): string => `plugin.html#${place}`;

/** The manifest of the remote plug-in (`plugin.json`), in the oldest form: it suits every vSphere Client from 7.0 on. */
export function manifest() {
  const icon = "main";
  const viewsOf = (type: string) => ({
    summary: { view: { uri: page(places.summary) } },
    monitor: {
      views: [{ navigationId: `keysOf${type}`, labelKey: shown.keys, uri: page(places.keys) }],
    },
  });
  return {
    manifestVersion: "1.0.0",
    requirements: { "plugin.api.version": "1.0.0" },
    configuration: { nameKey: shown.name, icon: { name: icon } },
    global: {
      view: { navigationId: "overview", uri: page(places.overview), navigationVisible: true },
    },
    objects: Object.fromEntries(types.map((type) => [type, viewsOf(type)])),
    definitions: {
      iconSpriteSheet: { uri: "plugin-icons.png", definitions: { [icon]: { x: 0, y: 0 } } },
      i18n: {
        locales,
        definitions: Object.fromEntries(Object.values(shown).map((name) => [name, texts[name]])),
      },
    },
  };
}
