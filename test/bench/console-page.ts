import type { Browser, Page } from "playwright-core";
import { browserMissing, enter, openPage, startBrowser } from "../support/browser.ts";

/** The keys of an instance in the web console, in a browser that is signed in. */
export class ConsolePage implements AsyncDisposable {
  readonly #browser: Browser;
  readonly #page: Page;
  readonly #address: string;

  private constructor(browser: Browser, page: Page, address: string) {
    this.#browser = browser;
    this.#page = page;
    this.#address = address;
  }

  /** Signs in at a node; `undefined` where there is no browser. */
  static async open(
    { host, admin }: { readonly host: string; readonly admin: number | undefined },
    token: string,
    instance: string,
  ): Promise<ConsolePage | undefined> {
    if (browserMissing.length > 0) return undefined;
    const browser = await startBrowser();
    const { page } = await openPage(browser);
    const origin = `https://${host}:${admin}`;
    await enter(page, origin, "/", token);
    return new ConsolePage(browser, page, `${origin}/console/#/instances/${instance}/keys`);
  }

  /** Opens the page as a person does who follows a link to it, until its first key is there. */
  async show(): Promise<void> {
    // Without this the browser would stay in the page, and only its place would change.
    await this.#page.goto("about:blank");
    await this.#page.goto(this.#address);
    await this.#page.locator("table.rows tbody tr").first().waitFor();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}
