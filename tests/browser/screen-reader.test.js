// The page for who does not see it or has no mouse: where the focus is, in which order it goes, and what is said.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { violations } from './axe.js';
import * as meeting from './meeting.js';
import { complaints, isSwitched } from './meeting.js';
import * as pretended from './pretend/meet.js';
import { let_ } from './pretend/meet.js';
import { startPretend } from './pretend/server.js';
import { allStarted, startBrowser } from './relay.js';

/** @typedef {import('playwright-core').Page} Page */

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {{ url: string, stop(): void }} */
let pretend;

before(async () => {
  [browser, pretend] = await allStarted([startBrowser(), startPretend()]);
});

after(async () => {
  await browser?.close();
  pretend?.stop();
  assert.deepEqual(complaints, []);
});

const url = () => new URL('/r/calm-amber-harbor', pretend.url).href;

/** The id of what has the focus, or its text. @param {Page} page */
const focused = (page) => page.evaluate(() => document.activeElement?.id || document.activeElement?.textContent);

/** Writes down what the parts of the page that a screen reader listens to say from now on. @param {Page} page @param {string} selector */
const listen = (page, selector) => page.evaluate((selector) => {
  const said = /** @type {string[]} */ ([]);
  for (const node of document.querySelectorAll(selector)) {
    new MutationObserver(() => void said.push(node.textContent ?? '')).observe(node, { childList: true, characterData: true, subtree: true });
  }
  Object.assign(window, { said });
}, selector);

/** @param {Page} page @returns {Promise<string[]>} */
const said = (page) => page.evaluate(() => /** @type {any} */ (window).said);

test('a name is typed in peace, and what is tried again keeps the focus', { timeout: 60_000 }, async () => {
  const script = "window.brokenDevices = { camera: 'device_denied', microphone: 'device_denied' }";
  const page = await pretended.open(browser, url(), { script });
  const problem = page.locator('[data-testid="media-problem"][data-code="device_denied"]');
  await problem.waitFor();
  await listen(page, '[role="alert"], [role="status"], [aria-live="polite"]');
  await page.getByTestId('name').pressSequentially('Ana');
  assert.equal(await page.locator('#preview-face').textContent(), 'A');
  assert.deepEqual(await said(page), []);

  const again = problem.getByRole('button', { name: 'Try again' });
  await again.focus();
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => /** @type {any} */ (window).said.includes('Your camera is off'));
  assert.deepEqual([await problem.isVisible(), await focused(page)], [true, 'Try again']);
  await page.evaluate(() => /** @type {any} */ (window).breakDevice('camera', 'device_busy'));
  await page.keyboard.press('Enter');
  await page.locator('[data-testid="media-problem"][data-code="device_denied"]', { hasText: 'Another program uses the camera.' }).waitFor();
  assert.equal(await focused(page), 'Try again');
  await page.evaluate(() => {
    for (const device of ['camera', 'microphone']) /** @type {any} */ (window).breakDevice(device, '');
  });
  await page.keyboard.press('Enter');
  await page.getByTestId('media-problem').waitFor({ state: 'hidden' });
  assert.equal(await focused(page), 'join');
  await meeting.closeAll(page);
});

test('who joins is told so, and comes to the controls before the pictures', { timeout: 60_000 }, async () => {
  const page = await pretended.open(browser, url());
  await listen(page, '#announcement');
  await meeting.enterWithDevices(page, 'Ana Lucía');
  assert.deepEqual([await focused(page), await said(page)], ['room-title', ['You are in the meeting.']]);
  await let_(page, (pretend) => pretend.join('Bo'));
  const order = [];
  while (order.at(-1) !== 'pin') {
    await page.keyboard.press('Tab');
    order.push(await page.evaluate(() => /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.testid ?? ''));
  }
  assert.deepEqual(order, [
    'encryption', 'badge', 'copy-link', 'toggle-microphone', 'toggle-camera', 'toggle-screen', 'toggle-chat', 'toggle-people', 'open-settings', 'leave', 'pin',
  ]);
  await page.getByTestId('leave').click();
  assert.equal(await focused(page), 'again');
  await page.getByTestId('again').click();
  await meeting.isIn(page);
  assert.equal(await focused(page), 'room-title');
  await meeting.closeAll(page);
});

test('what is written while the chat is closed is said, and not every letter of it', { timeout: 60_000 }, async () => {
  const page = await pretended.meet(browser, url());
  await page.clock.install();
  await listen(page, '#announcement');
  await let_(page, (pretend) => {
    pretend.typing('Bo', true);
    pretend.say('Bo', 'Good morning!');
    pretend.typing('Bo', true);
    pretend.say('Bo', 'Is everyone here?');
  });
  assert.deepEqual(await said(page), ['Bo: Good morning!'], 'the next one waits');
  await meeting.openPanel(page, 'chat');
  await let_(page, (pretend) => pretend.say('Bo', 'You are.'));
  await meeting.sees(page, 'You are.');
  await page.clock.runFor(60_000);
  assert.deepEqual(await said(page), ['Bo: Good morning!'], 'the chat itself says what comes while it is open');
  await meeting.closeAll(page);
});

test('what is said is said in the settings too while they are open, and is gone after them', { timeout: 60_000 }, async () => {
  const page = await pretended.meet(browser, url());
  await page.clock.install();
  const places = () => page.evaluate(() => ['announcement', 'settings-announcement'].map((id) => document.getElementById(id)?.textContent));
  await page.getByTestId('open-settings').click();
  await let_(page, (pretend) => pretend.say('Bo', 'Good morning!'));
  assert.equal(await page.getByTestId('settings').getByRole('status').textContent(), 'Bo: Good morning!');
  await page.getByTestId('settings-close').click();
  await page.getByTestId('settings').waitFor({ state: 'hidden' });
  // A dialog tells that it was closed after it is.
  await page.waitForFunction(() => ['announcement', 'settings-announcement'].every((id) => document.getElementById(id)?.textContent === ''));
  await page.clock.runFor(60_000);
  await let_(page, (pretend) => pretend.say('Bo', 'Is everyone here?'));
  assert.deepEqual(await places(), ['Bo: Is everyone here?', '']);
  await meeting.closeAll(page);
});

test('that the network is silent is said once, and shown as long as it is', { timeout: 60_000 }, async () => {
  const page = await pretended.meet(browser, url());
  await listen(page, '#announcement');
  const badge = page.getByTestId('badge');
  assert.equal(await badge.getAttribute('data-quiet'), 'false');
  await let_(page, (pretend) => {
    pretend.hush(true);
    pretend.measure(2);
  });
  assert.deepEqual([await badge.textContent(), await badge.getAttribute('data-quiet')], ['WebTransport · the network is silent', 'true']);
  assert.deepEqual(await violations(page), []);
  await let_(page, (pretend) => pretend.hush(false));
  assert.match((await badge.textContent()) ?? '', /^WebTransport · 24 ms/);
  assert.deepEqual(await said(page), ['The network is silent.']);
  await meeting.closeAll(page);
});

test('who comes back after a reload and writes already goes on writing', { timeout: 60_000 }, async () => {
  const script = `window.answer = new Promise((resolve) => { window.answers = resolve; });
    sessionStorage.setItem('tertulia.seat', JSON.stringify({ room: 'calm-amber-harbor', name: 'Ana Lucía', ticket: '', untilMs: Date.now() + 60000, on: {} }));`;
  for (const [writes, focus] of /** @type {const} */ ([[true, 'text'], [false, 'room-title']])) {
    const page = await pretended.open(browser, url(), { script });
    await page.locator('#badge[data-state="connecting"]').waitFor();
    if (writes) await meeting.openPanel(page, 'chat');
    await page.evaluate(() => /** @type {any} */ (window).answers());
    await meeting.isIn(page);
    await page.locator('#announcement', { hasText: 'You are in the meeting.' }).waitFor({ state: 'attached' });
    assert.equal(await focused(page), focus);
    await meeting.closeAll(page);
  }
});

test('what a browser cannot do is said while it asks for the devices', { timeout: 60_000 }, async () => {
  const script = `window.permission = new Promise((resolve) => { window.permit = resolve; });
    window.unsupported = new Promise((resolve) => { window.findOut = resolve; });`;
  const page = await pretended.open(browser, url(), { script });
  await page.locator('[data-testid="preview"][data-state="waiting"]').waitFor();
  await page.evaluate(() => /** @type {any} */ (window).findOut([{ code: 'codec_unsupported', message: 'This browser can send no picture.' }]));
  const problem = page.locator('[data-testid="media-problem"][data-code="codec_unsupported"]', { hasText: 'This browser can send no picture.' });
  await problem.waitFor();
  await page.evaluate(() => /** @type {any} */ (window).permit());
  await page.locator('[data-testid="preview"][data-state="on"]').waitFor();
  assert.equal(await problem.isVisible(), true);
  await meeting.closeAll(page);
});

test('on a telephone one mutes oneself and leaves while the chat is open', { timeout: 60_000 }, async () => {
  const page = await pretended.meet(browser, url(), { viewport: meeting.PHONE, hasTouch: true });
  for (const panel of /** @type {const} */ (['chat', 'people', 'statistics'])) {
    const shown = await meeting.openPanel(page, panel);
    const { y = 0, height = Infinity, width = Infinity } = (await shown.boundingBox()) ?? {};
    const controls = (await page.locator('.controls').boundingBox())?.y ?? 0;
    assert.ok(y + height <= controls && width <= meeting.PHONE.width, panel);
    await meeting.closePanel(page);
  }
  await meeting.openPanel(page, 'chat');
  await page.getByTestId('toggle-microphone').tap();
  await isSwitched(page, 'microphone', false);
  // What the chat covers has no focus.
  assert.equal(await page.getByTestId('pin').filter({ visible: true }).count(), 0);
  await page.getByTestId('leave').tap();
  await meeting.ended(page, 'left');
  await meeting.closeAll(page);
});
