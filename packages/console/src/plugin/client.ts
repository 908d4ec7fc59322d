import { signal } from "@preact/signals";
import { vcenterSession } from "../base/api.ts";
import { applyTheme } from "../base/theme.ts";
import { type Locale, localeOf } from "./texts.ts";

interface Theme {
  readonly name: string;
}

/** The parts of the vSphere Client's library that are used; an older client has not all of them. */
interface Sdk {
  readonly initialize: (done: () => void) => void;
  readonly app: {
    readonly getContextObjects?: () => readonly { readonly id: string }[];
    readonly getSessionInfo: (
      got: (info: { readonly sessionToken: string } | null) => void,
    ) => void;
    readonly getClientLocale?: () => string;
    readonly getTheme?: () => Theme;
  };
  readonly event?: {
    readonly onGlobalRefresh?: (call: () => void) => void;
    readonly onThemeChanged?: (call: (theme: Theme) => void) => void;
  };
}

/** What the vSphere Client has told: `undefined` before it has, `null` outside of it. */
export const client = signal<
  | {
      readonly locale: Locale;
      /** The object of the view, as `urn:vmomi:TYPE:ID:VCENTER`; undefined in the view that belongs to none. */
      readonly object: string | undefined;
    }
  | null
  | undefined
>(undefined);

/** Counts how often a person asked the client to show everything again. */
export const refreshed = signal(0);

/** Connects the page to the vSphere Client, whose script was loaded before this one. */
export function startClient(): void {
  const sdk = sdkOf(window);
  if (sdk === undefined) {
    applyTheme("light");
    client.value = null;
    return;
  }
  sdk.initialize(() => {
    const { app, event } = sdk;
    const locale = localeOf(app.getClientLocale?.() ?? "");
    document.documentElement.lang = locale.slice(0, 2);
    const show = (theme: Theme | undefined) =>
      applyTheme(theme?.name === "dark" ? "dark" : "light");
    show(app.getTheme?.());
    event?.onThemeChanged?.(show);
    event?.onGlobalRefresh?.(() => {
      refreshed.value += 1;
    });
    client.value = { locale, object: app.getContextObjects?.()[0]?.id };
  });
}

/**
 * Takes the session of the person from the client for the next requests: the client may have another one than before. A
 * view of no object names no vCenter; its page has vCenter's own address, since vCenter's proxy serves it.
 */
export async function takeSession(object: string | undefined): Promise<void> {
  const token = await new Promise<string>((resolve) => {
    const sdk = sdkOf(window);
    if (sdk === undefined) resolve("");
    else sdk.app.getSessionInfo((info) => resolve(info?.sessionToken ?? ""));
  });
  const vcenter = object?.split(":")[4] ?? location.origin;
  vcenterSession.value = { "vmware-api-session-id": token, "x-holdfast-vcenter": vcenter };
}

function sdkOf(page: Window & { readonly htmlClientSdk?: Sdk }): Sdk | undefined {
  return page.htmlClientSdk;
}
