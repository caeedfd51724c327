// A participant of a meeting in either browser: the page as a person uses it, by its data-testids (see meeting.js).
import { has, until } from './tab.js';
import { output } from './witness.js';

/** @typedef {import('./tab.js').Tab} Tab */
/** @typedef {import('./meeting.js').OwnDevice} OwnDevice */
/** @typedef {import('./meeting.js').PanelName} PanelName */
/** @typedef {import('./meeting.js').TileState} TileState */

/** @param {string} id */
export const testId = (id) => `[data-testid="${id}"]`;

/** The address of a room. @param {string} at the relay @param {string} room @param {string} [query] */
export const roomAt = (at, room, query = '') => new URL(`/r/${room}${query}`, at).href;

/** Through pre-join, once the own picture is there. @param {Tab} tab @param {string} name */
export async function enter(tab, name) {
  await has(tab, `${testId('preview')}[data-state="on"]`);
  await tab.fill(testId('name'), name);
  await tab.click(testId('join'));
  await isIn(tab);
}

/** From the click on Join to the meeting, where UDP is dropped, in milliseconds. */
export const JOIN_MS_MAX = 2000;
/** How many pages join at most until one was in time: what else the machine does may hold one up, and what the page does holds up all. */
const JOINS_MAX = 3;

/**
 * Joins with new pages, one after the other, until one is in time.
 * @param {() => Promise<Tab>} open
 * @param {string} name
 * @returns {Promise<{ tab: Tab, times: number[] }>} the last page, which is in, and how long each one took, in milliseconds
 */
export async function joinInTime(open, name) {
  const times = /** @type {number[]} */ ([]);
  for (;;) {
    const tab = await open();
    await tab.fill(testId('name'), name);
    const took = Math.round(await timeToJoin(tab));
    times.push(took);
    if (took <= JOIN_MS_MAX || times.length === JOINS_MAX) return { tab, times };
    await tab.close();
  }
}

/** Clicks Join, and says how long it took to be in. @param {Tab} tab @returns {Promise<number>} milliseconds */
const timeToJoin = (tab) => tab.evaluate(() => new Promise((resolve) => {
  const started = performance.now();
  const badge = document.querySelector('[data-testid="badge"]');
  if (!badge) return;
  new MutationObserver(() => {
    if (badge.getAttribute('data-state') === 'connected') resolve(performance.now() - started);
  }).observe(badge, { attributes: true });
  /** @type {HTMLElement | null} */ (document.querySelector('[data-testid="join"]'))?.click();
}), null);

/** Through pre-join, without camera and microphone. @param {Tab} tab @param {string} name */
export async function enterWithoutDevices(tab, name) {
  await tab.fill(testId('name'), name);
  await tab.click(testId('join-without'));
  await isIn(tab);
}

/** @param {Tab} tab */
export const isIn = (tab) => has(tab, `${testId('badge')}[data-state="connected"]`);

/** @param {Tab} tab @param {string} text */
export async function say(tab, text) {
  await openPanel(tab, 'chat');
  await tab.fill(testId('text'), text);
  await tab.click(testId('send'));
}

/** @param {Tab} tab @param {string} text */
export const sees = (tab, text) => until(tab, `the message "${text}"`, (text) =>
  [...document.querySelectorAll('[data-testid="messages"] .message:not(.pending):not(.failed) .bubble')].some((node) => node.textContent === text), text);

/** @type {Record<PanelName, string>} */
const OPENERS = { chat: 'toggle-chat', people: 'toggle-people', statistics: 'badge' };

/** Opens a panel unless it is open. @param {Tab} tab @param {PanelName} name */
export async function openPanel(tab, name) {
  const panel = `${testId('panel')}[data-shown="${name}"]`;
  if (!(await tab.evaluate((panel) => document.querySelector(panel)?.checkVisibility() ?? false, panel))) await tab.click(testId(OPENERS[name]));
  await has(tab, panel);
}

/** Switches an own device, and waits until its button says so. @param {Tab} tab @param {OwnDevice} device @param {boolean} on */
export async function turn(tab, device, on) {
  await has(tab, `${testId(`toggle-${device}`)}[aria-pressed="${!on}"]`);
  await tab.click(testId(`toggle-${device}`));
  await has(tab, `${testId(`toggle-${device}`)}[aria-pressed="${on}"]`);
}

/** @param {string} name @param {Partial<TileState>} [state] */
export const tile = (name, { source = 'camera', ...state } = {}) =>
  [testId('tile'), `[data-name="${name}"]`, `[data-source="${source}"]`, ...Object.entries(state).map(([key, value]) => `[data-${key}="${value}"]`)].join('');

/** Waits until a tile is as it should be. @param {Tab} tab @param {string} name @param {Partial<TileState>} [state] */
export const shows = (tab, name, state) => until(tab, tile(name, state), (wanted) => {
  const tiles = [...document.querySelectorAll('[data-testid="tile"]')].map((node) => ({ .../** @type {HTMLElement} */ (node).dataset }));
  return { is: document.querySelector(wanted) !== null, tiles };
}, tile(name, state), ({ is }) => is);

/** Waits until a tile is gone. @param {Tab} tab @param {string} name @param {Partial<TileState>} [state] */
export const showsNo = (tab, name, state) => until(tab, `no tile of ${name}`, (tile) => document.querySelector(tile) === null, tile(name, state));

/**
 * The figures that "copy diagnostics" gives to whoever can help.
 * @param {Tab} tab
 * @returns {Promise<any>}
 */
export async function diagnostics(tab) {
  await openPanel(tab, 'statistics');
  await tab.evaluate(() => {
    Object.assign(navigator.clipboard, { writeText: async (/** @type {string} */ text) => void Object.assign(window, { copied: text }) });
    Object.assign(window, { copied: null });
  }, null);
  await tab.click(testId('copy-diagnostics'));
  return JSON.parse(await until(tab, 'diagnostics', () => /** @type {any} */ (window).copied, null));
}

/**
 * Says what all pages tell of themselves where something fails.
 * @param {import('node:test').TestContext} t @param {Tab[]} tabs @param {() => Promise<void>} act
 */
export async function orTellAll(t, tabs, act) {
  try {
    await act();
  } catch (error) {
    const told = await Promise.all(tabs.map(async (tab) => ({ kind: tab.kind, output: await output(tab), last: (await diagnostics(tab)).last }))
      .map((telling) => telling.catch((reason) => String(reason))));
    for (const one of told) t.diagnostic(JSON.stringify(one));
    throw error;
  }
}
