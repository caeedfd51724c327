// A page in Chromium or in Firefox, the same to a test.
import { DESKTOP, complaints, watch } from './meeting.js';
import { witness } from './witness.js';

/** @typedef {import('playwright-core').Browser} Chromium */
/** @typedef {import('./firefox.js').Firefox} Firefox */

/** How long to wait for what has to come, in milliseconds. */
const WAIT_MS = 40_000;
/** A page that does not answer for so long hangs, in milliseconds. */
const ANSWER_MS = 30_000;
/** A window that is drawn is drawn again within this time, in milliseconds. */
const DRAW_MS = 1000;
/** What Firefox says of a WebSocket that is cut while its page is left. The page cannot catch it. */
const OF_A_CUT_WEBSOCKET = /The connection to wss?:\S+ was interrupted while the page was loading/;
/** And of one that the page gives up while it is being opened, where it may choose and WebTransport was there first. */
const OF_A_SLOWER_WEBSOCKET = /Firefox can’t establish a connection to the server at wss?:/;
/** Time between two looks, in milliseconds. */
const LOOK_MS = 50;

/**
 * Selectors are those of CSS. What acts on an element waits until it is there.
 * @typedef {object} Tab
 * @property {'chromium' | 'firefox'} kind
 * @property {(selector: string) => Promise<void>} click as a person does
 * @property {(selector: string, text: string) => Promise<void>} fill
 * @property {(selector: string, value: string) => Promise<void>} select an option
 * @property {(key: string) => Promise<void>} press
 * @property {(path: string) => Promise<void>} screenshot
 * @property {<Argument, Result>(act: (argument: Argument) => Result | Promise<Result>, argument: Argument) => Promise<Result>} evaluate in the page
 * @property {() => Promise<void>} reload
 * @property {() => Promise<void>} close
 */

/**
 * @param {Chromium} browser
 * @param {string} url
 * @param {import('./meeting.js').ContextOptions & { loses?: boolean }} [options] `loses`: the relay will be gone for a while
 * @returns {Promise<Tab>}
 */
export async function openChromium(browser, url, { loses, ...options } = {}) {
  const page = await (await browser.newContext({ viewport: DESKTOP, ...options })).newPage();
  watch(page, loses);
  await page.addInitScript(witness);
  await page.goto(url);
  return {
    kind: 'chromium',
    click: (selector) => page.locator(selector).click(),
    fill: (selector, text) => page.locator(selector).fill(text),
    select: async (selector, value) => void (await page.locator(selector).selectOption(value)),
    press: (key) => page.keyboard.press(key),
    screenshot: async (path) => void (await page.screenshot({ path, animations: 'disabled' })),
    evaluate: (act, argument) => answered('chromium', act, page.evaluate(/** @type {any} */ (act), argument)),
    reload: async () => void (await page.reload()),
    close: () => page.context().close(),
  };
}

/**
 * In a window of its own: Firefox draws nothing in a tab that is behind another.
 * @param {Firefox} firefox
 * @param {string} url
 * @param {{ loses?: boolean }} [options]
 * @returns {Promise<Tab>}
 */
export async function openFirefox({ browser }, url, { loses = false } = {}) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage({ type: 'window' });
  page.setDefaultTimeout(WAIT_MS);
  const isNothing = (/** @type {unknown} */ error) => OF_A_CUT_WEBSOCKET.test(String(error)) || (!url.includes('transport=') && OF_A_SLOWER_WEBSOCKET.test(String(error)));
  page.on('pageerror', (error) => { if (!isNothing(error)) complaints.push(String(error instanceof Error ? error.stack : error)); });
  page.on('console', (message) => { if (message.type() === 'error' && !loses) complaints.push(message.text()); });
  await page.setViewport(DESKTOP);
  await page.evaluateOnNewDocument(witness);
  await page.goto(url);
  await isDrawn(page);
  return {
    kind: 'firefox',
    click: (selector) => act(page, selector, (element) => element.click()),
    fill: (selector, text) => act(page, selector, (element, text) => {
      /** @type {HTMLInputElement} */ (element).value = text;
      element.dispatchEvent(new Event('input', { bubbles: true }));
    }, text),
    select: async (selector, value) => void (await page.select(selector, value)),
    press: (key) => page.keyboard.press(/** @type {import('puppeteer-core').KeyInput} */ (key)),
    screenshot: async (path) => void (await page.screenshot({ path: /** @type {`${string}.png`} */ (path) })),
    evaluate: (act, argument) => answered('firefox', act, page.evaluate(/** @type {any} */ (act), argument)),
    reload: async () => void (await page.reload()),
    close: () => context.close(),
  };
}

/**
 * Acts on an element as soon as it can be seen. By script: the driver waits for two frames in which nothing moves, which is not to be had
 * of a Firefox that draws late. In Chromium the same tests act with a real mouse and keyboard.
 * @param {import('puppeteer-core').Page} page
 * @param {string} selector
 * @param {(element: HTMLElement, text: string) => void} action
 */
async function act(page, selector, action, text = '') {
  const source = String(action);
  await eventually(`${selector}, to act on, in firefox`, () => answered('firefox', action, page.evaluate((selector, source, text) => {
    const element = document.querySelector(selector);
    if (!(element instanceof HTMLElement) || !element.checkVisibility() || /** @type {any} */ (element).disabled) return false;
    (/** @type {typeof action} */ (new Function(`return ${source}`)()))(element, text);
    return true;
  }, selector, source, text)));
}

/** Waits until Firefox draws the page: a new window is not always in front at once. @param {import('puppeteer-core').Page} page */
async function isDrawn(page) {
  await eventually('Firefox draws a new window', async () => {
    await page.bringToFront();
    return page.evaluate((ms) => Promise.race([
      new Promise((resolve) => requestAnimationFrame(() => resolve(document.visibilityState === 'visible'))),
      new Promise((resolve) => setTimeout(() => resolve(false), ms)),
    ]), DRAW_MS);
  });
}

/**
 * Neither driver gives up by itself on a page that hangs.
 * @template Result
 * @param {Tab['kind']} kind @param {Function} act what it was asked @param {Promise<Result>} answer
 * @returns {Promise<Result>}
 */
async function answered(kind, act, answer) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const said = `the page in ${kind} did not answer for ${ANSWER_MS} ms when asked ${act}`;
  const hangs = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(said)), ANSWER_MS);
  });
  return Promise.race([answer, /** @type {Promise<never>} */ (hangs)]).finally(() => clearTimeout(timer));
}

/**
 * Looks until what is seen holds, and returns it.
 * @template Result
 * @param {string} what for whoever reads that it did not come
 * @param {() => Promise<Result>} look
 * @param {(result: Result) => boolean} [holds]
 * @returns {Promise<Result>}
 */
export async function eventually(what, look, holds = Boolean) {
  const end = performance.now() + WAIT_MS;
  for (;;) {
    const result = await look();
    if (holds(result)) return result;
    if (performance.now() > end) throw new Error(`${what}: not within ${WAIT_MS} ms; last seen: ${JSON.stringify(result)}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/**
 * Looks in a page until what is seen holds, and returns it.
 * @template Argument, Result
 * @param {Tab} tab
 * @param {string} what
 * @param {(argument: Argument) => Result | Promise<Result>} look
 * @param {Argument} argument
 * @param {(result: Result) => boolean} [holds]
 */
export const until = (tab, what, look, argument, holds) => eventually(`${what} in ${tab.kind}`, () => tab.evaluate(look, argument), holds);

/** @param {Tab} tab @param {string} selector */
export const has = (tab, selector) => until(tab, selector, (selector) => document.querySelector(selector) !== null, selector);

/** @param {Tab} tab @param {string} selector @param {RegExp} pattern */
export const reads = (tab, selector, pattern) =>
  until(tab, `${selector} as ${pattern}`, (selector) => document.querySelector(selector)?.textContent?.trim() ?? '', selector, (text) => pattern.test(text));
