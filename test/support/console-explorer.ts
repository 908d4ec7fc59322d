import type { Page } from "playwright-core";

/** Something that a person does at a page; `pick` chooses among what is there. */
export interface Step {
  readonly kind: "link" | "button" | "type" | "place" | "back" | "reload" | "escape";
  readonly pick: number;
  readonly text: string;
}

/** What changes nothing at the service: a form that is sent does, and so does a sign-out. */
const safe = {
  link: 'a[href^="#"]:not([target])',
  button: "button:not([type=submit], [aria-label^=Copy]), summary",
  type: "input, textarea, select",
} as const;

/** An expression for one of the things in sight, in the topmost dialog if one is open. */
function oneOf(kind: keyof typeof safe, pick: number): string {
  return `(() => {
    const top = document.querySelector("dialog[open]") ?? document;
    const all = [...top.querySelectorAll(${JSON.stringify(safe[kind])})].filter(
      (one) => one.checkVisibility() && !one.textContent.includes("Sign out"),
    );
    return all[${pick} % all.length];
  })()`;
}

/** Carries steps out at a page of the console whose origin is given; somebody is signed in before and after each. */
export function explorer(page: Page, origin: string): (step: Step) => Promise<void> {
  return async ({ kind, pick, text }) => {
    switch (kind) {
      case "link":
      case "button":
        await page.evaluate(`${oneOf(kind, pick)}?.click()`);
        break;
      case "type":
        await page.evaluate(`${oneOf(kind, pick)}?.focus()`);
        await page.keyboard.insertText(text);
        await page.keyboard.press("Tab");
        break;
      case "place":
        await page.evaluate(`location.hash = ${JSON.stringify(`/${text}`)}`);
        break;
      case "back":
        await page.goBack();
        break;
      case "reload":
        await page.reload();
        break;
      case "escape":
        await page.keyboard.press("Escape");
    }
    if (!page.url().startsWith(origin)) await page.goto(`${origin}/console/#/`);
    await page.getByRole("button", { name: "Sign out", includeHidden: true }).waitFor();
  };
}
