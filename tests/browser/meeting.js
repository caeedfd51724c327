// The meeting page as a person uses it. What can be clicked, filled or read has a data-testid:
//
// landing    host-name new-meeting new-encrypted-meeting meeting-link go landing-problem
// pre-join   name token join join-without join-error preview[data-state] preview-microphone preview-camera level
//            device-camera device-microphone device-speaker media-problem[data-code] insecure
// meeting    badge[data-state] encryption[data-on] locked copy-link status[data-kind][data-reason] again leave
//            toggle-microphone toggle-camera toggle-screen toggle-chat toggle-people open-settings (aria-pressed, aria-expanded)
//            tile[data-name][data-source][data-own][data-picture][data-muted][data-speaking][data-pinned] pin
//            page-previous page-next invite toast start-audio meeting-problem[data-code]
// panels     panel[data-shown] close-panel: chat (messages composer text send to), people (roster admin lock end mute-track),
//            statistics (plot track-row copy-diagnostics)
// settings   settings settings-close settings-camera settings-microphone settings-speaker quality noise-suppression
//            echo-cancellation gain-control shortcuts
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {import('playwright-core').BrowserContextOptions} ContextOptions */

const OUTPUT = fileURLToPath(new URL('../output/', import.meta.url));
export const DESKTOP = { width: 1180, height: 760 };
export const PHONE = { width: 390, height: 844 };

/**
 * Chromium loses the frame that comes while a camera is stopped, also of a page that reads its frames itself and closes each (measured without the
 * SDK; none was lost while no camera was stopped). Pages without a camera are asked for it: receive.test.js. Those with one would say no more if
 * they closed none: Chromium looks once in ten seconds, and says the same of one frame and of hundreds. There, send.test.js counts frames.
 */
const OF_A_STOPPED_CAMERA = /A VideoFrame was garbage collected without being closed/;
/** What browsers log of requests that a relay which is gone cannot answer. */
const OF_A_LOST_RELAY = /net::ERR_|Failed to load resource|WebSocket connection to|WebTransport/;

/** What pages complained about, of all tests in one process. @type {string[]} */
export const complaints = [];

/**
 * @param {import('playwright-core').Browser} browser
 * @param {string} url
 * @param {ContextOptions & { loses?: boolean, token?: string }} [options] `loses`: the relay will be gone for a while; `token`: as
 *   if it had been given to this tab
 */
export async function open(browser, url, { loses = false, token, ...options } = {}) {
  const page = await (await browser.newContext({ viewport: DESKTOP, ...options })).newPage();
  watch(page, loses);
  if (token) await page.addInitScript((token) => sessionStorage.setItem('tertulia.token', token), token);
  await page.goto(url);
  return page;
}

/** @param {Page} page */
export function watch(page, loses = false) {
  page.setDefaultTimeout(30_000);
  page.on('pageerror', (error) => complaints.push(String(error.stack)));
  page.on('console', (message) => {
    if (message.type() === 'error' && !OF_A_STOPPED_CAMERA.test(message.text()) && !(loses && OF_A_LOST_RELAY.test(message.text()))) complaints.push(message.text());
  });
}

/**
 * @typedef {object} Guest
 * @property {string} at the relay
 * @property {string} [query]
 * @property {string} [token] as if it had been given to this tab
 * @property {(page: Page, name: string) => Promise<void>} [through] how to pass pre-join: `enter` unless said otherwise
 */

/** @param {import('playwright-core').Browser} browser @param {string} room @param {string} name @param {ContextOptions & Guest & { loses?: boolean }} options */
export async function join(browser, room, name, { at, query = '', token, through = enter, ...options }) {
  const page = await open(browser, new URL(`/r/${room}${query}`, at).href, { token, ...options });
  await through(page, name);
  return page;
}

/** Through pre-join, with whatever devices there are. @param {Page} page @param {string} name */
export async function enter(page, name) {
  await page.getByTestId('name').fill(name);
  await page.getByTestId('join').click();
  await isIn(page);
}

/** Through pre-join, once the own picture is there. @param {Page} page @param {string} name */
export async function enterWithDevices(page, name) {
  await page.locator('[data-testid="preview"][data-state="on"]').waitFor();
  await enter(page, name);
}

/** Through pre-join, without camera and microphone: with them, a meeting of three takes one and a half cores. @param {Page} page @param {string} name */
export async function enterWithoutDevices(page, name) {
  await page.getByTestId('name').fill(name);
  await page.getByTestId('join-without').click();
  await isIn(page);
}

/** @typedef {'microphone' | 'camera' | 'screen'} OwnDevice */

/** @param {Page} page @param {OwnDevice} device */
export const toggle = (page, device) => page.getByTestId(`toggle-${device}`).click();

/** Waits until the button of an own device says so. @param {Page} page @param {OwnDevice} device @param {boolean} isOn */
export const isSwitched = (page, device, isOn) => page.locator(`[data-testid="toggle-${device}"][aria-pressed="${isOn}"]`).waitFor();

/**
 * A tile as it is shown.
 * @typedef {object} TileState
 * @property {string} name
 * @property {'camera' | 'screen'} source
 * @property {boolean} own
 * @property {'on' | 'off' | 'held' | 'waiting' | 'stalled' | 'failed' | 'sealed'} picture `off`: nothing is sent; `held`: others are sent instead; `sealed`: it cannot be decrypted
 * @property {boolean} muted no sound is sent
 * @property {boolean} speaking
 * @property {boolean} pinned
 */

/** The tiles of the page that is shown, in their order. @param {Page} page @returns {Promise<TileState[]>} */
export const tiles = (page) => page.locator('[data-testid="tile"]:visible').evaluateAll((all) => all.map((node) => {
  const { name = '', source, own, picture, muted, speaking, pinned } = /** @type {HTMLElement} */ (node).dataset;
  const shown = { name, source, own: own === 'true', picture, muted: muted === 'true', speaking: speaking === 'true', pinned: pinned === 'true' };
  return /** @type {TileState} */ (shown);
}));

/** @param {Page} page @param {string} name @param {'camera' | 'screen'} [source] */
export const tile = (page, name, source = 'camera') => page.locator(`[data-testid="tile"][data-name=${JSON.stringify(name)}][data-source="${source}"]`);

/** The canvas that someone else is drawn on, or the video of oneself. @param {Page} page @param {string} name @param {'camera' | 'screen'} [source] */
export const picture = (page, name, source) => tile(page, name, source).locator('canvas, video').first();

/** Waits until a tile is as it should be. @param {Page} page @param {string} name @param {Partial<TileState>} state */
export const shows = (page, name, { source = 'camera', ...state }) => {
  const wanted = Object.entries(state).map(([key, value]) => `[data-${key}="${value}"]`).join('');
  return tile(page, name, source).and(page.locator(wanted || '*')).waitFor();
};

/** @typedef {'chat' | 'people' | 'statistics'} PanelName */
const OPENERS = { chat: 'toggle-chat', people: 'toggle-people', statistics: 'badge' };

/** Opens a panel unless it is open. @param {Page} page @param {PanelName} name */
export async function openPanel(page, name) {
  const panel = page.locator(`[data-testid="panel"][data-shown="${name}"]`);
  if (!(await panel.isVisible())) await page.getByTestId(OPENERS[name]).click();
  await panel.waitFor();
  return panel;
}

/** @param {Page} page */
export const closePanel = (page) => page.getByTestId('close-panel').click();

/** @param {Page} page */
export const openStatistics = (page) => openPanel(page, 'statistics');

/** Waits until the page says something in passing. @param {Page} page @param {string | RegExp} text */
export const isToasted = (page, text) => page.getByTestId('toast').filter({ hasText: text }).first().waitFor();

/** @param {Page} page */
export const isIn = (page) => page.locator('#badge[data-state="connected"]').waitFor();

/** @param {Page} page */
export const isReconnecting = (page) => page.locator('#badge[data-state="reconnecting"]').waitFor();

/** @param {Page} page @param {string} reason */
export const ended = (page, reason) => page.locator(`#status[data-kind="ended"][data-reason="${reason}"]`).waitFor();

/** @param {Page} page @param {string} text */
export async function say(page, text) {
  await openPanel(page, 'chat');
  await page.locator('#text').fill(text);
  await page.locator('#send').click();
}

/** @param {Page} page @param {string} text */
export const sees = (page, text) => page.locator('#messages .message:not(.pending):not(.failed) .bubble').getByText(text, { exact: true }).waitFor({ state: 'attached' });

/** @param {Page} page */
export const bubbles = (page) => page.locator('#messages .bubble').allTextContents();

/** @param {Page} page */
export const people = (page) => page.locator('#roster .who').allTextContents();

/** @param {Page} page @param {string} name */
export const seesPerson = (page, name) => page.locator('#roster .who').getByText(name, { exact: true }).waitFor({ state: 'attached' });

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
