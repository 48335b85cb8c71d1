/** Chromium as the machine has it, and a person in front of it. */
import { chromium } from 'playwright-core';

const PROGRAM = process.env.CHROMIUM ?? '/usr/bin/chromium';

export function launch() {
  return chromium.launch({ executablePath: PROGRAM, args: ['--no-sandbox', '--disable-gpu'] });
}

/** Faults of a page: uncaught errors, and what the console calls an error (the CSP's among them). */
export function watch(page) {
  const faults = [];
  page.on('pageerror', (error) => faults.push(`${error.message}\n${error.stack}`));
  page.on('console', (message) => {
    // While the server is away its absence is said; that is no fault of the page.
    if (message.type() === 'error' && !/ERR_|WebSocket|Failed to load resource/.test(message.text())) {
      faults.push(message.text());
    }
  });
  return faults;
}

export class Person {
  constructor(context, page, url) {
    this.context = context;
    this.page = page;
    this.url = url;
    this.faults = watch(page);
  }

  /** A browser of their own, at the address, not come in yet. */
  static async arrive(browser, url, options = {}) {
    const context = await browser.newContext({ locale: 'en-GB', viewport: { width: 1180, height: 760 }, ...options });
    const page = await context.newPage();
    const person = new Person(context, page, url);
    await page.goto(url);
    return person;
  }

  /** A browser in which somebody has come in, in mode `open`. */
  static async named(browser, url, name, options) {
    const person = await Person.arrive(browser, url, options);
    await person.page.locator('input[name=username]').fill(name);
    await person.page.locator('form button[type=submit]').click();
    await person.page.locator('.shell').waitFor();
    return person;
  }

  get composer() {
    return this.page.locator('.composer textarea');
  }

  async openChat(key) {
    const path = `/c/${key[0]}/${encodeURIComponent(key.slice(2))}`;
    await this.page.goto(this.url + path);
    await this.composer.waitFor();
  }

  async write(text) {
    await this.composer.fill(text);
    await this.composer.press('Enter');
  }

  message(text) {
    return this.page.locator('.message', { hasText: text });
  }

  texts() {
    return this.page.locator('.message .text').allTextContents();
  }

  async leave() {
    await this.context.close();
  }
}
