// A participant of a meeting in either browser: the page as a person uses it, by its data-testids (see meeting.js).
import { fileURLToPath } from 'node:url';
import { has, until } from './tab.js';

/** @typedef {import('./tab.js').Tab} Tab */

/** @param {string} id */
export const testId = (id) => `[data-testid="${id}"]`;

/** The address of a room. @param {string} at the relay @param {string} room @param {string} [query] */
export const roomAt = (at, room, query = '') => new URL(`/r/${room}${query}`, at).href;

/** Through pre-join. @param {Tab} tab @param {string} name */
export async function enter(tab, name) {
  await tab.fill(testId('name'), name);
  await tab.click(testId('join'));
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

/** @param {Tab} tab @param {'chat' | 'people' | 'statistics'} name */
export async function openPanel(tab, name) {
  const opener = { chat: 'toggle-chat', people: 'toggle-people', statistics: 'badge' }[name];
  const isOpen = await tab.evaluate((selector) => document.querySelector(selector)?.checkVisibility() ?? false, `${testId('panel')}[data-shown="${name}"]`);
  if (!isOpen) await tab.click(testId(opener));
  await has(tab, `${testId('panel')}[data-shown="${name}"]`);
}
