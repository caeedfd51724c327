// The meeting page as a person uses it.
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {import('playwright-core').BrowserContextOptions} ContextOptions */

const OUTPUT = fileURLToPath(new URL('../output/', import.meta.url));
export const DESKTOP = { width: 1180, height: 760 };
export const PHONE = { width: 390, height: 844 };

/** What browsers log of requests that a relay which is gone cannot answer. */
const OF_A_LOST_RELAY = /net::ERR_|Failed to load resource|WebSocket connection to|WebTransport/;

/** What pages complained about, of all tests in one process. @type {string[]} */
export const complaints = [];

/**
 * @param {import('playwright-core').Browser} browser
 * @param {string} url
 * @param {ContextOptions & { loses?: boolean }} [options] `loses`: the relay will be gone for a while
 */
export async function open(browser, url, { loses = false, ...options } = {}) {
  const page = await (await browser.newContext({ viewport: DESKTOP, ...options })).newPage();
  watch(page, loses);
  await page.goto(url);
  return page;
}

/** @param {Page} page */
export function watch(page, loses = false) {
  page.setDefaultTimeout(15_000);
  page.on('pageerror', (error) => complaints.push(String(error.stack)));
  page.on('console', (message) => {
    if (message.type() === 'error' && !(loses && OF_A_LOST_RELAY.test(message.text()))) complaints.push(message.text());
  });
}

/**
 * @typedef {object} Guest
 * @property {string} at the relay
 * @property {string} [query]
 * @property {string} [token] in the link
 */

/** @param {import('playwright-core').Browser} browser @param {string} room @param {string} name @param {ContextOptions & Guest & { loses?: boolean }} options */
export async function join(browser, room, name, { at, query = '', token, ...options }) {
  const page = await open(browser, new URL(`/r/${room}${query}${token ? `#token=${token}` : ''}`, at).href, options);
  await enter(page, name);
  return page;
}

/** @param {Page} page @param {string} name */
export async function enter(page, name) {
  await page.locator('#name').fill(name);
  await page.locator('#join').click();
  await isIn(page);
}

/** @param {Page} page */
export const isIn = (page) => page.locator('#badge[data-state="connected"]').waitFor();

/** @param {Page} page */
export const isReconnecting = (page) => page.locator('#badge[data-state="reconnecting"]').waitFor();

/** @param {Page} page @param {string} reason */
export const ended = (page, reason) => page.locator(`#status[data-kind="ended"][data-reason="${reason}"]`).waitFor();

/** @param {Page} page @param {string} text */
export async function say(page, text) {
  await page.locator('#text').fill(text);
  await page.locator('#send').click();
}

/** @param {Page} page @param {string} text */
export const sees = (page, text) => page.locator('#messages .message:not(.pending):not(.failed) .bubble').getByText(text, { exact: true }).waitFor();

/** @param {Page} page */
export const bubbles = (page) => page.locator('#messages .bubble').allTextContents();

/** @param {Page} page */
export const people = (page) => page.locator('#roster .who').allTextContents();

/** @param {Page} page @param {string} name */
export const seesPerson = (page, name) => page.locator('#roster .who').getByText(name, { exact: true }).waitFor();

/** Writes down everyone who comes or goes in the list, from now on. @param {Page} page */
export const watchRoster = (page) => page.evaluate(() => {
  const changes = /** @type {string[]} */ ([]);
  const names = (/** @type {NodeList} */ nodes) => [...nodes].map((node) => (node instanceof Element ? node.querySelector('.who')?.textContent : ''));
  const list = /** @type {Element} */ (document.getElementById('roster'));
  new MutationObserver((all) => {
    for (const { addedNodes, removedNodes } of all) {
      // The row of oneself is drawn again with the same name.
      const [added, removed] = [names(addedNodes), names(removedNodes)];
      if (String(added) !== String(removed)) changes.push(`+${added} -${removed}`);
    }
  }).observe(list, { childList: true });
  Object.assign(window, { rosterChanges: changes });
});

/** @param {Page} page @returns {Promise<string[]>} */
export const rosterChanges = (page) => page.evaluate(() => /** @type {any} */ (window).rosterChanges);

/** @param {Page} page @param {string} name */
export async function shoot(page, name) {
  await mkdir(OUTPUT, { recursive: true });
  await page.screenshot({ path: `${OUTPUT}${name}.png`, animations: 'disabled' });
}

/** @param {Page[]} pages */
export const closeAll = (...pages) => Promise.all(pages.map((page) => page.context().close()));
