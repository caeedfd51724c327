// What is wrong with one's own devices, where it comes to light in the meeting: each is told there, and costs nothing that works.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as meeting from './meeting.js';
import { complaints, isIn, isSwitched, isToasted } from './meeting.js';
import { allStarted, startBrowser, startRelay } from './relay.js';

/** @typedef {import('playwright-core').Page} Page */

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('./relay.js').Relay} */
let relay;

before(async () => {
  [browser, relay] = await allStarted([startBrowser(), startRelay()]);
});

after(async () => {
  await browser?.close();
  await relay?.stop();
  assert.deepEqual(complaints, []);
});

/** Runs in a page before anything else: `window.answer` may keep the page waiting for a device, or refuse it. */
function answering() {
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    await /** @type {any} */ (window).answer?.(constraints);
    return ask(constraints);
  };
}

/** In front of a room. @param {string} room @param {() => void} [prepare] runs in the page before anything else */
async function arrive(room, prepare = () => {}) {
  const page = await (await browser.newContext({ viewport: meeting.DESKTOP })).newPage();
  meeting.watch(page);
  await page.addInitScript(answering);
  await page.addInitScript(prepare);
  await page.goto(new URL(`/r/${room}?video=180p`, relay.url).href);
  return page;
}

/** By the name that a screen reader says. @param {Page} page @param {string} name */
const hasButton = (page, name) => page.getByRole('button', { name, exact: true }).waitFor();

test('devices that are denied after one has joined', { timeout: 120_000 }, async () => {
  const page = await arrive('denied-later', () => {
    const questions = /** @type {((error: Error) => void)[]} */ ([]);
    const denied = () => new DOMException('denied', 'NotAllowedError');
    const waits = () => new Promise((_, reject) => void questions.push(reject));
    const deny = () => {
      Object.assign(window, { answer: () => { throw denied(); } });
      for (const refuse of questions) refuse(denied());
    };
    Object.assign(window, { answer: waits, deny });
  });
  await meeting.enter(page, 'Ana');
  await hasButton(page, 'Camera');
  await page.evaluate(() => /** @type {any} */ (window).deny());
  for (const [name, device] of [['Camera', 'camera'], ['Microphone', 'microphone']]) {
    await isToasted(page, `The ${device} is not allowed. Click the sign beside the address`);
    await hasButton(page, `${name}: The ${device} is not allowed.`);
  }
  await meeting.closeAll(page);
});

test('a camera that is gone when one comes back to the seat', { timeout: 120_000 }, async () => {
  const page = await arrive('gone');
  await meeting.enterWithDevices(page, 'Ana');
  // What is still being opened is not on after the reload.
  for (const device of /** @type {const} */ (['camera', 'microphone'])) await isSwitched(page, device, true);
  await page.addInitScript(() => {
    const answer = (/** @type {MediaStreamConstraints} */ { video }) => { if (video) throw new DOMException('gone', 'NotFoundError'); };
    Object.assign(window, { answer });
  });
  await page.reload();
  await isIn(page);
  await isToasted(page, 'No camera was found. Plug one in');
  await hasButton(page, 'Camera: No camera was found.');
  await isSwitched(page, 'microphone', true);
  await meeting.closeAll(page);
});

test('another program has the camera that one chooses: the one before goes on', { timeout: 120_000 }, async () => {
  const page = await arrive('busy');
  await meeting.enterWithDevices(page, 'Ana');
  await page.getByTestId('open-settings').click();
  const choice = page.getByTestId('settings-camera');
  // The browser is asked for its devices when the settings are opened, and answers later.
  await choice.locator('option').first().waitFor({ state: 'attached' });
  const before = await choice.inputValue();
  assert.notEqual(before, '');
  await page.evaluate(() => Object.assign(window, { answer: () => { throw new DOMException('busy', 'NotReadableError'); } }));
  await choice.selectOption({ label: 'fake_device_3' });
  await isToasted(page, 'Another program uses the camera. Close that program and try again.');
  await page.waitForFunction((before) => /** @type {HTMLSelectElement | null} */ (document.querySelector('[data-testid="settings-camera"]'))?.value === before, before);
  await page.getByTestId('settings-close').click();
  await isToasted(page, 'Another program uses the camera.');
  await hasButton(page, 'Camera');
  await isSwitched(page, 'camera', true);
  assert.equal(await page.getByTestId('toggle-camera').getAttribute('data-problem'), 'false');

  // Nor is it what the camera is switched on with the next time.
  await page.evaluate(() => Object.assign(window, { answer: undefined }));
  await meeting.toggle(page, 'camera');
  await isSwitched(page, 'camera', false);
  await meeting.toggle(page, 'camera');
  await isSwitched(page, 'camera', true);
  await page.getByTestId('open-settings').click();
  assert.equal(await choice.inputValue(), before);
  await meeting.closeAll(page);
});
